r"""How many tokens a second does a training step take, beside a plain loop of PyTorch around Hugging Face's model?

  python benchmarks/training_speed.py --peer-python peer/bin/python

where peer is the environment that speed.py describes. Random weights, of base size without --layers and --hidden, and
random batches of 16 rows of 64 to 128 tokens, padded to 128 by both alike; dropout of 0.1 in both, AdamW with decay and
clipping. Three objectives:

  nsp          pairs, each told to be next or not (few-shot NSP-BERT)
  masked       the tokens of two masks and of 15 % of a row (PET). Ours asks
               the vocabulary there alone, hf-… at every token, as Hugging
               Face's Trainer does
  classifier   15 classes by a new layer, which each engine draws by itself

in float32 and in bfloat16: ours with its bfloat16 policy, hf-… under torch.autocast, weights and moments in float32 in
both. Nothing is compiled by torch.compile.

The four engines of an objective are processes that load once and take the steps of a round to warm up; then each round
runs them in turn. The table: tokens a second without the padding (median of the rounds, lowest and highest), how many
times as fast as hf-… of the same precision, peak memory, and the loss of the first batch before any step, without
dropout, which tells whether both compute the same. Let nothing else run meanwhile; base size takes 4 GB an engine.
"""

from __future__ import annotations

import _root  # noqa: F401

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from generated import HEAD_SIZE, VOCABULARY, write_model
from speed_processes import PEER, RANDOM_SHAPES, Worker, add_peer_python, load_workers, run_rounds
from speed_report import machine, wide_console
from training_speed_workers import ENGINES, OBJECTIVES, PRECISIONS, make_batches

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.cli import new_parser, positive
from nsp_bert.errors import UserError
from nsp_bert.files import write_text
from nsp_bert.results.tables import print_groups
from nsp_bert.terminal import run_main

SCRIPT = "training_speed_workers.py"
LAYERS, HIDDEN = RANDOM_SHAPES["base"]


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--layers", type=positive, default=LAYERS, metavar="N", help="of the random model")
    parser.add_argument("--hidden", type=width, default=HIDDEN, metavar="N", help=f"its width, {HEAD_SIZE} a head")
    parser.add_argument("--rows", type=positive, default=16, metavar="N", help="of a batch")
    parser.add_argument("--tokens", type=positive, default=128, metavar="N", help="of a row, padding included")
    parser.add_argument("--steps", type=positive, default=3, metavar="N", help="of a round")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="that are counted")
    for name, choices in (("objectives", OBJECTIVES), ("precisions", PRECISIONS)):
        told = f"{', '.join(choices)} (default: all)"
        parser.add_argument(f"--{name}", nargs="+", choices=choices, default=choices, metavar="NAME", help=told)
    add_peer_python(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything measured as JSON (default: none)")
    return parser.parse_args(arguments)


def width(text: str) -> int:
    """Parse a width that whole heads fit into."""
    value = positive(text)
    if value % HEAD_SIZE:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of {HEAD_SIZE}")
    return value


def prepare(options: argparse.Namespace, folder: Path) -> tuple[Path, int]:
    """Write the job of all engines into a folder; return its file and the tokens of a round without the padding."""
    model = write_model(folder / "random", options.layers, options.hidden, ("pooler", "MLM", "NSP"))
    checkpoint = open_checkpoint(str(model))
    np.savez(folder / "arrays.npz", **read_tensors(checkpoint.prefix))
    job = {
        "model": str(model),
        "config": str(model / "bert_config.json"),
        "arrays": str(folder / "arrays.npz"),
        "vocabulary": VOCABULARY,
        "rows": options.rows,
        "tokens": options.tokens,
        "steps": options.steps,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return folder / "job.json", sum(int((batch["token_ids"] != 0).sum()) for batch in make_batches(job))


def summarise(worker: Worker, tokens: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what an engine's rounds say, the first being the warm-up's, which does not count."""
    seconds = [answer["seconds"] for answer in worker.rounds[1:]]
    return {
        "seconds": seconds,
        "tokens_per_second": tokens / float(np.median(seconds)),
        "lowest_highest": [tokens / max(seconds), tokens / min(seconds)],
        "peak_rss_mib": worker.rounds[-1]["peak_rss_mib"],
        "loss_before": float(arrays["before"]),
        "last_losses": arrays["losses"].tolist(),
        "threads": worker.facts["threads"],
        "versions": worker.facts["versions"],
    }


def measure(names: list[str], job: Path, tokens: int, options: argparse.Namespace) -> tuple[dict, dict[str, str]]:
    """Return the figures of the engines of an objective, and why others have none."""
    workers, skipped = load_workers(SCRIPT, names, job, options.peer_python)
    figures = {}
    if workers:
        *_, arrays = run_rounds(workers, options.rounds)
        figures = {name: summarise(worker, tokens, arrays[name]) for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    return figures, skipped


def cells(name: str, figures: dict[str, dict[str, Any]]) -> list[str]:
    """Return an engine's row of the table."""
    own, peer = figures[name], figures.get(PEER + name.removeprefix(PEER))
    low, high = own["lowest_highest"]
    times = f"{own['tokens_per_second'] / peer['tokens_per_second']:.2f}" if peer else ""
    texts = [name, own["threads"], f"{own['tokens_per_second']:.0f}", f"{low:.0f}–{high:.0f}", times]
    return [*texts, f"{own['peak_rss_mib']:.0f}", f"{own['loss_before']:.4f}"]


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    facts, engines, skipped = machine(), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        job, tokens = prepare(options, Path(folder))
        shown = f"{options.layers} x {options.hidden}, batches of {options.rows} x {options.tokens}"
        print(f"{shown}; {options.rounds} rounds of {options.steps} steps with {tokens} tokens")
        print(f"{facts['cpu']}, {facts['cores']} cores, {' '.join(facts['flags'])}; load {facts['load_average']:.1f}")
        for objective in options.objectives:
            endings = tuple(f"{objective}-{precision}" for precision in options.precisions)
            names = [name for name in ENGINES if name.endswith(endings)]
            figures, reasons = measure(names, job, tokens, options)
            engines[objective] = figures
            skipped |= reasons
    told = [f"{name}: skipped, {reason}" for name, reason in skipped.items()]
    groups = [[cells(name, figures) for name in figures] for figures in engines.values() if figures]
    if not groups:
        raise UserError("; ".join(told))
    print_groups(["engine", "threads", "tokens/s", "low–high", "x hf", "MiB", "loss"], groups, wide_console())
    for line in told:
        print(line)
    if options.output:
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        report = {"machine": facts, "options": settings, "tokens": tokens, "engines": engines, "skipped": skipped}
        write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", options.output)
    return 0


if __name__ == "__main__":
    run_main(main)
