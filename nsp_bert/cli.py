"""The options and the manners that every script shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from nsp_bert.backends import BACKENDS, PRECISIONS, load_backend
from nsp_bert.calibration import CONTENT_FREE, ENSEMBLE, METHODS
from nsp_bert.cards import card_names, load_card
from nsp_bert.checkpoint import DEFAULT_MODEL, Checkpoint, open_checkpoint
from nsp_bert.distributed import load_ray
from nsp_bert.errors import UserError
from nsp_bert.fingerprint import take_fingerprint
from nsp_bert.precision import AUTO
from nsp_bert.results import Run, prepare_output, read_summaries, write_run
from nsp_bert.score_files import ScoreFiles
from nsp_bert.scorer import Scorer
from nsp_bert.session import Session, choose_data
from nsp_bert.submission import SUBMISSION_SPLIT, write_submission, zip_submissions
from nsp_bert.tables import Summary, print_table

INTERRUPTED = 130
Axes = dict[str, tuple[Any, ...]]
RunDataset = Callable[[Any, Session], list[Run]]


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def make_parser(description: str | None, task: str, axes: Axes | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options that every task script takes.

    `axes` are the task's own prompt options with their values, the default last; `--ablate` runs them all.
    """
    axes = axes or {}
    datasets = card_names(task)
    cards = [load_card(name) for name in datasets]
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", nargs="+", choices=datasets, help="default: all in the model's language")
    data.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="holds DATASET/SPLIT.json; default "
        + " or ".join(dict.fromkeys(f"datasets/{card.data_dir}".removesuffix("/.") for card in cards))
        + ", and where the dataset is not there the bundled sample",
    )
    data.add_argument("--split", help="file of the dataset without its ending; default: the dataset's own")
    data.add_argument("--limit", type=positive, metavar="N", help="only the first N rows of the file")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_DIR",
        help="a name in models/cards.yaml or a folder with bert_config.json, vocab.txt, *.ckpt.* (%(default)s)",
    )
    model.add_argument("--max-length", type=positive, metavar="TOKENS", help="of a pair; default: the dataset's own")
    add_scoring_options(model)
    prompt = parser.add_argument_group("prompt")
    prompt.add_argument("--prompt-position", choices=("prefix", "suffix"), help="default: the dataset's own")
    templates = any(hasattr(card, "templates") for card in cards)
    if templates:
        prompt.add_argument(
            "--template", metavar="NUMBER_OR_TEXT", help="1, 2, 3 of the card or a text with {}; default: the last"
        )
    for name, values in axes.items():
        prompt.add_argument(f"--{name}", type=type(values[0]), choices=values, help=f"default {values[-1]}")
    prompt.add_argument(
        "--ablate", action="store_true", help="run every combination of the prompt options that are not given"
    )
    prompt.add_argument(
        "--calibration",
        nargs="+",
        choices=tuple(METHODS) if templates else (CONTENT_FREE,),
        default=(),
        help="beside the accuracy, that of the log-odds less those of the same prompt with a neutral text"
        + (", or of their mean over the card's templates" if templates else ""),
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=Path, metavar="DIR", help="write result files there")
    output.add_argument("--verbose", action="store_true", help="also print what each stage took")
    output.add_argument(
        "--resume",
        action="store_true",
        help="keep what stands in --output made from the same data, checkpoint, code and settings: whole results, and"
        " the scores of a run that was killed",
    )
    if any(card.submission for card in cards):
        output.add_argument(
            "--submission", type=Path, metavar="DIR", help="predict test.json and write the leaderboard's file there"
        )
    parser.set_defaults(cards_of=task, axes=axes)
    return parser


def add_scoring_options(group: argparse._ActionsContainer) -> None:
    """Add what decides how the scores are computed, and how fast."""
    group.add_argument(
        "--precision",
        choices=(*PRECISIONS, AUTO),
        default="float32",
        help=f"of the arithmetic; {AUTO}: the fastest that predicts the first rows as float32 does (%(default)s)",
    )
    group.add_argument("--backend", choices=tuple(BACKENDS), default="tensorflow", help="what computes (%(default)s)")
    group.add_argument(
        "--batch-tokens",
        type=positive,
        metavar="TOKENS",
        help="rows x length of a batch: memory and speed, not the result; default: what suits the device",
    )
    group.add_argument("--distributed", metavar="ray[://ADDRESS]", help="score on the workers of a Ray cluster")
    group.add_argument(
        "--workers", type=positive, metavar="N", help="of --distributed; default: one a GPU, or one a machine"
    )


def make_loader(options: argparse.Namespace, checkpoint: Checkpoint) -> Callable[[str], Scorer]:
    """Return precision -> scorer, each loaded once. Raises UserError for options that exclude each other."""
    if options.workers and not options.distributed:
        raise UserError("--workers is about --distributed; give both or none")
    load = partial(load_ray, options.distributed, options.workers) if options.distributed else load_backend
    return cache(lambda precision: Scorer(checkpoint, precision, options.batch_tokens, options.backend, load))


