"""Texts and labels of the user's own: from the command line or a file, answered as they come by the Python API."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing, redirect_stdout
from dataclasses import dataclass
from itertools import chain, islice, tee
from pathlib import Path
from typing import TextIO

import numpy as np

from nsp_bert.cards import CANDIDATES_CONTRAST
from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint
from nsp_bert.errors import UserError
from nsp_bert.files import digest
from nsp_bert.options import ZERO_SHOT, Options
from nsp_bert.own_input import DELIMITERS, JSON_LINES, OwnText, OwnTexts, Source, read_labels
from nsp_bert.prompts import Position, parse_template
from nsp_bert.results.answers import (
    SHOWN,
    AnswerFile,
    AnswerStream,
    AnswerTable,
    Destination,
    ReaderGoneError,
    TextAnswer,
)
from nsp_bert.results.fingerprint import checkpoint_digest
from nsp_bert.results.runs import Answer, Run, Subject, prepare_output, rounded
from nsp_bert.results.summary import Confusion
from nsp_bert.results.tables import print_groups, print_table
from nsp_bert.rows import checked_text
from nsp_bert.scoring.exact import Engine
from nsp_bert.session import Scorers
from nsp_bert.terminal import INTERRUPTED, new_table, plain_console, progress_bar
from nsp_bert.tokenization import make_pair_encoder
from nsp_bert.zero_shot import MAX_LENGTH, Prompts, ZeroShotClassifier

STREAM = "-"  # standard input or output
SHOWN_LABELS = 12  # of a confusion matrix


def check_options(own: OwnTexts, options: Options) -> None:
    """Raise UserError for options that do not apply to own texts, or not to these."""
    others = {
        "--dataset": options.dataset,
        "--data-dir": options.data_dir,
        "--split": options.split,
        "--sample": options.sample,
        "--submission": options.submission,
        "--calibration": options.calibration,
        "--ablate": options.prompt.ablate,
        "--overwrite": options.overwrite,
    }
    if given := [name for name, value in others.items() if value]:
        raise UserError(f"{', '.join(given)}: about a dataset's files, which own texts do not have; leave it out")
    if own.text is None and own.input is None:
        raise UserError("no text to classify; give --text TEXT or --input FILE (- for standard input)")
    columns = {"--text-column": own.text_column, "--label-column": own.label_column}
    named = [name for name, value in columns.items() if value is not None]
    if named and Path(own.input or "").suffix.lower() not in (*DELIMITERS, *JSON_LINES):
        raise UserError(f"{', '.join(named)}: about a csv, tsv or jsonl file that --input names; leave it out")
    if own.label_column is not None and own.text is not None:
        raise UserError("--label-column: the texts of --text have no label; leave one of the two out")


def check_files(own: OwnTexts, options: Options) -> None:
    """Raise UserError for an input that cannot be read, and for an output that cannot be written or resumed."""
    output = options.output
    if own.input is not None and own.input != STREAM and (reason := _unreadable(own.input)):
        raise UserError(f"--input {own.input}: cannot be read ({reason}); name a file, or - for standard input")
    if options.resume and (output is None or str(output) == STREAM):
        raise UserError("--resume: only what --output FILE holds can be resumed; name a file, or leave it out")
    if output is None or str(output) == STREAM:
        return
    there = os.path.exists(output)
    if options.resume and own.input is not None and not os.path.isfile(own.input):
        raise UserError("--resume: standard input and pipes cannot be read again from their start; give --input FILE")
    if there and not os.path.isfile(output):
        raise UserError(f"--output {output}: not a plain file; name another, or - to print the answers")
    if there and own.input not in (None, STREAM) and os.path.samefile(output, own.input):
        raise UserError(f"--output {output}: the file of --input; name another")
    prepare_output(output.parent)


def _unreadable(path: str) -> str:
    """Return why a path cannot be read as a file or a pipe; empty where it can."""
    try:
        os.stat(path)
    except OSError as error:
        return error.strerror or "no such file"
    if os.path.isdir(path):
        return "a folder"
    return "" if os.access(path, os.R_OK) else "permission denied"


@dataclass(frozen=True)
class Question:
    """What every text is asked: label -> prompt word, the template, where the prompt is, the longest pair in tokens."""

    words: dict[str, str]
    template: str
    position: Position
    max_length: int

    @property
    def prompts(self) -> Prompts:
        """The prompts of the labels."""
        return Prompts.of(self.words, [self.template])

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result says of it, beside the labels."""
        return {"template": self.template, "prompt_position": self.position, "max_length": self.max_length}


