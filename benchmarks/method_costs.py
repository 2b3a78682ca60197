r"""What does every method cost on this machine with a BERT of base size: training, scoring, memory?

  python benchmarks/method_costs.py --data-dir datasets/fewclue \
    --output costs

Random weights of 12 x 768, unless --random or --model says otherwise. Of train_0, its dev set, the dev set of
thresholds and the dataset's own split a few rows, evenly spaced, so that a run takes a minute or so where the whole
takes hours; --output keeps what is finished. Every method and dataset is a process of nsp_bert_benchmark.py with two
epochs; the first, in which TensorFlow makes its graph, does not count. P-tuning's other heads are left out. Four
tables, methods x datasets:

  scoring      milliseconds a row, with every label where each is asked for
  training     milliseconds a row of an epoch, forward and back
  memory       MiB at the peak, the training included
  hours        of the whole cell of the comparison, reckoned from these and
               from what the weights' way to disk and back took after an
               epoch: with training, five sets with the method's own epochs,
               dev after each, and the split; without the start of a process

Let nothing else run meanwhile.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from data_options import add_data_dir
from generated import write_model
from speed_processes import RANDOM_SHAPES, add_model
from speed_report import machine, wide_console

from nsp_bert.cards import SAMPLES_CONTRAST, Card, load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.cli import new_parser, positive
from nsp_bert.errors import UserError
from nsp_bert.files import ROOT, locked_folder, replacing_folder, utf8_lines, write_lines
from nsp_bert.results.benchmark_tables import FEWCLUE
from nsp_bert.results.costs import cost
from nsp_bert.results.runs import prepare_output, read_summaries
from nsp_bert.results.summary import NSP_BERT, NSP_FEW_SHOT
from nsp_bert.results.tables import print_groups
from nsp_bert.rows import FIVE, dev_split, train_split
from nsp_bert.session import choose_data
from nsp_bert.terminal import progress_bar, run_main
from nsp_bert_benchmark import METHODS, Entry

TRAIN = FIVE[0]
CHOICES = {entry.name: entry for entry in METHODS if not entry.choices}


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    for name, choices in (("dataset", FEWCLUE), ("methods", tuple(CHOICES))):
        told = f"{', '.join(choices)} (default: all)"
        parser.add_argument(f"--{name}", nargs="+", choices=choices, default=choices, metavar="NAME", help=told)
    add_model(parser)
    add_data_dir(parser)
    parser.add_argument("--rows", type=positive, default=16, metavar="N", help="of a training set")
    parser.add_argument("--scored", type=positive, default=16, metavar="N", help="of a dev set and of the split")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="keeps model, rows and results")
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Sizes:
    """Rows of a dataset's files, or of what is taken of them; `thresholds` of the dev set that teaches those."""

    training: int
    dev: int
    split: int
    thresholds: int = 0


@dataclass(frozen=True)
class Measured:
    """Seconds a row of scoring and, where there is training, of an epoch of it; memory in MiB; hours of the cell."""

    scoring: float
    training: float | None
    memory: int
    hours: float


TABLES: dict[str, Callable[[Measured], str]] = {
    "scoring, ms a row": lambda one: f"{1000 * one.scoring:,.0f}",
    "training, ms a row of an epoch": lambda one: "" if one.training is None else f"{1000 * one.training:,.0f}",
    "memory, MiB": lambda one: f"{one.memory:,}",
    "hours of the cell": lambda one: f"{one.hours:,.0f}" if one.hours >= 10 else f"{one.hours:.2g}",
}


def cut(card: Card, folder: Path, options: argparse.Namespace) -> tuple[Sizes, Sizes]:
    """Write evenly spaced rows of a dataset's files; return how many there are and how many were taken."""
    splits = {"training": train_split(TRAIN), "dev": dev_split(TRAIN), "split": card.split}
    if card.mapping == SAMPLES_CONTRAST:
        splits["thresholds"] = card.dev_split
    whole, taken = {}, {}
    for name, split in splits.items():
        most = options.rows if name == "training" else options.scored
        path = card.path.format(split=split)
        whole[name], taken[name] = cut_file(folder / path, options.output / "data" / path, most)
    return Sizes(**whole), Sizes(**taken)


