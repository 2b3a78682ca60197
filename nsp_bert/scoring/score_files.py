"""Log-odds that go to disk as they come, so that a killed run goes on where it stood."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nsp_bert.errors import UserError

FILL_BLOCK = 1 << 20


class ScoreFiles:
    """The files of a dataset's run, one for each call of `open`, in order; they go when the results are written."""

    def __init__(self, folder: Path, stem: str, fingerprint: str, resume: bool):
        """Keep those in `folder` that a run with the same `fingerprint` left there if `resume`, and remove the others.

        Raises UserError where the folder cannot be written.
        """
        key = hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
        self._folder, self._prefix, self._stem, self._count = folder, f"{stem}.{key}", stem, 0
        for path in self._there():
            if not (resume and path.name.startswith(f"{self._prefix}.")):
                _unlink(path)

    def _there(self) -> Iterator[Path]:
        return self._folder.glob(f"{self._stem}.*.scores.unfinished")

    def open(self, total: int) -> np.ndarray:
        """Return the next file's log-odds float32 (total,) as a memory map, NaN where there is none yet."""
        path = self._folder / f"{self._prefix}.{self._count}.scores.unfinished"
        self._count += 1
        try:
            if path.is_file() and path.stat().st_size == 4 * total:
                return np.memmap(path, np.float32, "r+", shape=(total,))
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.memmap(path, np.float32, "w+", shape=(total,))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --output") from error
        for start in range(0, total, FILL_BLOCK):
            values[start : start + FILL_BLOCK] = np.nan
        return values

    def remove(self) -> None:
        """Remove the files."""
        for path in self._there():
            _unlink(path)


def _unlink(path: Path) -> None:
    with contextlib.suppress(PermissionError):  # Windows keeps a file that is mapped; the next run removes it
        path.unlink()