def variants(card: Any, options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """Yield the options with every prompt option set: once, or with `--ablate` for each combination."""
    own: Axes = {"prompt_position": ("prefix", "suffix"), **options.axes}
    if hasattr(card, "templates"):
        own = {"template": tuple(str(number) for number in range(1, len(card.templates) + 1)), **own}
    defaults = {name: values[-1] for name, values in own.items()} | {"prompt_position": card.position}
    choices = []
    for name, values in own.items():
        given = getattr(options, name)
        choices.append([given] if given is not None else values if options.ablate else [defaults[name]])
    for combination in product(*choices):
        yield argparse.Namespace(**vars(options) | dict(zip(own, combination, strict=True)))


def choose_cards(names: list[str] | None, task: str, language: str) -> list[Any]:
    """Return the cards of these names, or without names those of the task in the model's language.

    Raises UserError when there are none.
    """
    if names:
        return [load_card(name) for name in names]
    cards = [card for card in map(load_card, card_names(task)) if card.language == language]
    if not cards:
        raise UserError(f"no dataset of this script is in the model's language {language!r}; name one with --dataset")
    return cards


def run_datasets(options: argparse.Namespace, run: RunDataset) -> int:
    """Run every dataset of `--dataset`, write each result as it comes, end with the table; return the exit status."""
    submission = getattr(options, "submission", None)
    check_options(options, submission)
    for folder in filter(None, (options.output, submission)):
        prepare_output(folder)
    checkpoint = open_checkpoint(options.model)
    cards = choose_cards(options.dataset, options.cards_of, checkpoint.language)
    load_scorer = make_loader(options, checkpoint)
    jobs = [(card, variant) for card in cards for variant in variants(card, options)]
    summaries: list[Summary] = []
    for card, variant in jobs:
        data = choose_data(card, options.data_dir)
        folder = options.output / variant_folder(options, variant) if options.output else None
        fingerprint = take_fingerprint(card, variant, data.folder, checkpoint) if folder else {}
        session = Session(variant, data, checkpoint, load_scorer, fingerprint)
        kept = finished(card, session, folder) if options.resume and folder else []
        summaries += kept or run_one(card, session, folder, run)
        if not summaries[-1]["complete"]:
            break
    print_table(summaries)
    if submission:
        print(zip_submissions(submission))
    return 0 if summaries[-1]["complete"] else INTERRUPTED


def run_one(card: Any, session: Session, folder: Path | None, run: RunDataset) -> list[Summary]:
    """Run a dataset, write its files and return the summaries; scores stay on disk until the results are there."""
    options = session.options
    if folder:
        stem = f"{card.name}.{session.split(card)}"
        session = replace(session, files=ScoreFiles(folder, stem, session.fingerprint, options.resume))
    runs = run(card, session)
    if folder:
        for one in runs:
            write_run(one, folder)
    complete = all(one.complete for one in runs)
    if session.files and complete:
        session.files.remove()
    submission = getattr(options, "submission", None)
    if submission and complete:
        write_submission(card, runs[0], submission)
    if options.verbose:
        print(session.load_scorer(runs[0].settings["precision"]).stages)
    return [one.summary for one in runs]


def finished(card: Any, session: Session, folder: Path) -> list[Summary]:
    """Return the summaries of a dataset's runs in a folder when all are complete and have the session's fingerprint."""
    found = read_summaries(folder, card.name, session.split(card))
    valid = [one for one in found if one["complete"] and one["fingerprint"] == session.fingerprint]
    if not valid or len(valid) < valid[0]["parts"]:
        return []
    print(f"{card.title} {session.split(card)}: is there already in {folder}")
    return valid


def check_options(options: argparse.Namespace, submission: Path | None) -> None:
    """Turn the split to the leaderboard's for `--submission`. Raises UserError for options that exclude each other."""
    if options.ablate and ENSEMBLE in options.calibration and not options.template:
        raise UserError(
            "--calibration ensemble would score every template again in each run of --ablate: give --template, or leave"
            " one of the two out"
        )
    if not submission:
        return
    if options.limit or options.ablate or options.resume or options.split not in (None, SUBMISSION_SPLIT):
        raise UserError(
            "--submission predicts the whole of test.json once: leave out --limit, --ablate, --resume and --split"
        )
    options.split = SUBMISSION_SPLIT


def variant_folder(options: argparse.Namespace, variant: argparse.Namespace) -> str:
    """Return the folder of a run below `--output`: none, but for `--ablate` one that tells the options it varies."""
    if not options.ablate:
        return ""
    varied = {name: value for name, value in vars(variant).items() if getattr(options, name) is None and value}
    return ".".join(f"{name}-{value}" for name, value in varied.items())


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
