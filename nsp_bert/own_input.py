"""Texts and labels of the user's own, out of options and files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from nsp_bert.errors import UserError
from nsp_bert.files import Row, utf8_lines
from nsp_bert.rows import checked_text, numbered_json_lines, numbered_table, read_texts

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".json")
TEXT_COLUMNS = ("text", "sentence")  # without --text-column
COMMAS = re.compile("[,，、]")
NAMED_LABELS = 12  # in a message


@dataclass(frozen=True)
class OwnTexts:
    """What the user wants to have classified, as given; None is not given."""

    labels: str | None = None
    text: list[str] | None = None
    input: str | None = None
    text_column: str | None = None
    label_column: str | None = None

    @property
    def given(self) -> bool:
        """Whether own texts are meant at all."""
        return any(value is not None for value in astuple(self))


class OwnText(NamedTuple):
    """A text, the line of its file that it begins on, and its label; None for what it does not have."""

    text: str
    line: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Source:
    """The texts in their order, read as they are asked for: those of --text, then those of --input; `limit` at most.

    A label of theirs is one of `labels`. Iterating raises UserError with the place of a row that is not right.
    """

    own: OwnTexts
    labels: tuple[str, ...]
    limit: int | None

    @property
    def stays(self) -> bool:
        """Whether the texts are still there when they have been read: not so in a pipe."""
        return self.own.input is None or os.path.isfile(self.own.input)

    def __iter__(self) -> Iterator[OwnText]:
        """Yield the texts."""
        given = (OwnText(checked_text(text, "--text")) for text in self.own.text or ())
        return islice(chain(given, self._read(self.own.input) if self.own.input is not None else ()), self.limit)

    def _read(self, path: str) -> Iterator[OwnText]:
        name, column = f"--input {path}", None
        for line, row in read_rows(path, name):
            place = f"{name}:{line}"
            column = column or choose_column(row, self.own.text_column, place)
            text = row.get(column)
            if not isinstance(text, str):
                raise UserError(f"{place}: no text in {column!r} (found {text!r}); fix the line")
            yield OwnText(text, line, self._label(row, place))

    def _label(self, row: Row, place: str) -> str | None:
        column = self.own.label_column
        if column is None:
            return None
        if column not in row:
            raise UserError(f"{place}: no {column!r}; it has {', '.join(row)}: name one with --label-column")
        label = row[column]
        if label is None or str(label) not in self.labels:
            some = ", ".join(self.labels[:NAMED_LABELS]) + (", ..." if len(self.labels) > NAMED_LABELS else "")
            raise UserError(f"{place}: unknown label {label!r}; --labels has {some}")
        return str(label)


def read_rows(path: str, name: str) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row) of a csv, tsv or JSON-lines file by its ending; of any other the row is a line's text.

    Messages call the file `name`.
    """
    ending = Path(path).suffix.lower()
    if ending in DELIMITERS:
        return numbered_table(Path(path), name, None, DELIMITERS[ending])
    if ending in JSON_LINES:
        return numbered_json_lines(Path(path), name)
    return ((line, {TEXT_COLUMNS[0]: text}) for line, text in read_texts(path))


def choose_column(row: Row, wanted: str | None, place: str) -> str:
    """Return the column of the texts. Raises UserError with those that there are."""
    names = TEXT_COLUMNS if wanted is None else (wanted,)
    for name in names:
        if name in row:
            return name
    missing = " or ".join(map(repr, names))
    raise UserError(f"{place}: no {missing}; it has {', '.join(row)}: name one with --text-column")


def read_labels(given: str | None) -> dict[str, str]:
    """Return label -> prompt word, from a text with commas between or the path of a file with a label a line.

    Raises UserError unless there are two that differ.
    """
    if given is not None and os.path.isfile(given):
        entries: Iterable[str] = [line for _, line in _label_lines(given)]
    else:
        entries = COMMAS.split(checked_text(given or "", "--labels"))
    pairs = [_label_and_word(entry) for entry in map(str.strip, entries) if entry]
    words = dict(pairs)
    if len(words) < 2 or len(words) < len(pairs) or len(set(words.values())) < len(pairs):
        found = ", ".join(label for label, _ in pairs) or "none"
        raise UserError(
            f"--labels: two or more different labels are needed, each with a word of its own (found: {found}); e.g."
            " --labels 体育,财经,教育 or the path of a file with one a line"
        )
    return words


def _label_lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with open(path, "rb") as stream:
            yield from utf8_lines(stream, f"--labels {path}")
    except OSError as error:
        raise UserError(f"--labels {path}: cannot be read ({error.strerror})") from error


def _label_and_word(entry: str) -> tuple[str, str]:
    """Return the label and the prompt word of `label=prompt word`, or of a label that is its own word."""
    label, equals, word = (part.strip() for part in entry.partition("="))
    if equals and not (label and word):
        raise UserError(f"--labels {entry!r}: a label before = and its prompt word after it are needed")
    return label, word or label
