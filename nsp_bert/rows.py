"""The rows of a dataset's file (JSON lines, csv or tsv), and what a row becomes: an example."""

from __future__ import annotations

import contextlib
import csv
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Generic, Literal, TypeVar

import numpy as np

from nsp_bert.errors import UserError
from nsp_bert.files import Row, parse_row, utf8_lines

LONGEST_FIELD = 10_000_000
FIRST_SEED = 1  # where none is given
ALL_ROWS = "all"
FIVE, FEW_ALL = ("0", "1", "2", "3", "4"), "few_all"  # FewCLUE's training sets; the last has the rows of all five
ContentT = TypeVar("ContentT", bound="Content")


def train_split(train: str) -> str:
    """Return the split with a training set's rows."""
    return f"train_{train}"


def dev_split(train: str) -> str:
    """Return the split that a training on this set is chosen by."""
    return f"dev_{train}"


class Content(ABC):
    """What a task scores of a row; each kind is a frozen dataclass. Equal contents have equal scores."""

    __slots__ = ()

    @property
    def shown(self) -> dict[str, object]:
        """The content as a reader of the results wants to see it."""
        return asdict(self)  # type: ignore[call-overload]

    @abstractmethod
    def with_text(self: ContentT, text: str) -> ContentT:
        """Return the same content with another text in the text's place."""


@dataclass(frozen=True, slots=True)  # there are as many as rows
class Example(Generic[ContentT]):
    """One row of a split: `index` counts from 0 in file order; `label` is a label value as text, or None.

    Examples of the same `cluster` are not independent.
    """

    index: int
    id: object
    content: ContentT
    label: str | None
    cluster: Hashable = None

    @property
    def shown(self) -> dict[str, object]:
        """Return the content as a reader of the results wants to see it."""
        return self.content.shown


@dataclass(frozen=True)
class Rows(Generic[ContentT]):
    """The rows of a file that are asked for, in file order; `number` says in words how many of how many."""

    examples: list[Example[ContentT]]
    number: str


@dataclass(frozen=True)
class FewShotRows(Generic[ContentT]):
    """The rows that teach, those that choose the epoch, and those that are asked for."""

    training: list[Example[ContentT]]
    dev: list[Example[ContentT]]
    test: Rows[ContentT]


@dataclass(frozen=True)
class Selection:
    """Which rows of a file are asked for: all, the first `limit`, or `sample` of them that `seed` draws.

    Files are often sorted by label: the first rows are no sample.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = FIRST_SEED

    def __str__(self) -> str:
        """Return it in words."""
        number = self.sample or self.limit
        return self._in_words(number, "rows") if number else ALL_ROWS

    def choose(self, examples: list[Example[ContentT]], noun: str = "rows") -> Rows[ContentT]:
        """Return the rows that are asked for out of all of a file."""
        chosen = self._drawn(examples) if self.sample else examples[: self.limit]
        of_all = f"{len(examples):,} {noun}"
        return Rows(chosen, of_all if len(chosen) == len(examples) else self._in_words(len(chosen), f"of {of_all}"))

    def _in_words(self, number: int, rows: str) -> str:
        return f"{number:,} random {rows} (seed {self.seed})" if self.sample else f"first {number:,} {rows}"

    def _drawn(self, examples: list[Example[ContentT]]) -> list[Example[ContentT]]:
        """Draw at equal steps from the rows sorted by label, in random order within one: each label keeps its share."""
        count = min(self.sample or 0, len(examples))
        random = np.random.default_rng(self.seed)
        _, labels = np.unique([example.label or "" for example in examples], return_inverse=True)
        order = np.lexsort((random.permutation(len(examples)), labels))
        places = ((np.arange(count) + random.random()) * len(examples) / count).astype(int)
        return [examples[place] for place in np.sort(order[places])]


@contextlib.contextmanager
def _opened(path: Path, mode: Literal["r", "rb"], encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file. Raises UserError when it is not there or cannot be read."""
    try:
        with path.open(mode, encoding=encoding, newline=None if mode == "rb" else "") as stream:
            yield stream
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; datasets/README.md tells where the data come from") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_json_lines(path: Path, advance: Callable[[int], object] | None = None) -> Iterator[tuple[str, Row]]:
    """Yield (place, object) of a UTF-8 JSON-lines file, place being `file:line` for messages; blank lines are skipped.

    `advance` hears the bytes of each line that is read. Raises UserError with the place.
    """
    name = _short_name(path)
    return _with_places(numbered_json_lines(path, name, advance), name)


def read_table(path: Path, columns: list[str] | None, delimiter: str) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) of a UTF-8 csv or tsv file; without `columns` its first line names them.

    In csv a quoted value may hold line breaks; tsv knows no quotes. Raises UserError with the place.
    """
    name = _short_name(path)
    return _with_places(numbered_table(path, name, columns, delimiter), name)


def _short_name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _with_places(rows: Iterator[tuple[int, Row]], name: str) -> Iterator[tuple[str, Row]]:
    return ((f"{name}:{number}", row) for number, row in rows)


def numbered_json_lines(
    path: Path, name: str, advance: Callable[[int], object] | None = None
) -> Iterator[tuple[int, Row]]:
    """Yield (line number from 1, object) of a UTF-8 JSON-lines file that messages call `name`, as `read_json_lines`."""
    with _opened(path, "rb") as stream:
        for number, line in utf8_lines(_counted(stream, advance) if advance else stream, name):
            if line.strip():
                yield number, parse_row(line, f"{name}:{number}")


def _counted(stream: Iterable[bytes], advance: Callable[[int], object]) -> Iterator[bytes]:
    for line in stream:
        advance(len(line))
        yield line


def numbered_table(path: Path, name: str, columns: list[str] | None, delimiter: str) -> Iterator[tuple[int, Row]]:
    """Yield (number from 1 of the line that a row begins on, row) of a file that messages call `name`, as `read_table`.

    Raises UserError also for a name of two columns.
    """
    csv.field_size_limit(LONGEST_FIELD)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    line = 0
    try:
        with _opened(path, "r", "utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True)
            names = next(reader, []) if columns is None else columns
            if twice := [column for column, count in Counter(names).items() if count > 1]:
                raise UserError(f"{name}:1: two columns are called {twice[0]!r}; name each differently")
            line = reader.line_num
            for values in reader:
                first, line = line + 1, reader.line_num
                if values and len(values) != len(names):
                    raise UserError(
                        f"{name}:{first}: {len(values)} columns instead of {len(names)} ({', '.join(names)})"
                    )
                if values:
                    yield first, dict(zip(names, values, strict=True))
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 after line {line} ({error.reason}); fetch or convert it") from error
    except csv.Error as error:
        raise UserError(f"{name}:{line + 1}: broken csv ({error}); fix the line") from error


def checked_text(text: str, place: str) -> str:
    """Return a text from the command line. Raises UserError where its bytes were no text in the terminal's encoding."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{place} {text!r}: not a text in {sys.getfilesystemencoding()}; write it as UTF-8") from error
    return text


def read_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of the non-blank lines of a UTF-8 file, or of standard input for `-`.

    Raises UserError with the line.
    """
    try:
        with _bytes_of(source) as stream:
            for number, line in utf8_lines(stream, f"--input {source}"):
                if text := line.strip():
                    yield number, text
    except OSError as error:
        raise UserError(f"--input {source}: cannot be read ({error.strerror})") from error


def _bytes_of(source: str) -> contextlib.AbstractContextManager[Iterable[bytes]]:
    if source == "-":
        return contextlib.nullcontext(sys.stdin.buffer if sys.stdin else ())  # it may be closed
    return Path(source).open("rb")