def make_question(own: OwnTexts, options: Options) -> Question:
    """Return what the options ask. Raises UserError for labels or a template that are not right."""
    template = parse_template(checked_text(options.prompt.template or "{}", "--template")).text
    position = options.prompt.prompt_position or "prefix"
    return Question(read_labels(own.labels), template, position, options.max_length or MAX_LENGTH)


def classify_own_texts(own: OwnTexts, options: Options) -> int:
    """Answer every text; return the exit status. Raises UserError for options, labels and files that are not right."""
    check_options(own, options)
    question = make_question(own, options)
    check_files(own, options)
    source, out = Source(own, tuple(question.words), options.limit), sys.stdout
    with ExitStack() as stack:
        if options.output == Path(STREAM):
            stack.enter_context(redirect_stdout(sys.stderr))  # messages and tables: `out` is for answers alone
        return classify(source, question, options, out)


def classify(source: Source, question: Question, options: Options, out: TextIO) -> int:
    """Answer the texts of a source, to standard output on `out`; return the exit status."""
    total = sum(1 for _ in source) if source.stays else None  # every row is looked at before any is scored
    rows, labels = iter(source), len(question.words)
    first = list(islice(rows, SHOWN + 1))
    total = len(first) if len(first) <= SHOWN else total
    check_number(first, source.own, options)
    checkpoint = open_checkpoint(options.model, ZERO_SHOT.heads)
    encoder = make_pair_encoder(checkpoint, question.max_length)
    number = f"{total} texts x {labels} labels = {total * labels} pairs" if total else f"texts x {labels} labels"
    scorers = Scorers(checkpoint, options)
    engine = Engine(scorers.__getitem__, options.precision)
    print(f"{number}, {question.position} {question.template}, {checkpoint.name}, {engine.words}")
    ask = ZeroShotClassifier.of(checkpoint.name, encoder, engine)
    setup = Setup(source, question, options, checkpoint, engine.precision)
    with closing(open_destination(setup, out)) as destination:
        outcome = answer(chain(first, rows), question, ask, destination, total)
        if outcome.complete:
            destination.finish()
    if outcome.interrupted:
        answered = max(outcome.answered, destination.kept)
        print(f"interrupted: {answered:,} texts are answered{remark(destination, source)}", file=sys.stderr)
    if source.own.label_column is not None and outcome.answered:
        print_accuracy(make_run(setup, outcome))
    if options.verbose:
        print(scorers.timing)
    if outcome.complete and isinstance(destination, AnswerFile):
        print(f"answers: {options.output}")
    return INTERRUPTED if outcome.interrupted else 0


def check_number(first: list[OwnText], own: OwnTexts, options: Options) -> None:
    """Raise UserError for no text, and for more than a terminal is given."""
    if not first:
        raise UserError(f"--input {own.input}: holds no text; name a file that does")
    if len(first) > SHOWN and options.output is None and own.label_column is None:
        raise UserError(f"more than {SHOWN} texts: give --output FILE for the answers, or --output - to print them")


