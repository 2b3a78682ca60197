"""Does the time per pair stay the same however many pairs, labels and tokens there are? And what does encoding take?

  python benchmarks/scaling.py --output scaling.json

Texts are drawn at random, one token a character, all different; a pair's score takes the same work whatever the text
says. Every point is the median of some runs of the scripts' own way from texts and prompts to log-odds, after one run
that is not counted.

  pairs      nsp_bert_mini, 1,000 to 100,000 pairs, 10 labels, texts of 20
             characters
  labels     nsp_bert_mini, 2 to 500 labels, always some 10,000 pairs
  length     a random model as small as nsp_bert_mini, with 512 positions: pairs
             of 32 to 512 tokens, filled up
  encoding   the share that tokenising, encoding and batching take of scoring,
             measured alone: nsp_bert_mini, and a random model of BERT's base
             size. The scorer does it in a thread beside the scoring.

A curve is called flat when its slowest point takes at most a tenth more per pair than its fastest.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from generated import characters, random_texts, write_model
from speed_report import machine, wide_console

from nsp_bert.checkpoints.checkpoint import DEFAULT_MODEL, SPECIALS_PER_PAIR, Checkpoint, open_checkpoint
from nsp_bert.cli import new_parser, positive
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.files import write_text
from nsp_bert.results.runs import prepare_output, versions
from nsp_bert.results.tables import print_groups
from nsp_bert.scoring.backends import BACKENDS
from nsp_bert.scoring.scorer import WINDOW_PAIRS, Scorer
from nsp_bert.scoring.windows import make_windows
from nsp_bert.terminal import print_title, run_main
from nsp_bert.tokenization import EncodedPair, make_pair_encoder

PAIRS = (1_000, 3_000, 10_000, 30_000, 100_000)
LABELS = (2, 5, 15, 50, 150, 500)
LENGTHS = (32, 64, 128, 256, 512)
USUAL_LABELS, USUAL_LENGTH, LABEL_LENGTH = 10, 20, 4  # labels, characters of a text, characters of a label
LABELLED_PAIRS, LONG_TOKENS = 10_000, 200_000  # of a point of the curves over labels and over lengths
MINI, BASE = (4, 256), (12, 768)  # layers, width
BASE_PAIRS = 500
FLAT = 1.1
BATCH_TOKENS = 2048  # for batching alone


class Work(NamedTuple):
    """`pairs()` encodes anew, `total` pairs of at most `tokens` tokens."""

    pairs: Callable[[], Iterable[EncodedPair]]
    total: int
    tokens: int


class Models(NamedTuple):
    """The bundled model and two random ones with 512 positions."""

    bundled: Checkpoint
    small: Checkpoint
    base: Checkpoint


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "--curves",
        nargs="+",
        choices=VERDICTS,
        default=[*VERDICTS],
        metavar="NAME",
        help=f"{', '.join(VERDICTS)} (default: all)",
    )
    parser.add_argument(
        "--backends",
        nargs="+",
        choices=[*BACKENDS],
        default=[*BACKENDS],
        metavar="NAME",
        help=f"{', '.join(BACKENDS)} (default: all)",
    )
    parser.add_argument("--repeats", type=positive, default=3, metavar="N", help="runs of a point")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="times as many pairs, to try it out")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything measured as JSON (default: none)")
    return parser.parse_args(arguments)


def make_work(checkpoint: Checkpoint, rows: int, labels: int, length: int) -> Work:
    """Return the pairs of `rows` texts of `length` characters with each of `labels` label words."""
    letters = characters(checkpoint.vocab_path)
    texts = list(random_texts(letters, max(rows, 1), length))
    prompts = list(random_texts(letters, labels, LABEL_LENGTH, seed=1))
    tokens = length + LABEL_LENGTH + SPECIALS_PER_PAIR
    encoder = make_pair_encoder(checkpoint, tokens)
    return Work(lambda: encode_label_pairs(encoder, texts, prompts, "prefix"), len(texts) * labels, tokens)


def pairs_curve(models: Models, scale: float) -> Iterator[tuple[int, Checkpoint, Work]]:
    """Yield the points (pairs, model, work)."""
    for pairs in PAIRS:
        rows = round(scale * pairs / USUAL_LABELS)
        yield pairs, models.bundled, make_work(models.bundled, rows, USUAL_LABELS, USUAL_LENGTH)


def labels_curve(models: Models, scale: float) -> Iterator[tuple[int, Checkpoint, Work]]:
    """Yield the points (labels, model, work)."""
    for labels in LABELS:
        rows = round(scale * LABELLED_PAIRS / labels)
        yield labels, models.bundled, make_work(models.bundled, rows, labels, USUAL_LENGTH)


def length_curve(models: Models, scale: float) -> Iterator[tuple[int, Checkpoint, Work]]:
    """Yield the points (tokens of a pair, model, work)."""
    for tokens in LENGTHS:
        rows = round(scale * LONG_TOKENS / tokens / USUAL_LABELS)
        length = tokens - LABEL_LENGTH - SPECIALS_PER_PAIR
        yield tokens, models.small, make_work(models.small, rows, USUAL_LABELS, length)


POINTS = {"pairs": pairs_curve, "labels": labels_curve, "length": length_curve}


def scoring_seconds(scorer: Scorer, work: Work) -> float:
    """Return the seconds from texts and prompts to log-odds."""
    began = time.perf_counter()
    scorer.score(work.pairs(), work.total)
    return time.perf_counter() - began


def encoding_seconds(work: Work) -> float:
    """Return the seconds from texts and prompts to batches, without scoring."""
    began = time.perf_counter()
    for window in make_windows(work.pairs(), WINDOW_PAIRS, np.full(work.total, np.nan)):
        window.batches(BATCH_TOKENS)
    return time.perf_counter() - began


def median(measure: Callable[[], float], repeats: int) -> float:
    """Return the median of some measurements after one that is not counted."""
    return float(np.median([measure() for _ in range(repeats + 1)][1:]))


def measure_curve(
    name: str, models: Models, load: Callable[[Checkpoint], Scorer], options: argparse.Namespace
) -> list[dict[str, float]]:
    """Return the points of a curve."""
    points = []
    for size, checkpoint, work in POINTS[name](models, options.scale):
        took = median(partial(scoring_seconds, load(checkpoint), work), options.repeats)
        point = {
            name: size,
            "scored_pairs": work.total,
            "seconds": took,
            "seconds_per_pair": took / work.total,
        }
        points.append(
            point | {"pairs_per_second": work.total / took, "tokens_per_second": work.total * work.tokens / took}
        )
    return points


def measure_encoding(
    models: Models, load: Callable[[Checkpoint], Scorer], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return for the bundled and the base model what encoding alone takes of scoring."""
    points = []
    for checkpoint, pairs in ((models.bundled, LABELLED_PAIRS), (models.base, BASE_PAIRS)):
        work = make_work(checkpoint, round(options.scale * pairs / USUAL_LABELS), USUAL_LABELS, USUAL_LENGTH)
        scoring = median(partial(scoring_seconds, load(checkpoint), work), options.repeats)
        encoding = median(partial(encoding_seconds, work), options.repeats)
        point = {"model": checkpoint.name, "scored_pairs": work.total, "seconds": scoring}
        points.append(point | {"encoding_seconds": encoding, "encoding_share": encoding / scoring})
    return points