def cut_file(source: Path, target: Path, most: int) -> tuple[int, int]:
    """Write at most so many lines of a file; return how many it has and how many were written."""
    try:
        with source.open("rb") as stream:
            lines = [line + "\n" for _, line in utf8_lines(stream, str(source)) if line.strip()]
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}; see datasets/README.md") from None
    kept = lines[:: max(-(-len(lines) // most), 1)]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_lines(kept, target)
    return len(lines), len(kept)


def run(entry: Entry, card: Card, model: str, output: Path) -> None:
    """Run a method on a dataset's few rows, if they were not run before. Raises UserError where it fails."""
    script = [sys.executable, str(ROOT / "nsp_bert_benchmark.py"), "--methods", entry.name, "--dataset", card.name]
    folders = ["--models", model, "--data-dir", str(output / "data"), "--output", str(output / "results")]
    done = subprocess.run(
        [*script, *folders, "--train", TRAIN, "--epochs", "2", "--overwrite"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"{entry.name} on {card.title}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")


def measured(entry: Entry, card: Card, folder: Path, whole: Sizes, taken: Sizes) -> Measured | None:
    """Return what a method's run on a dataset took; None where it cannot be run there."""
    train = TRAIN if entry.few_shot else None
    summary = next(read_summaries(folder, card.name, card.split, entry.method, train), None)
    if summary is None:
        return None
    spent = cost([summary])
    scoring = (spent.seconds_per_row or 0) * taken.split / (taken.split + taught_by(entry, card, taken))
    one_set = scoring * (whole.split + taught_by(entry, card, whole))
    training = None
    if summary.training:
        epochs, second = entry.module().RECIPES.of(card.name, entry.recipe).epochs, summary.training.epochs[-1]
        training = (second.steps_seconds or 0) / taken.training
        between = max(second.seconds - training * taken.training - scoring * taken.dev, 0)  # weights to and from disk
        one_set += epochs * (training * whole.training + scoring * whole.dev + between)
    hours = one_set * (len(FIVE) if entry.few_shot else 1) / 3600
    return Measured(scoring, training, spent.peak_memory_mib or 0, hours)


def taught_by(entry: Entry, card: Card, sizes: Sizes) -> int:
    """Return how many rows a run scores to learn from, beside those that it is asked."""
    if entry.name == NSP_BERT:
        return sizes.thresholds
    thresholds = entry.name == NSP_FEW_SHOT and card.mapping == SAMPLES_CONTRAST
    return sizes.training if thresholds or entry.name == "similarity" else 0


def measure(
    cards: Sequence[Card], entries: Sequence[Entry], options: argparse.Namespace
) -> dict[str, list[Measured | None]]:
    """Run every method on every dataset; return what each took, in the order of the datasets."""
    model = options.model or str(random_model(options.output / f"random-{options.random}", options.random))
    results = options.output / "results" / open_checkpoint(model, ("encoder",)).name
    sizes = [cut(card, choose_data(card, options.data_dir).folder, options) for card in cards]
    found: dict[str, list[Measured | None]] = {entry.name: [] for entry in entries}
    with progress_bar(len(cards) * len(entries), "methods x datasets", " runs") as bar:
        for card, (whole, taken) in zip(cards, sizes, strict=True):
            for entry in entries:
                run(entry, card, model, options.output)
                found[entry.name].append(measured(entry, card, results, whole, taken))
                bar.update()
    return found


def random_model(folder: Path, shape: str) -> Path:
    """Return a folder with a random checkpoint of a shape, written if it is not there.

    A process of its own writes it: Linux starts the peak memory of a process at what its parent had.
    """
    if not folder.is_dir():
        with replacing_folder(folder) as unfinished, ProcessPoolExecutor(1, get_context("spawn")) as apart:
            apart.submit(write_model, unfinished, *RANDOM_SHAPES[shape], ("pooler", "MLM", "NSP")).result()
    return folder


def print_table(title: str, cards: Sequence[Card], rows: list[list[str]]) -> None:
    """Print methods x datasets under a title."""
    print(f"\n{title}")
    print_groups(["method", *(card.title for card in cards)], [rows], wide_console())


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    prepare_output(options.output)
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, {' '.join(facts['flags'])}; load {facts['load_average']:.1f}")
    cards, entries = [load_card(name) for name in options.dataset], [CHOICES[name] for name in options.methods]
    with locked_folder(options.output):
        found = measure(cards, entries, options)
    for title, show in TABLES.items():
        rows = [[name, *(show(one) if one else "" for one in row)] for name, row in found.items()]
        if any(text for _, *texts in rows for text in texts):
            print_table(title, cards, rows)
    return 0


if __name__ == "__main__":
    run_main(main)
