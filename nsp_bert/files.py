"""Files: where the project is, replacing a file or a folder in one step, digests, UTF-8 lines, JSON, YAML."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import yaml

from nsp_bert.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
DATASETS, MODELS = ROOT / "datasets", ROOT / "models"
UNFINISHED = ".unfinished"
BLOCK = 1 << 20
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is eight times as fast
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


def open_own(path: Path) -> FileIO:
    """Open a file for reading and writing, made where it is not there; never through a link.

    Raises UserError where the place cannot be written or is something other than a plain file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        reason = "a symbolic link" if os.path.islink(path) else error.strerror
        raise UserError(f"{path}: cannot be written ({reason}); remove it or choose another place") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UserError(f"{path}: cannot be written (not a plain file); remove it or choose another place")
    return FileIO(number, "r+")


def write_whole(file: FileIO, data: bytes, path: Path) -> None:
    """Write all of the data at the file's place. Raises UserError where the disk does not take it."""
    try:
        while data:  # a nearly full disk takes a part
            data = data[file.write(data) or 0 :]
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); make room, then run again with --resume"
        ) from error


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone until the block ends. Raises UserError where another one holds it."""
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(number, folder)
        yield
    finally:
        os.close(number)


def open_alone(path: Path) -> FileIO:
    """Open a file as `open_own` does, for this process alone. Raises UserError where another one holds it."""
    file = open_own(path)
    try:
        _lock(file.fileno(), path)
        if not os.fstat(file.fileno()).st_nlink:  # the other run has ended and removed it meanwhile
            raise UserError(f"{path}: another run was writing there; start again")
    except UserError:
        file.close()
        raise
    return file


def _lock(number: int, place: Path) -> None:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{place}: another run is writing there; wait for its end or choose another place") from error
    except OSError:  # a file system without locks
        return


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends without an error."""
    recover_folder(folder)
    remove_leftovers(folder.parent, f"{glob.escape(folder.name)}.*")
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{UNFINISHED}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        _replace_folder(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove what writers of names of a pattern left when they were killed; no other may be at work on them."""
    for path in folder.glob(f".{pattern}{UNFINISHED}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def recover_folder(folder: Path) -> None:
    """Put back what a run that was killed between two renames has moved out of the way."""
    old = _old(folder)
    if old.is_dir() and not folder.exists():
        os.replace(old, folder)


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def _replace_folder(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; a kill in between leaves the old one for `recover_folder`."""
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def write_lines(lines: Iterable[str], path: Path) -> str:
    """Replace a UTF-8 file in one step, line by line, and return its SHA-256 in hexadecimal.

    Raises UserError when the place cannot be written.
    """
    checksum = hashlib.sha256()
    with replacing(path) as unfinished, unfinished.open("wb") as stream:
        for line in lines:
            encoded = line.encode()
            checksum.update(encoded)
            stream.write(encoded)
        stream.flush()
        os.fsync(stream.fileno())
    return checksum.hexdigest()


def write_text(text: str, path: Path) -> None:
    """Replace a UTF-8 file in one step. Raises UserError when the place cannot be written."""
    write_lines([text], path)


def write_json_lines(rows: Iterable[Row], path: Path) -> str:
    """Write one JSON object a line, in one step, and return the file's SHA-256.

    Raises UserError when the place cannot be written.
    """
    return write_lines((json.dumps(row, ensure_ascii=False) + "\n" for row in rows), path)


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


def load_yaml(path: Path) -> Any:
    """Return what a YAML file holds. Raises OSError, ValueError where it is not UTF-8, and yaml.YAMLError."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=YAML_LOADER)