def flatness(points: list[dict[str, Any]]) -> str:
    """Return whether every point takes as long per pair."""
    each = [point["seconds_per_pair"] for point in points]
    times = max(each) / min(each)
    return f"slowest / fastest per pair {times:.2f}: {'flat' if times <= FLAT else 'not flat'} within {FLAT - 1:.0%}"


def length_effect(points: list[dict[str, Any]]) -> str:
    """Return how far tokens a second fall from the shortest pairs to the longest; attention grows with the square."""
    share = points[-1]["tokens_per_second"] / points[0]["tokens_per_second"]
    return f"tokens/s at {points[-1]['length']} tokens are {share:.0%} of those at {points[0]['length']}"


def encoding_effect(points: list[dict[str, Any]]) -> str:
    """Return the share of encoding for the largest model."""
    return f"{points[-1]['model']}: encoding takes {points[-1]['encoding_share']:.1%} of scoring; the aim is under 3 %"


VERDICTS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "pairs": flatness,
    "labels": flatness,
    "length": length_effect,
    "encoding": encoding_effect,
}


def print_points(title: str, points: list[dict[str, Any]], line: str) -> None:
    """Print a curve as a table."""
    console = wide_console()
    print_title(title, console)
    rows = [
        [f"{value:.4g}" if isinstance(value, float) else str(value) for value in point.values()] for point in points
    ]
    print_groups([*points[0]], [rows], console)
    console.print(line, highlight=False, soft_wrap=True)


def measure_backend(backend: str, models: Models, options: argparse.Namespace) -> dict[str, Any]:
    """Measure and print all curves of a backend. Raises UserError when it cannot be had."""
    scorers: dict[str, Scorer] = {}

    def load(checkpoint: Checkpoint) -> Scorer:
        if checkpoint.name not in scorers:
            scorers[checkpoint.name] = Scorer(checkpoint, backend=backend)
        return scorers[checkpoint.name]

    curves: dict[str, Any] = {}
    for name in options.curves:
        measure = partial(measure_curve, name) if name in POINTS else measure_encoding
        points = measure(models, load, options)
        curves[name] = {"points": points, "verdict": VERDICTS[name](points)}
        print_points(f"{backend}, {name}", points, curves[name]["verdict"])
    return curves


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.output:
        prepare_output(options.output.parent)
    report: dict[str, Any] = {"machine": machine(), "versions": versions(), "repeats": options.repeats}
    with tempfile.TemporaryDirectory() as folder:
        random = [str(write_model(Path(folder) / f"random-{shape[0]}x{shape[1]}", *shape)) for shape in (MINI, BASE)]
        models = Models(*map(open_checkpoint, [DEFAULT_MODEL, *random]))
        for backend in options.backends:
            try:
                report[backend] = measure_backend(backend, models, options)
            except UserError as error:
                report[backend] = {"skipped": str(error)}
                print(f"{backend}: skipped, {error}")
    if options.output:
        write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", options.output)
    return 0


if __name__ == "__main__":
    run_main(main)
