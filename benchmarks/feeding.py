"""How many pairs a second can a device be fed, if it answers at once?

  taskset -c 0 python benchmarks/feeding.py --data-dir datasets/fewclue

A backend that answers nothing but zeros stands in for the device, and the scripts' own way is timed from texts and
label prompts to scores: tokenising, cutting, sorting, batching, collecting. Two ways in turn, round by round, after one
round that is not counted:

  arrays       as the scripts do it: prompts x texts are put together in NumPy
  one by one   the same pairs as the objects that other tasks score

here, in one process, and with the workers of Ray, who encode for themselves what is put together in arrays. A dataset's
texts are repeated until there are enough pairs.

The table: pairs and tokens a second (median of the rounds; padding not counted), how many times as fast as one by one,
and the seconds that the first process computed for a million pairs, all of its threads together: with workers, what it
takes to hand out and to collect.
"""

from __future__ import annotations

import _root  # noqa: F401

import argparse
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from data_options import add_data_dir
from speed_report import machine, wide_console
from tqdm import tqdm

from nsp_bert.cards import ClassificationCard, cards_of, load_card
from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.cli import new_parser, positive, whole
from nsp_bert.encoding import LabelPairs, encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.files import write_text
from nsp_bert.results.runs import prepare_output, versions
from nsp_bert.results.tables import print_groups
from nsp_bert.scoring.backends import GPU_BATCH_TOKENS, Backend
from nsp_bert.scoring.distributed import load_ray
from nsp_bert.scoring.outputs import Output
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.session import choose_data
from nsp_bert.terminal import run_main
from nsp_bert.tokenization import EncodedPair, make_pair_encoder
from utils import load_examples

WAYS: dict[str, Callable[[LabelPairs], Iterable[EncodedPair]]] = {"arrays": lambda pairs: pairs, "one by one": iter}
STREAMS = 2  # batches at once, as on a GPU


class Took(NamedTuple):
    """Seconds of a round by the clock, and those that this process computed."""

    clock: float
    computing: float


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    names = [card.name for card in cards_of(ClassificationCard)]
    parser.add_argument(
        "--datasets",
        nargs="+",
        choices=names,
        default=["tnews", "iflytek"],
        metavar="NAME",
        help=f"{', '.join(names)} (default: tnews iflytek)",
    )
    add_data_dir(parser)
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME_OR_DIR", help="whose vocabulary is taken, and nothing else"
    )
    parser.add_argument("--pairs", type=positive, default=200_000, metavar="N", help="of a round, at least")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="that are counted")
    parser.add_argument("--batch-tokens", type=positive, default=GPU_BATCH_TOKENS, metavar="N", help="of a batch")
    parser.add_argument("--workers", type=whole, default=2, metavar="N", help="of Ray, where it is installed; 0: none")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything measured as JSON (default: none)")
    return parser.parse_args(arguments)


def load_nothing(_name: str, _checkpoint: Checkpoint, _precision: str, _output: Output) -> Backend:
    """Return a backend that answers at once."""
    return Backend(lambda token_ids, *_: np.zeros(len(token_ids), np.float32), STREAMS, GPU_BATCH_TOKENS)


def load_scorers(checkpoint: Checkpoint, options: argparse.Namespace) -> dict[str, Scorer]:
    """Return the scorers by where they score; none of Ray where it is not installed."""
    scorer = partial(Scorer, checkpoint, batch_tokens=options.batch_tokens)
    there = {"one process": scorer(load=load_nothing)}
    if options.workers:
        try:
            with_ray = scorer(load=partial(load_ray, "ray", options.workers, load=load_nothing))
            there[f"ray, {options.workers} workers"] = with_ray
        except UserError as error:
            print(f"ray: skipped, {error}")
    return there


def make_pairs(name: str, checkpoint: Checkpoint, options: argparse.Namespace) -> LabelPairs:
    """Return the pairs of a dataset's texts, repeated as often as it takes, with its prompts."""
    card = load_card(name)
    folder = choose_data(card, options.data_dir).folder
    texts = [example.content.text for example in load_examples(card, folder, card.split)]
    prompts = card.prompts(card.templates[-1])
    enough = islice(cycle(texts), max(-(-options.pairs // len(prompts)), len(texts)))
    return encode_label_pairs(make_pair_encoder(checkpoint, card.max_length), enough, prompts, card.position)


def time_round(scorer: Scorer, pairs: LabelPairs, way: str) -> Took:
    """Score the pairs once."""
    clock, computing = time.perf_counter(), time.process_time()
    scorer.score(WAYS[way](pairs), len(pairs), progress=False)
    return Took(time.perf_counter() - clock, time.process_time() - computing)


def measure(scorers: dict[str, Scorer], pairs: LabelPairs, rounds: int) -> list[dict[str, Any]]:
    """Return the figures of every place and way."""
    took: dict[tuple[str, str], list[Took]] = {(place, way): [] for place in scorers for way in WAYS}
    for _ in tqdm(range(rounds + 1), desc="rounds", leave=False):
        for (place, way), times in took.items():
            times.append(time_round(scorers[place], pairs, way))
    tokens = int(sum(stretch.lengths.sum() for stretch in pairs.stretches(len(pairs))))
    figures = []
    for (place, way), (_, *times) in took.items():
        clock, computing = np.median(times, axis=0).tolist()
        speed = {"pairs_per_second": len(pairs) / clock, "tokens_per_second": tokens / clock}
        driver = {"driver_seconds_per_million_pairs": 1e6 * computing / len(pairs)}
        figures.append({"where": place, "way": way, "pairs": len(pairs), "tokens": tokens, **speed, **driver})
    return figures


def cells(figures: dict[str, Any], others: list[dict[str, Any]]) -> list[str]:
    """Return a row of the table; `others` are the figures of all rows."""
    base = next(one for one in others if one["where"] == figures["where"] and one["way"] == "one by one")
    return [
        f"{figures['where']}, {figures['way']}",
        f"{figures['pairs']:,}",
        f"{figures['pairs_per_second']:,.0f}",
        f"{figures['tokens_per_second']:,.0f}",
        f"{figures['pairs_per_second'] / base['pairs_per_second']:.1f}",
        f"{figures['driver_seconds_per_million_pairs']:.2f}",
    ]


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.output:
        prepare_output(options.output.parent)
    checkpoint, facts = open_checkpoint(options.model), machine()
    print(f"{facts['cpu']}, {facts['cores']} cores; load {facts['load_average']:.1f}")
    scorers = load_scorers(checkpoint, options)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in options.datasets:
        found[name] = measure(scorers, make_pairs(name, checkpoint, options), options.rounds)
    headers = ["", "pairs", "pairs/s", "tokens/s", "x one by one", "driver s/M pairs"]
    for name, rows in found.items():
        print_groups([name, *headers[1:]], [[cells(row, rows) for row in rows]], wide_console())
    if options.output:
        settings = {name: str(value) for name, value in vars(options).items()}
        report = {"machine": facts, "versions": versions(), "settings": settings, "datasets": found}
        write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", options.output)
    return 0


if __name__ == "__main__":
    run_main(main)
