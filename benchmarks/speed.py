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
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from data_options import add_data_dir
from generated import write_model
from speed_processes import RANDOM_SHAPES, Worker, add_model, add_peer_python, load_workers, run_rounds
from speed_report import compare, machine, print_table, summarise
from speed_workers import ENGINES

from nsp_bert.cards import ClassificationCard, cards_of, load_card
from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.cli import new_parser, positive
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.files import write_text
from nsp_bert.results.runs import prepare_output, versions
from nsp_bert.scoring.exact import EXACT
from nsp_bert.scoring.precision import AUTO, fast_precision
from nsp_bert.session import choose_data
from nsp_bert.terminal import run_main
from nsp_bert.tokenization import EncodedPair, make_pair_encoder
from utils import load_examples

NAMES = [name for name in ENGINES if name != "matmul"]
SCRIPT = "speed_workers.py"
PAIRS = 900  # without --rows


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_model(parser)
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
    add_peer_python(parser)
    parser.add_argument(
        "--peer-batch-tokens", type=positive, default=2048, metavar="TOKENS", help="rows x length of a batch of hf-…"
    )
    parser.add_argument("--matmul-size", type=positive, default=4096, metavar="N", help="rows of the matrices")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything measured as JSON (default: none)")
    return parser.parse_args(arguments)


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
    """Load and warm up the engines; return those that run, and why others do not."""
    workers, skipped = load_workers(SCRIPT, ["matmul", *options.engines], job, options.peer_python)
    if not set(workers) & set(options.engines) or "matmul" not in workers:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    return workers, skipped


def measure(workers: dict[str, Worker], rounds: int) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, float]]:
    """Run all engines in turn, round by round; return the arrays of the last round and the peaks in flops a second."""
    arrays: dict[str, dict[str, np.ndarray]] = {}
    peaks = {"float32": 0.0, "bfloat16": 0.0}
    for arrays in run_rounds(workers, rounds):
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
