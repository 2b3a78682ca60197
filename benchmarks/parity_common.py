"""What the benchmarks of parity share: they run in Hugging Face's environment and start this project's in its own."""

from __future__ import annotations

from _root import ROOT

import argparse
import itertools
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

MISSING = [name for name in ("torch", "transformers", "numpy", "yaml", "rich") if find_spec(name) is None]

if not MISSING:  # --help and the message about what is missing need none of these
    import numpy as np
    import random_checkpoint
    import yaml

CARDS = ROOT / "datasets" / "cards"
SPLIT = "test_public"
SHAPE = {"layers": 3, "hidden": 384, "max_position": 512, "vocab_size": 21128}
WRITER = """
import json, pathlib, sys, numpy, random_checkpoint
folder = pathlib.Path(sys.argv[1])
config, tokens = ((folder / name).read_text(encoding="utf-8") for name in ("bert_config.json", "vocab.txt"))
random_checkpoint.write(folder, dict(numpy.load(folder / "weights.npz")), json.loads(config), tokens.split())
"""

Card = Row = dict[str, Any]


def stop(message: str) -> NoReturn:
    """Print what is wrong and exit with status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def check_packages() -> None:
    """Exit with status 2 where a package is missing."""
    if MISSING:
        stop(f"Python packages missing: {', '.join(MISSING)}; --help shows how to set up an environment")


def add_options(parser: argparse.ArgumentParser, names: list[str]) -> None:
    """Add the options about the data and about the project's environment; `names` are those of the datasets."""
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="holds DATASET/SPLIT.json")
    parser.add_argument(
        "--datasets", nargs="+", choices=names, default=names, metavar="NAME", help=f"{', '.join(names)} (default: all)"
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keeps checkpoint and results (default: a temporary folder)"
    )
    parser.add_argument(
        "--suite-python",
        default=ROOT / ".venv/bin/python",
        metavar="PATH",
        help="interpreter of the suite's environment (default: .venv/bin/python)",
    )


def read_card(name: str) -> Card:
    """Return a dataset's card."""
    return yaml.safe_load((CARDS / f"{name}.yaml").read_text(encoding="utf-8"))


def read_rows(path: Path, limit: int | None = None) -> list[Row]:
    """Return the first rows of a JSON-lines file; U+2028 occurs inside texts, so lines end with LF alone."""
    lines = (line for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip())
    return [json.loads(line) for line in itertools.islice(lines, limit)]


def run_suite(options: argparse.Namespace, *arguments: object) -> None:
    """Run the suite's interpreter, its progress on standard error; end with its command when it fails."""
    command = [str(argument) for argument in (options.suite_python, *arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    try:
        subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True)
    except OSError as error:
        stop(f"{command[0]}: {error.strerror}; --suite-python names the interpreter of the suite's environment")
    except subprocess.CalledProcessError as error:
        stop(f"exit status {error.returncode} of {' '.join(command)}")


def check_answers(card: Card, rows: list[Row], answers: list[Row]) -> None:
    """Exit with status 2 unless index and label of the suite's answers are those of the rows."""
    label = card["fields"].get("label", "answer" if card["task"] == "cloze" else "label")
    if [(one["index"], one["label"]) for one in answers] != [(at, str(row[label])) for at, row in enumerate(rows)]:
        stop(f"{card['title']}: index and label of the suite's answers are not those of its rows")


def write_checkpoint(
    folder: Path, options: argparse.Namespace, deviation: float = 1
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Write a random checkpoint with the suite's interpreter; return its configuration and arrays.

    `deviation` is that of its weights but the normalisations', as a share of what the tests draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, tokens = random_checkpoint.config(**SHAPE), random_checkpoint.vocabulary()
    pieces = ("##" + "".join(letters) for letters in itertools.product("etaoinsrhl", repeat=2))
    tokens += itertools.islice(pieces, SHAPE["vocab_size"] - len(tokens))  # padding that words do use
    drawn = random_checkpoint.weights(config)
    tensors = {name: value if "LayerNorm" in name else np.float32(deviation) * value for name, value in drawn.items()}
    (folder / "bert_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8", newline="\n")
    np.savez(folder / "weights.npz", **tensors)
    run_suite(options, "-c", WRITER, folder)
    return config, tensors
