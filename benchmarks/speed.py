r"""How fast are the backends, beside the authors' loop and Hugging Face, on the same pairs and the same machine?

  python benchmarks/speed.py --random base --data-dir datasets/fewclue \
    --peer-python peer/bin/python --output speed.json

where peer is an environment of its own:

  python -m venv peer && peer/bin/pip install torch transformers pyyaml

The engines:

  naive                 the loop of the authors' release on bert4keras, which
                        tokenises for every label anew
  hf-float32,           Hugging Face in PyTorch, on pairs that are encoded and
  hf-bfloat16           sorted by length already
  tensorflow-…,         this project's backends, from texts and prompts to
  openvino-…            log-odds, as the scripts run them; …-auto also asks
                        which pairs to score again, and scores them

Every engine is a process that loads once and then idles (speed_workers.py). The first round, straight after loading,
warms up and is not counted; then each round runs all engines in turn, so that what else the machine does meets them
alike. Threads are left as each engine sets them: "2 x 1" means two batches at once, on one thread each.

The table: pairs a second (median of the rounds, lowest and highest), tokens a second (padding not counted), how many
times as fast as naive and Hugging Face, share of peak, peak memory, seconds from the start of the process to its first
scores, equal predictions and largest difference of log-odds against tensorflow-float32, and for …-auto the share of
the pairs that were scored again in float32.

Share of peak: flops of the pairs over seconds, over what a large product of matrices in that precision attains on this
machine, measured in every round, the best counting. In a model with L layers of width H and I inside, a pair of T
tokens takes L T (8 H² + 4 H I) flops in the dense layers, 4 L T² H in the attention and 2 H² in the pooler. That our
last layer computes the first position alone is not subtracted: shares say what the same work takes.

All engines stay in memory until the end. Let nothing else run meanwhile: the load is printed first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from data_options import add_data_dir
from generated import write_model
from speed_report import compare, machine, print_table, summarise
from speed_workers import ENGINES
from tqdm import tqdm

from nsp_bert.cards import ClassificationCard, cards_of, load_card
from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.cli import new_parser, positive
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.files import ROOT, write_text
from nsp_bert.results.runs import prepare_output, versions
from nsp_bert.scoring.exact import EXACT
from nsp_bert.scoring.precision import AUTO, fast_precision
from nsp_bert.session import choose_data
from nsp_bert.terminal import run_main
from nsp_bert.tokenization import EncodedPair, make_pair_encoder
from utils import load_examples

NAMES = [name for name in ENGINES if name != "matmul"]
RANDOM_SHAPES = {"base": (12, 768), "3-layers": (3, 768)}  # layers, width
PAIRS = 900  # without --rows
PAUSE = 0.5  # seconds between two engines: thread pools that wait actively fall asleep


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--model",
        metavar="NAME_OR_DIR",
        help="a name in models/cards.yaml, or a checkpoint's folder (default: a random checkpoint)",
    )
    model.add_argument("--random", choices=RANDOM_SHAPES, default="base", help="a random checkpoint")
    names = [card.name for card in cards_of(ClassificationCard)]
    parser.add_argument("--dataset", choices=names, default="tnews", metavar="NAME", help=", ".join(names))
    add_data_dir(parser)
    parser.add_argument(
        "--rows", type=positive, metavar="N", help=f"of the dataset (default: what gives {PAIRS} pairs)"
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="that are counted")
    parser.add_argument(
        "--engines",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        metavar="NAME",
        help=f"{', '.join(NAMES)} (default: all that can be had)",
    )
    parser.add_argument(
        "--peer-python",
        metavar="PATH",
        help="interpreter with torch and transformers, for hf-… (default: none, they are skipped)",
    )
    parser.add_argument(
        "--peer-batch-tokens", type=positive, default=2048, metavar="TOKENS", help="rows x length of a batch of hf-…"
    )
    parser.add_argument("--matmul-size", type=positive, default=4096, metavar="N", help="rows of the matrices")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything measured as JSON (default: none)")
    return parser.parse_args(arguments)


class Worker:
    """The process of one engine; `facts` is what it said when it had loaded, `rounds` what it says of each run."""

    def __init__(self, name: str, python: str, job: Path) -> None:
        """Start it and wait until it has loaded. Raises UserError when it cannot be had."""
        self.name, self._job, self.rounds = name, job, []
        self._log = job.with_name(f"{name}.log")
        script, environment = ROOT / "benchmarks" / "speed_workers.py", os.environ | {"TQDM_DISABLE": "1"}
        command = [python, str(script), name, str(job), str(time.monotonic())]
        try:
            with self._log.open("w") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
                )
        except OSError as error:
            raise UserError(f"{python}: {error.strerror}; --peer-python names an interpreter") from error
        self.facts = self._answer()

    def run(self) -> dict[str, np.ndarray]:
        """Do the job once more and return the arrays that it gives."""
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        self.rounds.append(self._answer())
        with np.load(self._job.with_name(f"{self.name}.npz")) as arrays:
            return dict(arrays)

    def close(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            self._process.wait()
            raise UserError(f"{self.name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"ended with status {self._process.wait()}: {lines[-1] if lines else 'no message'}"


def prepare(options: argparse.Namespace, folder: Path) -> tuple[Path, Checkpoint, list[EncodedPair], str]:
    """Write the job of all engines into a folder; return its file, the checkpoint, the pairs and a line about them."""
    source = options.model or str(write_model(folder / f"random-{options.random}", *RANDOM_SHAPES[options.random]))
    checkpoint, card = open_checkpoint(source), load_card(options.dataset)
    data, template = choose_data(card, options.data_dir), card.templates[-1]
    rows = options.rows or max(PAIRS // len(card.labels), 1)
    texts = [example.content.text for example in load_examples(card, data.folder, card.split)[:rows]]
    prompts = card.prompts(template)
    encoder = make_pair_encoder(checkpoint, card.max_length)
    pairs = list(encode_label_pairs(encoder, texts, prompts, card.position))
    tensors = {name: value for name, value in read_tensors(checkpoint.prefix).items() if is_scoring(name)}
    np.savez(folder / "arrays.npz", **tensors)
    job = {
        "model": source,
        "config": str(checkpoint.folder / "bert_config.json"),
        "vocabulary": str(checkpoint.vocab_path),
        "weights": str(checkpoint.prefix),
        "arrays": str(folder / "arrays.npz"),
        "do_lower_case": checkpoint.do_lower_case,
        "texts": texts,
        "prompts": prompts,
        "position": card.position,
        "max_length": card.max_length,
        "pairs": [(pair.token_ids, pair.first_length) for pair in pairs],
        "peer_batch_tokens": options.peer_batch_tokens,
        "matmul_size": options.matmul_size,
    }
    (folder / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    sample = " (bundled sample)" if data.sample else ""
    shown = f"{card.title} {card.split}{sample}: {len(texts)} rows x {len(prompts)} labels, {checkpoint.name}"
    return folder / "job.json", checkpoint, pairs, shown


def is_scoring(variable: str) -> bool:
    """Return whether a score depends on a variable of a checkpoint, which may hold other heads and an optimiser."""
    return variable.startswith(("bert/", "cls/seq_relationship/")) and "adam_" not in variable


def flops(config: dict[str, Any], lengths: np.ndarray) -> float:
    """Return the flops that pairs of these lengths in tokens (n,) take, as the docstring above says."""
    layers, width, inside = (config[key] for key in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    tokens, squares = float(lengths.sum()), float((lengths.astype(np.float64) ** 2).sum())
    dense = layers * tokens * (8 * width**2 + 4 * width * inside)
    return dense + 4 * layers * squares * width + 2 * width**2 * len(lengths)


def start(options: argparse.Namespace, job: Path) -> tuple[dict[str, Worker], dict[str, str]]:
    """Load and warm up the engines one after the other; return those that run, and why others do not."""
    workers: dict[str, Worker] = {}
    skipped: dict[str, str] = {}
    for name in tqdm(["matmul", *options.engines], desc="loading", leave=False):
        peer = name.startswith("hf-")
        if peer and not options.peer_python:
            skipped[name] = "give --peer-python PATH, an interpreter with torch and transformers"
            continue
        try:
            worker = Worker(name, options.peer_python if peer else sys.executable, job)
            worker.run()
            workers[name] = worker
        except UserError as error:
            skipped[name] = str(error).removeprefix(f"{name}: ")
    if not set(workers) & set(options.engines) or "matmul" not in workers:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    return workers, skipped


def measure(workers: dict[str, Worker], rounds: int) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, float]]:
    """Run all engines in turn, round by round; return the arrays of the last round and the peaks in flops a second."""
    arrays: dict[str, dict[str, np.ndarray]] = {}
    peaks = {"float32": 0.0, "bfloat16": 0.0}
    for _ in tqdm(range(rounds), desc="rounds", leave=False):
        for name, worker in workers.items():
            time.sleep(PAUSE)
            arrays[name] = worker.run()
        peaks = {name: max(best, float(arrays["matmul"][name])) for name, best in peaks.items()}
    return arrays, peaks


def arithmetic(engine: str) -> str:
    """Return the precision that an engine computes most pairs in, which its share of peak is counted by."""
    precision = engine.partition("-")[2] or EXACT
    return fast_precision() or EXACT if precision == AUTO else precision


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure and return the report."""
    job, checkpoint, pairs, shown = prepare(options, folder)
    lengths, facts = np.array([len(pair.token_ids) for pair in pairs]), machine()
    work, tokens = flops(checkpoint.config, lengths), int(lengths.sum())
    different = len({(tuple(pair.token_ids), pair.first_length) for pair in pairs})
    print(f"{shown} = {len(pairs)} pairs ({different} different), {tokens} tokens, {options.rounds} rounds")
    print(f"{facts['cpu']}, {facts['cores']} cores, {' '.join(facts['flags'])}; load {facts['load_average']:.1f}")
    workers, skipped = start(options, job)
    arrays, peaks = measure(workers, options.rounds)
    for worker in workers.values():
        worker.close()
    engines = {
        name: summarise(worker.facts, worker.rounds, len(pairs), tokens, work, peaks[arithmetic(name)])
        for name, worker in workers.items()
        if name != "matmul"
    }
    compare(engines, arrays)
    return {
        "data": shown,
        "pairs": len(pairs),
        "different_pairs": different,
        "tokens": tokens,
        "flops": work,
        "peak_flops_per_second": peaks,
        "machine": facts,
        "versions": versions(),
        "settings": {name: str(value) for name, value in vars(options).items()},
        "engines": engines,
        "skipped": skipped,
    }


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.output:
        prepare_output(options.output.parent)
    with tempfile.TemporaryDirectory() as folder:
        report = run(options, Path(folder))
    print_table(report)
    if options.output:
        write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", options.output)
    return 0


if __name__ == "__main__":
    run_main(main)
