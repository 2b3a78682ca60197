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
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from nsp_bert import STARTED
from nsp_bert.backends import Backend, load_backend
from nsp_bert.checkpoint import Checkpoint
from nsp_bert.errors import UserError

WINDOW_PAIRS = 8192  # sorted by length together; bounds the memory that encoded pairs take
REMEMBERED = 1 << 20  # slots of the memory for pairs that came before: 24 MiB
Item = TypeVar("Item")


class EncodedPair(NamedTuple):
    """[CLS] first [SEP] second [SEP]: the token ids, and how many of them are segment 0 (up to the first [SEP]).

    `position_ids` are as many as the token ids; without them positions count from 0.
    """

    token_ids: list[int]
    first_length: int
    position_ids: list[int] | None = None


class Scores(NamedTuple):
    """Log-odds float32 (n,) in the order of the pairs, NaN where an interrupt came first; `complete` without it."""

    values: np.ndarray
    complete: bool
    seconds: float

    @property
    def pairs(self) -> int:
        """Number of pairs that have a score."""
        return int((~np.isnan(self.values)).sum())


class Batch(NamedTuple):
    """Places int64 (B,) of pairs in the stream; token_ids, segment_ids, position_ids int32 (B, T)."""

    places: np.ndarray
    token_ids: np.ndarray
    segment_ids: np.ndarray
    position_ids: np.ndarray


class Window(NamedTuple):
    """A stretch of the stream: its batches, and for pairs that came before their places and those of the first."""

    batches: list[Batch]
    repeats: np.ndarray
    originals: np.ndarray


class Scorer:
    """The NSP head of one checkpoint, ready to score. `seconds` sums up what each stage took."""

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
    def stages(self) -> str:
        """Return what each stage took, as a line."""
        first = sum(self.seconds.get(stage, 0) for stage in ("start-up", "loading", "first batch"))
        total = sum(self.seconds.values())
        shares = ", ".join(f"{name} {took:.1f} s ({100 * took / total:.0f} %)" for name, took in self.seconds.items())
        return f"first scores after {first:.1f} s; {shares}"

    def score(self, pairs: Iterable[EncodedPair], total: int, values: np.ndarray | None = None) -> Scores:
        """Return the log-odds of `total` pairs; equal pairs are scored once, Ctrl-C ends early and keeps what is there.

        `values` float32 (total,) takes them, on disk if need be; what is not NaN in it stays and is not scored again.
        Raises UserError for log-odds that are no numbers.
        """
        values = np.full(total, np.nan, np.float32) if values is None else values
        complete, started = True, time.monotonic()
        repeats: list[tuple[np.ndarray, np.ndarray]] = []
        threads = ThreadPoolExecutor(self._backend.streams)
        with tqdm(total=total, desc="scoring", unit=" pairs", unit_scale=True, dynamic_ncols=True, delay=1) as bar:
            try:
                for window in self._waiting(read_ahead(make_windows(pairs, self._batch_tokens))):
                    bar.update(len(window.repeats))
                    repeats.append((window.repeats, window.originals))
                    for count in self._score_window(window, values, threads):
                        bar.update(count)
            except KeyboardInterrupt:
                complete = False
            finally:
                threads.shutdown(cancel_futures=True)
        for places, originals in repeats:
            values[places] = values[originals]
        return Scores(values, complete, time.monotonic() - started)

    def _waiting(self, windows: Iterator[Window]) -> Iterator[Window]:
        """Yield the windows and count the time that scoring waits for them."""
        while True:
            with self._timed("waiting for pairs"):
                window = next(windows, None)
            if window is None:
                return
            yield window

    def _score_window(self, window: Window, values: np.ndarray, threads: ThreadPoolExecutor) -> Iterator[int]:
        """Fill in the log-odds of a window's batches; yield how many pairs more are done."""
        batches = [batch for batch in window.batches if np.isnan(values[batch.places]).any()]
        yield sum(len(batch.places) for batch in window.batches) - sum(len(batch.places) for batch in batches)
        found = threads.map(self._log_odds, batches)
        for batch in batches:
            with self._timed("scoring" if "first batch" in self.seconds else "first batch"):
                values[batch.places] = next(found)
            yield len(batch.places)

    def _log_odds(self, batch: Batch) -> np.ndarray:
        found = self._backend(batch.token_ids, batch.segment_ids, batch.position_ids)
        if not np.isfinite(found).all():
            raise UserError(
                "the model's log-odds are not finite numbers: its weights are broken, or too large for float16;"
                " try --precision float32"
            )
        return found

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0) + time.monotonic() - started


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, the next one being made in a thread meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item


class PairMemory:
    """Remembers where pairs stood, in a fixed space: one that came long ago may be forgotten, none is mistaken."""

    def __init__(self) -> None:
        self._digests = np.zeros((REMEMBERED, 2), np.uint64)
        self._numbers = np.zeros(REMEMBERED, np.int64)  # places + 1: zeros take no memory before they are written

    def originals(self, pairs: list[EncodedPair], start: int) -> np.ndarray:
        """Return for each of the pairs from place `start` on where it stood first, int64 (n,)."""
        digests = np.frombuffer(b"".join(map(_digest, pairs)), np.uint64).reshape(-1, 2)
        slots = (digests[:, 0] % np.uint64(REMEMBERED)).astype(np.int64)
        known = (self._digests[slots] == digests).all(1) & (self._numbers[slots] > 0)
        _, first, group = np.unique(digests, axis=0, return_index=True, return_inverse=True)
        places = np.where(known, self._numbers[slots] - 1, start + first[group.ravel()])
        fresh = places == start + np.arange(len(pairs))
        self._digests[slots[fresh]], self._numbers[slots[fresh]] = digests[fresh], places[fresh] + 1
        return places


def _digest(pair: EncodedPair) -> bytes:
    """Return 128 bits that tell pairs apart."""
    numbers = array("i", [pair.first_length, len(pair.token_ids), *pair.token_ids, *(pair.position_ids or ())])
    return blake2b(numbers, digest_size=16).digest()


def make_windows(pairs: Iterable[EncodedPair], batch_tokens: int) -> Iterator[Window]:
    """Yield the stream window by window: sorted by length into batches, equal pairs only once."""
    stream, start, memory = iter(pairs), 0, PairMemory()
    while window := list(islice(stream, WINDOW_PAIRS)):
        places = np.arange(start, start + len(window))
        originals = memory.originals(window, start)
        fresh = np.flatnonzero(originals == places)
        batches = [
            Batch(places[fresh[rows]], *inputs)
            for rows, *inputs in make_batches([window[place] for place in fresh], batch_tokens)
        ]
        repeated = originals != places
        yield Window(batches, places[repeated], originals[repeated])
        start += len(window)


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
