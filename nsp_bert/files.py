"""Files: where the project is, replacing a file or a folder in one step, digests, UTF-8 lines, JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from nsp_bert.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
DATASETS, MODELS = ROOT / "datasets", ROOT / "models"
UNFINISHED = ".unfinished"
BLOCK = 1 << 20
Row = Mapping[str, object]  # an object of a JSON file


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file's path beside `path`; it takes that place when the block ends without an error, else it goes.

    Its name is its own, so that two writers never share a file and no link is followed. Raises UserError when the
    place cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends without an error."""
    unfinished = folder.with_name(folder.name + UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        _replace_folder(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _replace_folder(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; a kill in between leaves one of the two whole."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def write_lines(lines: Iterable[str], path: Path) -> None:
    """Replace a UTF-8 file in one step, line by line. Raises UserError when the place cannot be written."""
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(lines)


def write_text(text: str, path: Path) -> None:
    """Replace a UTF-8 file in one step. Raises UserError when the place cannot be written."""
    write_lines([text], path)


def write_json_lines(rows: Iterable[Row], path: Path) -> None:
    """Write one JSON object a line, in one step. Raises UserError when the place cannot be written."""
    write_lines((json.dumps(row, ensure_ascii=False) + "\n" for row in rows), path)


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's digest in hexadecimal."""
    found = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def utf8_lines(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of UTF-8 lines; LF or CRLF ends them, nothing else does.

    U+2028 and the like are inside real texts. A byte order mark is left out. Raises UserError with `name` and line.
    """
    for number, line in enumerate(stream, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{name}:{number}: not UTF-8 ({error.reason}); fetch it again or convert it") from error
        yield number, text.removesuffix("\n").removesuffix("\r")


def parse_json(text: str, place: str, remedy: str) -> object:
    """Return the value of a JSON text. Raises UserError with the place, the reason and the remedy."""
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # an escaped surrogate: alone it is no text, and no file can hold it
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{place}: broken JSON ({error.msg}, {where}); {remedy}") from error
    except UnicodeEncodeError as error:
        raise UserError(f"{place}: half of a surrogate pair in a text; {remedy}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in thousands of brackets
        raise UserError(f"{place}: JSON that cannot be read ({error}); {remedy}") from error


def parse_row(text: str, place: str) -> dict[str, object]:
    """Return the object of a line of a JSON-lines file. Raises UserError with the place."""
    row = parse_json(text, place, "fix the line")
    if not isinstance(row, dict):
        raise UserError(f"{place}: not a JSON object; the file must hold one object a line")
    return row
