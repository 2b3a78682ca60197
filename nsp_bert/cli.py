"""The options and the manners that every script shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nsp_bert.cards import DEFAULT_DATA_DIR, SAMPLE_DIR, card_names, load_card
from nsp_bert.checkpoint import DEFAULT_MODEL, Checkpoint, open_checkpoint
from nsp_bert.errors import UserError
from nsp_bert.results import Run, prepare_output, print_table, write_run
from nsp_bert.scorer import PRECISIONS, Scorer

INTERRUPTED = 130


@dataclass(frozen=True)
class Data:
    """Where a run's rows come from; `sample` marks the project's own miniature files."""

    folder: Path
    sample: bool


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def make_parser(description: str | None, task: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every task script takes."""
    datasets = card_names(task)
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", nargs="+", choices=datasets, default=datasets, help="default: all of them")
    data.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help=f"holds DATASET/SPLIT.json; default {DEFAULT_DATA_DIR.parent.name}/{DEFAULT_DATA_DIR.name}, and where that"
        " is absent the bundled sample",
    )
    data.add_argument("--split", default="test_public", help="file of the dataset without its ending (%(default)s)")
    data.add_argument("--limit", type=positive, metavar="N", help="only the first N rows of the file")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_DIR",
        help="a name in models/cards.yaml or a folder with bert_config.json, vocab.txt, *.ckpt.* (%(default)s)",
    )
    model.add_argument("--max-length", type=positive, metavar="TOKENS", help="of a pair; default: the dataset's own")
    model.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the arithmetic (%(default)s)")
    model.add_argument(
        "--batch-tokens",
        type=positive,
        default=8192,
        metavar="TOKENS",
        help="rows x length of a batch: memory and speed, not the result (%(default)s)",
    )
    prompt = parser.add_argument_group("prompt")
    prompt.add_argument("--prompt-position", choices=("prefix", "suffix"), help="prompt before or after the text")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write result files there")
    return parser


def add_template_option(parser: argparse.ArgumentParser) -> None:
    """Add `--template`, for the tasks whose cards have templates."""
    parser.add_argument(
        "--template", metavar="NUMBER_OR_TEXT", help="1, 2, 3 of the card or a text with {}; default: the last"
    )


def choose_data(data_dir: Path | None) -> Data:
    """Return the folder the user names, or the default folder, or the sample where there is no default folder."""
    if data_dir is not None:
        return Data(data_dir, sample=data_dir.resolve() == SAMPLE_DIR)
    return Data(DEFAULT_DATA_DIR, sample=False) if DEFAULT_DATA_DIR.is_dir() else Data(SAMPLE_DIR, sample=True)


@dataclass(frozen=True)
class Session:
    """What the datasets of one call share: options, data, model."""

    options: argparse.Namespace
    data: Data
    checkpoint: Checkpoint
    scorer: Scorer

    def max_length(self, card: Any) -> int:
        """Return `--max-length`, or the dataset's own."""
        return self.options.max_length or card.max_length

    def position(self, card: Any) -> Any:
        """Return `--prompt-position`, or the dataset's own."""
        return self.options.prompt_position or card.position

    def announce(self, card: Any, size: str, pairs: int, prompt: str) -> None:
        """Print what runs on what."""
        sample = " (bundled sample)" if self.data.sample else ""
        how = f"{self.position(card)} {prompt}".strip()
        print(
            f"{card.title} {self.options.split}{sample}: {size} = {pairs} pairs, {how}, {self.checkpoint.name},"
            f" {self.options.precision}"
        )

    def as_published(self, card: Any) -> bool:
        """Return whether data, prompt position and length are those of the published runs."""
        options = self.options
        return (
            not (self.data.sample or options.limit)
            and self.position(card) == card.position
            and self.max_length(card) == card.max_length
        )

    def settings(self, card: Any, **more: Any) -> dict[str, Any]:
        """Return the settings for the result file."""
        return more | {
            "prompt_position": self.position(card),
            "max_length": self.max_length(card),
            "precision": self.options.precision,
            "limit": self.options.limit,
        }


def run_datasets(options: argparse.Namespace, run: Callable[[Any, Session], Run]) -> int:
    """Run every dataset of `--dataset`, write each result as it comes, end with the table; return the exit status."""
    cards = [load_card(name) for name in options.dataset]
    if options.output:
        prepare_output(options.output)
    checkpoint = open_checkpoint(options.model)
    scorer = Scorer(checkpoint, options.precision, options.batch_tokens)
    session = Session(options, choose_data(options.data_dir), checkpoint, scorer)
    runs: list[Run] = []
    for card in cards:
        runs.append(run(card, session))
        if options.output:
            write_run(runs[-1], options.output)
        if not runs[-1].complete:
            break
    print_table(runs)
    return 0 if runs[-1].complete else INTERRUPTED


def run_main(main: Callable[[list[str] | None], int], arguments: list[str] | None = None) -> None:
    """Run a script's `main` and exit: 2 and one line for an error that the user can mend, 130 for Ctrl-C."""
    try:
        status = main(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = INTERRUPTED
    raise SystemExit(status)
