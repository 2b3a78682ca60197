"""A stream of pairs -> windows -> batches of about equally long pairs, in which equal pairs are one row."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from nsp_bert.tokenization import EncodedPair, Inputs, Reads


class Stretch(Protocol):
    """n pairs of the stream that are batched together; can be pickled."""

    def __len__(self) -> int:
        """Return n."""

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each pair, int64 (n,)."""

    @property
    def originals(self) -> np.ndarray:
        """For each pair the place int64 (n,) of the first that equals it."""

    def inputs(self, rows: np.ndarray) -> Inputs:
        """Return the model's inputs for the pairs at places int64 (B,), filled up with 0 to the longest of them."""


@runtime_checkable
class Stretchable(Protocol):
    """Pairs that make their own stretches, and of which any can be picked without the others."""

    def stretches(self, size: int) -> Iterator[Stretch]:
        """Yield the pairs, `size` at a time."""

    def at(self, places: np.ndarray) -> Iterable[EncodedPair]:
        """Return the pairs at places int64 (n,), in that order."""


class PairList:
    """A stretch of pairs that are encoded already."""

    def __init__(self, pairs: list[EncodedPair]):
        """Take the pairs."""
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each pair, int64 (n,)."""
        return np.array([len(pair.token_ids) for pair in self._pairs])

    @property
    def originals(self) -> np.ndarray:
        """For each pair the place int64 (n,) of the first that equals it."""
        seen: dict[bytes, int] = {}
        return np.array([seen.setdefault(_key(pair), place) for place, pair in enumerate(self._pairs)], np.int64)

    def inputs(self, rows: np.ndarray) -> Inputs:
        """Return token_ids, segment_ids, position_ids int32 (B, T) of pairs int64 (B,), filled up with 0."""
        pairs = [self._pairs[row] for row in rows]
        longest = max(len(pair.token_ids) for pair in pairs)
        token_ids, segment_ids, position_ids = np.zeros((3, len(pairs), longest), np.int32)
        for row, pair in enumerate(pairs):
            length = len(pair.token_ids)
            token_ids[row, :length] = pair.token_ids
            segment_ids[row, pair.first_length : length] = 1
            position_ids[row, :length] = np.arange(length) if pair.position_ids is None else pair.position_ids
        return token_ids, segment_ids, position_ids, *_padded([pair.reads for pair in pairs if pair.reads])


def _padded(reads: list[Reads]) -> Inputs:
    """Return places int32 (B, P) and tokens int32 (B, P, C) of rows that may have fewer places; nothing of no rows."""
    if not reads:
        return ()
    longest, candidates = max(len(one.places) for one in reads), len(reads[0].tokens[0])
    places = np.zeros((len(reads), longest), np.int32)
    tokens = np.full((len(reads), longest, candidates), -1, np.int32)
    for row, one in enumerate(reads):
        places[row, : len(one.places)] = one.places
        tokens[row, : len(one.places)] = one.tokens
    return places, tokens


def _key(pair: EncodedPair) -> bytes:
    """Return bytes that are equal for equal pairs alone."""
    reads = chain(pair.reads.places, *pair.reads.tokens) if pair.reads else ()
    lengths = pair.first_length, len(pair.token_ids), len(pair.position_ids or ())
    return array("i", [*lengths, *pair.token_ids, *(pair.position_ids or ()), *reads]).tobytes()


class Batch(NamedTuple):
    """The model's inputs, B rows; `places` int64 (n,) of pairs in the stream, and `rows` int64 (n,) that answer them.

    There are more places than rows where pairs are equal.
    """

    places: np.ndarray
    rows: np.ndarray
    inputs: Inputs


class Window(NamedTuple):
    """The pairs of the stream from `start` on, and which of them are waiting for a score, bool (n,)."""

    start: int
    stretch: Stretch
    waiting: np.ndarray

    def batches(self, batch_tokens: int) -> list[Batch]:
        """Return the batches, longest pairs first, without those in which no pair is waiting.

        Rows x padded length stay within `batch_tokens`, one row at least.
        """
        lengths, originals = self.stretch.lengths, self.stretch.originals
        different = np.flatnonzero(originals == np.arange(len(originals)))
        order = different[np.argsort(-lengths[different], kind="stable")]
        place_in_order = np.empty(len(originals), np.int64)
        place_in_order[order] = np.arange(len(order))
        row_of = place_in_order[originals]
        by_row = np.argsort(row_of, kind="stable")
        batches, start = [], 0
        while start < len(order):
            stop = min(start + max(batch_tokens // int(lengths[order[start]]), 1), len(order))
            pairs = by_row[slice(*np.searchsorted(row_of, (start, stop), sorter=by_row))]
            if self.waiting[pairs].any():
                inputs = self.stretch.inputs(order[start:stop])
                batches.append(Batch(self.start + pairs, row_of[pairs] - start, inputs))
            start = stop
        return batches


def make_windows(pairs: Iterable[EncodedPair], size: int, waiting: np.ndarray) -> Iterator[Window]:
    """Yield the stream, `size` pairs at a time, without windows of which no pair is waiting, bool (n,)."""
    start = 0
    for stretch in pairs.stretches(size) if isinstance(pairs, Stretchable) else _lists(pairs, size):
        of_window = waiting[start : start + len(stretch)]
        if of_window.any():
            yield Window(start, stretch, of_window)
        start += len(stretch)


def _lists(pairs: Iterable[EncodedPair], size: int) -> Iterator[PairList]:
    stream = iter(pairs)
    while some := list(islice(stream, size)):
        yield PairList(some)
