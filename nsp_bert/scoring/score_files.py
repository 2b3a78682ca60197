"""Scores that go to disk as they come, so that a killed run continues where it stopped.

A file is a journal: a header that says of which run it is, then a record for every batch, each with a checksum of its
own. What is not whole (a full disk, a kill between two writes, bytes that never left the cache) ends the journal there,
so that a score that was never computed cannot pass for one.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from nsp_bert.files import open_own, write_whole

FORMAT = "nsp_bert scores 1"
RECORD = struct.Struct("<4sII")  # mark, number of scores, CRC-32 of mark, number, places and scores
MARK = b"\x93scr"
ENDING = ".scores.unfinished"


class Journal(Protocol):
    """Keeps scores as they come: `values` float32 (total,) that are there, NaN where there is none yet."""

    values: np.ndarray

    def add(self, places: np.ndarray, scores: np.ndarray) -> None:
        """Take the scores float32 (n,) of places int64 (n,)."""


class JournalPart:
    """The places int64 (n,) of a journal as a journal of n scores."""

    def __init__(self, journal: Journal, places: np.ndarray):
        """Begin with what the journal has of them."""
        self._journal, self._places = journal, places
        self.values = journal.values[places]

    def add(self, places: np.ndarray, scores: np.ndarray) -> None:
        """Take the scores float32 (k,) of places int64 (k,) among the n."""
        self.values[places] = scores
        self._journal.add(self._places[places], scores)


class ScoreFile:
    """The scores of one call: `values` float32 (total,), NaN where there is none yet, and the journal behind them."""

    def __init__(self, path: Path, header: dict[str, str | int], total: int):
        """Continue the journal of the same header, or begin a new one in the place of another.

        Raises UserError where the file cannot be opened as this run's own.
        """
        self._path = path
        self.values = np.full(total, np.nan, np.float32)
        self._file = open_own(path)
        head = (json.dumps({"format": FORMAT, "total": total} | header, sort_keys=True) + "\n").encode()
        data = self._file.read()
        end = len(head) + self._replay(data[len(head) :]) if data.startswith(head) else 0
        if end < len(data):
            print(f"{path.name}: {len(data) - end} bytes are not whole or of another run; those scores are made again")
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            self._write(head)

    def add(self, places: np.ndarray, scores: np.ndarray) -> None:
        """Take the scores float32 (n,) of places int64 (n,). Raises UserError where they cannot be written."""
        self.values[places] = scores
        body = places.astype("<i8").tobytes() + scores.astype("<f4").tobytes()
        self._write(_sealed(len(places), body) + body)

    def close(self) -> None:
        """Close the journal; the scores stay."""
        self._file.close()

    def _replay(self, data: bytes) -> int:
        """Take the scores of the records up to the first that is not whole; return how many bytes they are."""
        start, total = 0, len(self.values)
        while start + RECORD.size <= len(data):
            head = data[start : start + RECORD.size]
            count = RECORD.unpack(head)[1]
            end = start + RECORD.size + 12 * count
            body = data[start + RECORD.size : end]
            if end > len(data) or _sealed(count, body) != head:
                break
            places, scores = np.frombuffer(body, "<i8", count), np.frombuffer(body, "<f4", count, 8 * count)
            if count and not (places.min() >= 0 and places.max() < total):
                break
            self.values[places] = scores
            start = end
        return start

    def _write(self, data: bytes) -> None:
        write_whole(self._file, data, self._path)


def _sealed(count: int, body: bytes) -> bytes:
    """Return the head of a record with its checksum."""
    checksum = zlib.crc32(body, zlib.crc32(MARK + count.to_bytes(4, "little")))
    return RECORD.pack(MARK, count, checksum)


class ScoreFiles:
    """The journals of a dataset's run, one for each call of `open`, in order; they go when the results are written."""

    def __init__(self, folder: Path, stem: str, fingerprint: str, resume: bool):
        """Keep those in `folder` that a run with the same `fingerprint` left there if `resume`, and remove the others.

        Raises UserError where the folder cannot be written.
        """
        self._fingerprint = hashlib.sha256(fingerprint.encode()).hexdigest()
        self._folder, self._stem, self._prefix = folder, stem, f"{stem}.{self._fingerprint[:16]}"
        self._open: list[ScoreFile] = []
        for path in journals(folder, stem):
            if not (resume and path.name.startswith(f"{self._prefix}.")):
                _unlink(path)

    def open(self, total: int, precision: str) -> ScoreFile:
        """Return the next journal, of `total` scores that are computed in a precision."""
        path = self._folder / f"{self._prefix}.{len(self._open)}{ENDING}"
        header: dict[str, str | int] = {"fingerprint": self._fingerprint, "precision": precision}
        self._open.append(ScoreFile(path, header, total))
        return self._open[-1]

    def remove(self) -> None:
        """Remove the files."""
        for journal in self._open:
            journal.close()
        remove_journals(self._folder, self._stem)


def journals(folder: Path, stem: str) -> Iterator[Path]:
    """Yield the journals of a dataset's runs in a folder."""
    return folder.glob(f"{glob.escape(stem)}.*{ENDING}")


def remove_journals(folder: Path, stem: str) -> None:
    """Remove the journals of a dataset's runs in a folder."""
    for path in journals(folder, stem):
        _unlink(path)


def _unlink(path: Path) -> None:
    with contextlib.suppress(PermissionError):
        os.unlink(path)
