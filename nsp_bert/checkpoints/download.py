"""Files from the network and out of zip archives: whole and checked, or not there at all."""

from __future__ import annotations

import base64
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import requests
from tqdm import tqdm

from nsp_bert.errors import UserError
from nsp_bert.files import digest, replacing_folder

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte
AGAIN = "run the command again: it goes on where it stopped"
CHECKPOINT_FILES = ("bert_config.json", "vocab.txt", "*.ckpt*")
LARGEST_RATIO = 100  # unpacked to packed; weights hardly shrink at all
LARGEST_BOMB = 4 << 30  # bytes: a higher ratio is harmless below


class MissingFileError(UserError):
    """The server answers, but has no such file."""


def fetch(url: str, target: Path, sha256: str | None = None) -> None:
    """Download a file, going on with `TARGET.unfinished` where an earlier attempt left one; show the progress.

    The target appears once its size, the digest that the server states and `sha256` are found right. Raises UserError
    with address, reason and remedy.
    """
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        digests = [*_transfer(url, unfinished), *([("sha256", sha256)] if sha256 else [])]
        for algorithm, expected in digests:
            actual = digest(unfinished, algorithm)
            if actual != expected:
                unfinished.unlink()
                raise UserError(
                    f"{url}: {algorithm} is {actual}, expected {expected}; it came damaged or is another file: run the"
                    " command again, then take another source"
                )
        os.replace(unfinished, target)
    except requests.RequestException as error:
        raise _explained(url, error) from error
    except OSError as error:
        raise UserError(f"{unfinished}: cannot be written ({error.strerror}); fix that and {AGAIN}") from error


def _transfer(url: str, unfinished: Path) -> list[tuple[str, str]]:
    """Bring `unfinished` to its full size; return (algorithm, hexadecimal) of the digests that the server states."""
    done = unfinished.stat().st_size if unfinished.is_file() else 0
    headers = {"Accept-Encoding": "identity"}  # what is counted and resumed are the bytes of the file
    if done:
        headers["Range"] = f"bytes={done}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        resumed = re.fullmatch(rf"bytes {done}-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if done and response.status_code in (206, 416) and not resumed:
            unfinished.unlink()  # not the beginning of what the server has now
            return _transfer(url, unfinished)
        response.raise_for_status()
        length = resumed[1] if resumed else response.headers.get("Content-Length")
        total = int(length) if length and "Content-Encoding" not in response.headers else None
        _append(response, unfinished, done if resumed else 0, total)
        size = unfinished.stat().st_size
        if total is not None and size != total:
            raise UserError(f"{url}: {size:,} of {total:,} bytes came before the end; {AGAIN}")
        return _stated_digests(response)


def _append(response: requests.Response, unfinished: Path, done: int, total: int | None) -> None:
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    with (
        unfinished.open("ab" if done else "wb") as stream,
        tqdm(
            initial=done,
            total=total,
            desc=unfinished.stem,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            delay=1,
            disable=None,
        ) as bar,
    ):
        for block in response.iter_content(CHUNK):
            stream.write(block)
            bar.update(len(block))


def _stated_digests(response: requests.Response) -> list[tuple[str, str]]:
    """Return what Google's storage and Hugging Face say of the whole file, in the answer or a redirection to it."""
    md5 = re.search(r"md5=([\w+/]{22}==)", response.headers.get("X-Goog-Hash", ""))
    tags = [answer.headers.get("X-Linked-ETag", "").strip('"') for answer in (*response.history, response)]
    return [
        *([("md5", base64.b64decode(md5[1]).hex())] if md5 else []),
        *(("sha256", tag) for tag in tags if re.fullmatch("[0-9a-f]{64}", tag)),
    ]


def _explained(url: str, error: requests.RequestException) -> UserError:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = f"HTTP {error.response.status_code} {error.response.reason}"
        if error.response.status_code in (404, 410):
            return MissingFileError(f"{url}: {status}; it may have moved: take another source or mirror")
        return UserError(f"{url}: {status}; try again later or take another source or mirror")
    if "timed out" in str(error):
        return UserError(f"{url}: no answer for {TIMEOUT} s; {AGAIN}")
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return UserError(f"{url}: the connection broke; {AGAIN}")
    if isinstance(error, requests.ConnectionError):
        return UserError(f"{url}: no connection; check network and proxy, then {AGAIN}")
    return UserError(f"{url}: {' '.join(str(error).split())}; check the address")


def unpack_zip(archive: Path, folder: Path, check: Callable[[Path], object] | None = None) -> None:
    """Write the checkpoint files of a zip, without the folder around them, as `folder`.

    `check` looks at them before they get that name. Raises UserError when a name leads elsewhere, when the archive is
    broken, or when it unpacks to something absurd; then nothing of it stays.
    """
    try:
        with replacing_folder(folder) as unfinished:
            _extract(archive, unfinished)
            if check:
                check(unfinished)
    except OSError as error:
        raise UserError(f"{folder}: cannot be unpacked ({error.strerror})") from error


def _extract(archive: Path, folder: Path) -> None:
    """Write the checkpoint files of a zip into a folder. Raises UserError when the archive is broken or harmful."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for name, member in _checkpoint_members(archive, opened.infolist()).items():
                with opened.open(member) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: encrypted
        raise UserError(f"{archive}: not a whole zip archive ({error}); fetch it again") from error


def _checkpoint_members(archive: Path, members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return file name -> member of what a checkpoint needs. Every member has to be harmless, also the others."""
    seen: set[PurePosixPath] = set()
    by_name: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if problem := _problem(member, path, seen):
            raise UserError(f"{archive}: {member.filename!r} {problem}; such an archive is not unpacked")
        seen.add(path)
        wanted = any(fnmatch(path.name, pattern) for pattern in CHECKPOINT_FILES) and not path.name.startswith(".")
        if wanted and not member.is_dir():
            if path.name in by_name:
                raise UserError(f"{archive}: {path.name} stands in it more than once; unpack it by hand")
            by_name[path.name] = member
    if not by_name:
        raise UserError(f"{archive}: holds no {' or '.join(CHECKPOINT_FILES)}; is it the archive of a checkpoint?")
    packed, unpacked = (sum(getattr(member, key) for member in members) for key in ("compress_size", "file_size"))
    if unpacked > LARGEST_BOMB and unpacked > LARGEST_RATIO * packed:
        raise UserError(f"{archive}: {packed:,} bytes that unpack to {unpacked:,} are no checkpoint; not unpacked")
    return by_name


def _problem(member: zipfile.ZipInfo, path: PurePosixPath, seen: set[PurePosixPath]) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if path.is_absolute() or re.match(r"[A-Za-z]:", str(path)):
        return "is an absolute path"
    if ".." in path.parts:
        return "leads out of its folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return "stands in it twice" if path in seen else None
