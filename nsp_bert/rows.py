"""The rows of a dataset's file: JSON lines, csv or tsv."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from nsp_bert.errors import UserError

LONGEST_FIELD = 10_000_000
EXTRA = "\0"  # holds what a row has beyond its columns; no column is called so


@contextlib.contextmanager
def _opened(path: Path, mode: str = "r", **how: Any) -> Iterator[IO[Any]]:
    """Open a file. Raises UserError when it is not there or cannot be read."""
    try:
        with path.open(mode, **how) as stream:
            yield stream
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; datasets/README.md tells where the data come from") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_json_lines(
    path: Path, limit: int | None = None, advance: Callable[[int], object] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) of a UTF-8 JSON-lines file, place being `file:line` for messages; blank lines are skipped.

    Lines end with LF or CRLF alone: U+2028 and the like stand inside real texts. `advance` hears the bytes of each
    line that is read. Raises UserError with the place.
    """
    shown = f"{path.parent.name}/{path.name}"
    try:
        with _opened(path, "rb") as stream:
            lines = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
            for number, line in islice(lines, limit):
                place = f"{shown}:{number}"
                if advance:
                    advance(len(line))
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise UserError(f"{place}: not a JSON object; the file must hold one object a line")
                yield place, row
    except UnicodeDecodeError as error:
        raise UserError(f"{shown}:{number}: not UTF-8 ({error.reason}); fetch the file again or convert it") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{shown}:{number}: broken JSON ({error.msg}, column {error.colno}); mend the line") from error


def read_table(
    path: Path, columns: list[str] | None, delimiter: str, limit: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of a UTF-8 csv or tsv file; without `columns` its first line names them.

    In csv a quoted value may hold line breaks; tsv knows no quotes. Raises UserError with the place.
    """
    shown = f"{path.parent.name}/{path.name}"
    csv.field_size_limit(LONGEST_FIELD)
    form: dict[str, Any] = {"delimiter": delimiter, "restkey": EXTRA, "strict": True}
    if delimiter == "\t":
        form["quoting"] = csv.QUOTE_NONE
    reader: Any = None
    try:
        with _opened(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, columns, **form)
            for row in islice(reader, limit):
                place = f"{shown}:{reader.line_num}"
                names = reader.fieldnames
                if EXTRA in row or None in row.values():
                    found = sum(value is not None for value in row.values()) + len(row.get(EXTRA, [None])) - 1
                    raise UserError(f"{place}: {found} columns instead of {len(names)} ({', '.join(names)})")
                yield place, row
    except UnicodeDecodeError as error:
        line = reader.line_num if reader else 0
        raise UserError(f"{shown}: not UTF-8 after line {line} ({error.reason}); fetch or convert it") from error
    except csv.Error as error:
        line = reader.line_num + 1 if reader else 1
        raise UserError(f"{shown}:{line}: broken csv ({error}); mend the line") from error
