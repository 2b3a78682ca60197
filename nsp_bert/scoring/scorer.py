"""Encoded pairs -> IsNext log-odds, with the NSP head of a BERT checkpoint (paper, section 3).

The score of a pair is logit(IsNext) - logit(NotNext) in float32. It ranks pairs exactly as the paper's IsNext
probability does, but it never saturates into ties.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from nsp_bert import STARTED
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.errors import UserError
from nsp_bert.scoring.backends import Backend, load_backend
from nsp_bert.scoring.score_files import Journal
from nsp_bert.terminal import progress_bar
from nsp_bert.tokenization import EncodedPair

WINDOW_PAIRS = 8192  # sorted by length together; bounds the memory that encoded pairs take
Item = TypeVar("Item")
Progress = bool | Callable[[int], object]


class Scores(NamedTuple):
    """Log-odds float32 (n,) in the order of the pairs, NaN where an interrupt came first; `complete` without it.

    `seconds` is what this call took, and `kept` how many of the values were there before it.
    """

    values: np.ndarray
    complete: bool
    seconds: float
    kept: int = 0

    @property
    def pairs(self) -> int:
        """Number of pairs that this call scored."""
        return int((~np.isnan(self.values)).sum()) - self.kept


class Batch(NamedTuple):
    """Places int64 (B,) of pairs in the stream; token_ids, segment_ids, position_ids int32 (B, T)."""

    places: np.ndarray
    token_ids: np.ndarray
    segment_ids: np.ndarray
    position_ids: np.ndarray


class Window(NamedTuple):
    """A stretch of the stream: its batches, each pair once; places int64 (n,) of repeated pairs and of their first."""

    batches: list[Batch]
    repeats: np.ndarray
    originals: np.ndarray


class Scorer:
    """The NSP head of one checkpoint, ready to score. `seconds` sums up what each step took."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        precision: str = "float32",
        batch_tokens: int | None = None,
        backend: str = "tensorflow",
        load: Callable[[str, Checkpoint, str], Backend] = load_backend,
    ):
        """Load the weights. `batch_tokens` bounds rows x padded length of a batch and does not change the scores.

        Raises UserError when weights and configuration disagree, or the backend cannot be had.
        """
        self.seconds = {"start-up": time.monotonic() - STARTED}
        with self._timed("loading"):
            self._backend = load(backend, checkpoint, precision)
        self._batch_tokens = batch_tokens or self._backend.batch_tokens

    @property
    def timing(self) -> str:
        """What each step took, as a line."""
        first = sum(self.seconds.get(step, 0) for step in ("start-up", "loading", "first batch"))
        total = sum(self.seconds.values())
        shares = ", ".join(f"{name} {took:.1f} s ({100 * took / total:.0f} %)" for name, took in self.seconds.items())
        return f"first scores after {first:.1f} s; {shares}"

    def score(
        self,
        pairs: Iterable[EncodedPair],
        total: int,
        journal: Journal | None = None,
        *,
        progress: Progress = True,
        title: str = "scoring",
    ) -> Scores:
        """Return the log-odds of `total` pairs; Ctrl-C ends early and keeps what is there.

        `journal` takes them on disk as they come; what it holds already is not scored again. `progress` shows a bar,
        or hears how many pairs more are done. Raises UserError for log-odds that are no numbers, or where the journal
        cannot be written.
        """
        values = journal.values if journal else np.full(total, np.nan, np.float32)
        there = int((~np.isnan(values)).sum())
        complete, started = True, time.monotonic()
        threads = ThreadPoolExecutor(self._backend.streams)
        with progress_bar(total, title, " pairs", show=progress is True) as bar:
            advance = progress if callable(progress) else bar.update
            try:
                for window in self._waiting(read_ahead(make_windows(pairs, self._batch_tokens))):
                    for count in self._score_window(window, values, journal, threads):
                        advance(count)
            except KeyboardInterrupt:
                complete = False
            finally:
                threads.shutdown(cancel_futures=True)
        return Scores(values, complete, time.monotonic() - started, there)

    def _waiting(self, windows: Iterator[Window]) -> Iterator[Window]:
        """Yield the windows and count the time that scoring waits for them."""
        while True:
            with self._timed("waiting for pairs"):
                window = next(windows, None)
            if window is None:
                return
            yield window

    def _score_window(
        self, window: Window, values: np.ndarray, journal: Journal | None, threads: ThreadPoolExecutor
    ) -> Iterator[int]:
        """Fill in the log-odds of a window's pairs; yield how many pairs more are done.

        A batch whose values are all there, from a run that was killed, is left as it is.
        """
        waiting = [batch for batch in window.batches if np.isnan(values[batch.places]).any()]
        yield sum(len(batch.places) for batch in window.batches) - sum(len(batch.places) for batch in waiting)
        log_odds = threads.map(self._log_odds, waiting)
        for batch in waiting:
            with self._timed("scoring" if "first batch" in self.seconds else "first batch"):
                values[batch.places] = next(log_odds)
            if journal:
                journal.add(batch.places, values[batch.places])
            yield len(batch.places)
        values[window.repeats] = values[window.originals]
        yield len(window.repeats)

    def _log_odds(self, batch: Batch) -> np.ndarray:
        found = self._backend(batch.token_ids, batch.segment_ids, batch.position_ids)
        if not np.isfinite(found).all():
            raise UserError(
                "the model's log-odds are not finite numbers: its weights are broken, or too large for float16;"
                " try --precision float32"
            )
        return found

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0) + time.monotonic() - started


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, the next one being made in a thread meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item


def make_windows(pairs: Iterable[EncodedPair], batch_tokens: int) -> Iterator[Window]:
    """Yield the stream window by window: sorted by length into batches, equal pairs of a window only once."""
    stream, start = iter(pairs), 0
    while window := list(islice(stream, WINDOW_PAIRS)):
        places = np.arange(start, start + len(window))
        originals = start + first_places(window)
        different = np.flatnonzero(originals == places)
        batches = [
            Batch(places[different[rows]], *inputs)
            for rows, *inputs in make_batches([window[place] for place in different], batch_tokens)
        ]
        repeated = originals != places
        yield Window(batches, places[repeated], originals[repeated])
        start += len(window)


def first_places(pairs: list[EncodedPair]) -> np.ndarray:
    """Return for each pair the place int64 (n,) of the first that equals it."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(_key(pair), place) for place, pair in enumerate(pairs)], np.int64)


def _key(pair: EncodedPair) -> bytes:
    """Return bytes that are equal for equal pairs alone."""
    return array("i", [pair.first_length, len(pair.token_ids), *pair.token_ids, *(pair.position_ids or ())]).tobytes()


def make_batches(
    pairs: list[EncodedPair], batch_tokens: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (rows int64 (B,), token_ids, segment_ids, position_ids int32 (B, T)), longest pairs first.

    B * T stays within `batch_tokens`, one pair at least.
    """
    lengths = np.array([len(pair.token_ids) for pair in pairs])
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = order[start : start + max(batch_tokens // longest, 1)]
        token_ids, segment_ids, position_ids = np.zeros((3, len(rows), longest), np.int32)
        for place, row in enumerate(rows):
            pair, length = pairs[row], lengths[row]
            token_ids[place, :length] = pair.token_ids
            segment_ids[place, pair.first_length : length] = 1
            position_ids[place, :length] = np.arange(length) if pair.position_ids is None else pair.position_ids
        yield rows, token_ids, segment_ids, position_ids
        start += len(rows)
