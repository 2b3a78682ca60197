"""The options and the manners that every script shares."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import chain, groupby
from pathlib import Path

from rich.text import Text

from nsp_bert.cards import SAMPLES_CONTRAST, CardT, Kind, card_names, cards_of, load_card
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.errors import UserError, meant
from nsp_bert.options import Options, PromptOptions, Recipe
from nsp_bert.results.submission import SUBMISSION_SPLIT
from nsp_bert.results.summary import CALIBRATIONS, CONTENT_FREE, ENSEMBLE
from nsp_bert.rows import FIRST_SEED, Selection
from nsp_bert.scoring.backends import BACKENDS, PRECISIONS
from nsp_bert.scoring.precision import AUTO
from nsp_bert.terminal import plain_console

LONGEST_NUMBER = 19  # digits: what a 64-bit integer holds
PROMPT_KEYS = ("template", "prompt_position", "stages", "positions", "ablate")
CALIBRATED = {
    CONTENT_FREE: "less those of the same prompt with a neutral text",
    ENSEMBLE: "their mean over the card's templates",
}


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    count = whole(text)
    if not count:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return count


def whole(text: str) -> int:
    """Parse a whole number from 0 up."""
    if not (text.isascii() and text.isdecimal() and len(text) < LONGEST_NUMBER):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def number(
    low: float = -math.inf, high: float = math.inf, *, above: float = -math.inf, below: float = math.inf
) -> Callable[[str], float]:
    """Return a parser of a number from `low` to `high`, greater than `above` and less than `below`; never NaN."""
    bounds = [
        *([f"from {low:g}"] if low > -math.inf else []),
        *([f"above {above:g}"] if above > -math.inf else []),
        *([f"up to {high:g}"] if high < math.inf else []),
        *([f"below {below:g}"] if below < math.inf else []),
    ]

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and above < value < below and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {' '.join(bounds)}".rstrip())
        return value

    return parse


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the terminal's width, but for lines that are indented or begin with a dash; adds defaults."""

    def _get_help_string(self, action: argparse.Action) -> str:
        told = action.help or ""
        no_value = action.nargs == 0 or action.default in (None, argparse.SUPPRESS)
        return told if no_value or "(default: " in told else f"{told} (default: %(default)s)"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = groupby(text.strip().splitlines(), lambda line: bool(line) and not line.startswith((" ", "- ")))
        lines = (self._split_lines(" ".join(part), width) if prose else part for prose, part in parts)
        return "\n".join(f"{indent}{line}".rstrip() for line in chain.from_iterable(lines))

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Return lines of `width` columns, of which a Chinese character takes two; options stay in one piece."""
        return [line.plain.rstrip() for line in Text(" ".join(text.split())).wrap(plain_console(), width)]


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser without options. A default that is no value yet is to be told in the help: (default: …)."""
    return argparse.ArgumentParser(description=description, formatter_class=HelpFormatter, allow_abbrev=False)


def make_parser(
    description: str | None,
    kind: Kind[CardT],
    *,
    own_texts: bool = False,
    add_prompt: Callable[[argparse._ArgumentGroup, Kind[CardT]], None] | None = None,
) -> argparse.ArgumentParser:
    """Return a parser with the options that a script of this kind of card takes; `own_texts`: such may be given too.

    `add_prompt` adds the prompt options, without it NSP-BERT's.
    """
    parser = new_parser(description)
    add_data_options(parser.add_argument_group("data"), kind)
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_DIR",
        help="a name in models/cards.yaml, or a folder with bert_config.json, vocab.txt and *.ckpt.*",
    )
    model.add_argument(
        "--max-length",
        type=positive,
        metavar="TOKENS",
        help="of a pair, longer ones are cut (default: the dataset's own)",
    )
    add_scoring_options(model)
    prompt = parser.add_argument_group("prompt")
    if add_prompt:
        add_prompt(prompt, kind)
    elif isinstance(kind, type):
        add_prompt_options(prompt, kind)
    add_output_options(parser.add_argument_group("output"), kind, own_texts)
    return parser


def add_data_options(group: argparse._ArgumentGroup, kind: Kind[CardT]) -> None:
    """Add what decides which rows are scored."""
    cards = cards_of(kind)
    folders = dict.fromkeys(f"datasets/{card.data_dir}".removesuffix("/.") for card in cards)
    names = [card.name for card in cards]
    group.add_argument(
        "--dataset",
        nargs="+",
        type=dataset_name(kind),
        metavar="NAME",
        help=f"{', '.join(names)} (default: all in the model's language)",
    )
    group.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help=f"holds DATASET/SPLIT.json (default: {' or '.join(folders)}, and where the dataset is not there the"
        " bundled sample)",
    )
    group.add_argument("--split", help="file of the dataset without its ending (default: the dataset's own)")
    add_row_options(group)


def add_row_options(group: argparse._ActionsContainer) -> None:
    """Add what leaves rows out."""
    rows = group.add_mutually_exclusive_group()
    rows.add_argument(
        "--limit", type=positive, metavar="N", help="only the first N rows; files may be sorted by label (default: all)"
    )
    rows.add_argument(
        "--sample",
        type=positive,
        metavar="N",
        help="only N rows drawn at random, labels in their shares (default: all)",
    )
    group.add_argument("--seed", type=whole, metavar="N", help=f"of --sample (default: {FIRST_SEED})")