@dataclass(frozen=True)
class Setup:
    """What the answers depend on."""

    source: Source
    question: Question
    options: Options
    checkpoint: Checkpoint
    precision: str

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result says of it."""
        options = self.options
        computed = {"precision": self.precision, "backend": options.backend, "rows": str(options.selection)}
        return self.question.settings | computed

    @property
    def header(self) -> dict[str, object]:
        """What makes one run another run."""
        own = self.source.own
        return self.settings | {
            "labels": self.question.words,
            "checkpoint": checkpoint_digest(self.checkpoint),
            "texts": own.text,
            "input": digest(Path(own.input)) if own.input is not None and self.source.stays else None,
            "text_column": own.text_column,
            "label_column": own.label_column,
        }


def open_destination(setup: Setup, out: TextIO) -> Destination:
    """Return where the answers go. Raises UserError where a file cannot be written."""
    output = setup.options.output
    if output is None:
        return AnswerTable()
    if output == Path(STREAM):
        return AnswerStream(out)
    return AnswerFile(output, setup.header, setup.question.prompts.at_once, setup.options.resume)


class Outcome:
    """What has been answered: how often each (label, prediction), in how many seconds, and what ended it early."""

    def __init__(self) -> None:
        """Begin without an answer."""
        self.counts: Counter[tuple[str | None, str]] = Counter()
        self.answered = 0
        self.seconds = 0.0
        self.interrupted = self.unread = False

    @property
    def complete(self) -> bool:
        """Whether every text is answered."""
        return not (self.interrupted or self.unread)


def answer(
    rows: Iterable[OwnText], question: Question, ask: ZeroShotClassifier, destination: Destination, total: int | None
) -> Outcome:
    """Give the answers to the destination as they come, until they end or somebody ends them."""
    outcome, started, prompts = Outcome(), time.monotonic(), question.prompts
    asked, told = tee(rows)
    texts = (own.text for own in asked)
    pairs = None if total is None else total * prompts.of_a_text
    with progress_bar(pairs, "scoring", " pairs", show=not destination.on_terminal) as bar:
        answers = ask.answers(texts, prompts, question.position, known=destination.known(), progress=bar.update)
        try:
            for own, (_, odds) in zip(told, answers, strict=True):
                scores = dict(zip(prompts.labels, rounded(odds), strict=True))
                prediction = max(scores, key=scores.__getitem__)
                if outcome.answered >= destination.kept:
                    destination.add(TextAnswer(own.text, prediction, scores, own.line, own.label))
                outcome.counts[own.label, prediction] += 1
                outcome.answered += 1
        except KeyboardInterrupt:
            outcome.interrupted = True
        except ReaderGoneError:  # run_main tells of it
            outcome.unread = True
    outcome.seconds = time.monotonic() - started
    return outcome


def remark(destination: Destination, source: Source) -> str:
    """Return where what was answered before an interrupt is."""
    if not isinstance(destination, AnswerFile):
        return ""
    if source.stays:
        return "; they are kept, and the same command with --resume goes on"
    return f"; they are in {destination.path}, below its first line: what comes through a pipe cannot be resumed"


def make_run(setup: Setup, outcome: Outcome) -> Run:
    """Return the run of texts with labels, as of a dataset. Texts that were answered alike are one object in it."""
    labels = tuple(setup.question.words)
    subject = Subject(
        card="own_texts",
        title="own texts",
        task="classification",
        mapping=CANDIDATES_CONTRAST,
        split=Path(setup.source.own.input or "").name,
        model=setup.checkpoint.name,
        labels=labels,
        part="",
        method=ZERO_SHOT.name,
    )
    none = np.empty(0, np.float32)
    alike = ([Answer(0, None, *pair, none)] * count for pair, count in outcome.counts.items())
    return Run(
        subject=subject,
        settings=setup.settings,
        default_prompt=False,
        sample=False,
        complete=outcome.complete,
        answers=list(chain.from_iterable(alike)),
        published=None,
        pairs=outcome.answered * len(labels),
        seconds=outcome.seconds,
    )


def print_accuracy(run: Run) -> None:
    """Print the table that a dataset ends with, and which labels are taken for which."""
    print_table([run.summary], elsewhere="a wider terminal shows them")
    if run.metrics and run.metrics.confusion:
        print_confusion(run.metrics.confusion)


def print_confusion(confusion: Confusion) -> None:
    """Print the matrix, or where there are many labels the most frequent confusions."""
    labels, counts = confusion.labels, np.array(confusion.counts)
    if len(labels) <= SHOWN_LABELS:
        headers = ["label", *(f"→ {label}" for label in labels)]
        return print_groups(headers, [[[label, *map(str, row)] for label, row in zip(labels, counts, strict=True)]])
    table = new_table(("label", "taken for", "texts"), texts=2)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:SHOWN_LABELS]
    for i, j in (divmod(int(place), len(labels)) for place in order):
        if counts[i, j]:
            table.add_row(labels[i], labels[j], str(counts[i, j]))
    plain_console().print(table)