def dataset_name(kind: Kind[CardT]) -> Callable[[str], str]:
    """Return a parser of a dataset's name, in any case; another name is refused with what may be meant."""

    def parse(text: str) -> str:
        name, names = text.lower(), [card.name for card in cards_of(kind)]
        if name in names:
            return name
        if name in card_names():  # of another task, or one that cannot be read
            raise argparse.ArgumentTypeError(f"{text!r} is a dataset of {load_card(name).script}")
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}{meant(name, names)}")

    return parse


def add_scoring_options(group: argparse._ActionsContainer) -> None:
    """Add what decides how the scores are computed, and how fast."""
    group.add_argument(
        "--precision",
        choices=(*PRECISIONS, AUTO),
        default="float32",
        metavar="FORMAT",
        help=f"of the model's numbers: {', '.join(PRECISIONS)}; or {AUTO}, which predicts as float32 does, faster where"
        " the machine can",
    )
    group.add_argument("--backend", choices=tuple(BACKENDS), default="tensorflow", help="engine that runs the model")
    group.add_argument(
        "--batch-tokens",
        type=positive,
        metavar="TOKENS",
        help="rows x length of a batch: memory and speed, not the result (default: what suits the device)",
    )
    group.add_argument(
        "--distributed",
        metavar="ray[://ADDRESS]",
        help="score on the workers of a Ray cluster (default: on this machine alone)",
    )
    group.add_argument(
        "--workers", type=positive, metavar="N", help="of --distributed (default: one a GPU, or one a machine)"
    )


def add_prompt_choice(group: argparse._ArgumentGroup, kind: Kind[CardT]) -> None:
    """Add the choice of a prompt that the tasks take."""
    cards = cards_of(kind)
    group.add_argument(
        "--prompt-position",
        choices=("prefix", "suffix"),
        help="of the prompt, before or after the text (default: the dataset's own)",
    )
    if any(card.takes_templates for card in cards):
        group.add_argument(
            "--template",
            metavar="NUMBER_OR_TEXT",
            help="1, 2, 3 of the card, or a text with {} (default: the card's last)",
        )
    if any(card.takes_stages for card in cards):
        group.add_argument(
            "--stages",
            type=int,
            choices=(1, 2),
            help="2 puts a question about the mention beside the text, 1 does not (default: 2)",
        )
    if any(card.takes_positions for card in cards):
        group.add_argument(
            "--positions",
            choices=("hard", "soft"),
            help="soft: a candidate has the position ids of the blank; hard: of its own (default: soft)",
        )


def add_prompt_options(group: argparse._ArgumentGroup, kind: type[CardT]) -> None:
    """Add the prompt options that the task takes."""
    add_prompt_choice(group, kind)
    group.add_argument(
        "--ablate", action="store_true", help="run every combination of the prompt options that are not given"
    )
    methods = CALIBRATIONS if kind.takes_templates else (CONTENT_FREE,)
    group.add_argument(
        "--calibration",
        nargs="+",
        choices=methods,
        default=(),
        metavar="METHOD",
        help=f"also the accuracy of calibrated log-odds: {'; '.join(f'{name}, {CALIBRATED[name]}' for name in methods)}"
        " (default: none)",
    )
    if kind.mapping == SAMPLES_CONTRAST:
        group.add_argument("--batch-curve", action="store_true", help="also rank inside batches of 1, 2, 4 … 128, all")
        group.add_argument("--seeds", type=positive, default=5, metavar="N", help="random orders of the batch curve")


def add_output_options(group: argparse._ArgumentGroup, kind: Kind[CardT], own_texts: bool) -> None:
    """Add where results go, and what happens to those that are there."""
    group.add_argument(
        "--output",
        type=Path,
        metavar="DIR_OR_FILE" if own_texts else "DIR",
        help="folder that result files are written to"
        + ("; with your own texts the file of their answers, or - to print them" if own_texts else "")
        + " (default: only print a table)",
    )
    group.add_argument("--verbose", action="store_true", help="also print what each step took")
    group.add_argument(
        "--resume",
        action="store_true",
        help="keep what --output holds of the same data, checkpoint, code and settings: whole results, scores of a run"
        " that was killed" + (", answers to your own texts in a file" if own_texts else ""),
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace the result of another run (model, settings) in --output"
    )
    if any(card.submission for card in cards_of(kind)):
        group.add_argument(
            "--submission",
            type=Path,
            metavar="DIR",
            help="predict test.json and write the leaderboard's file there (default: none)",
        )


def parse_options(parsed: argparse.Namespace) -> Options:
    """Return the options of a parsed command line. Raises UserError for options that exclude each other."""
    given = vars(parsed).copy()
    trained = {name: given.pop(name) for name in Recipe.model_fields if name in given}
    given["recipe"] = {name: value for name, value in trained.items() if value is not None}
    prompt = PromptOptions.model_validate({name: given.pop(name) for name in PROMPT_KEYS if name in given})
    options = Options.model_validate(given | {"prompt": prompt})
    selection = options.selection
    if prompt.ablate and ENSEMBLE in options.calibration and not prompt.template:
        raise UserError(
            "--calibration ensemble would score every template again in each run of --ablate: give --template, or leave"
            " one of the two out"
        )
    if not options.submission:
        return options
    if selection != Selection() or prompt.ablate or options.resume or options.split not in (None, SUBMISSION_SPLIT):
        raise UserError(
            "--submission predicts the whole of test.json once: leave out --limit, --sample, --ablate, --resume and"
            " --split"
        )
    if len(options.train) > 1:
        raise UserError("--submission is one prediction of each row: name one training set with --train")
    return options.model_copy(update={"split": SUBMISSION_SPLIT})
