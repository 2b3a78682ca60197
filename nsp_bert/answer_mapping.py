"""Scores -> predictions: candidates-contrast and samples-contrast (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """A label value for each example, None where its scores are not there; the thresholds float32 that cut them."""

    labels: list[str | None]
    thresholds: np.ndarray | None = None


def candidates_contrast(scores: Iterable[np.ndarray]) -> np.ndarray:
    """Return the index of the best candidate of each example (paper, section 3.3.1), the first of equals.

    `scores` has one float32 row an example, of any number of candidates; the result is int64 (examples,).
    """
    return np.array([int(np.argmax(row)) for row in scores], np.int64)


def split_by_sizes(sizes: Iterable[int], scores: np.ndarray) -> list[np.ndarray]:
    """Return the scores of each example, which has so many of them, from float32 (pairs,) that hold them in turn."""
    return np.split(scores, np.cumsum(list(sizes))[:-1])


def rank(scores: np.ndarray, labels: int) -> np.ndarray:
    """Return the label index int64 (n,) of each score float32 (n,): the ranking is cut into `labels` equal parts.

    What does not divide evenly goes to the last label, as in the authors' release.
    """
    count = len(scores)
    places = np.empty(count, np.int64)
    places[np.argsort(scores, kind="stable")] = np.arange(count)
    size = count // labels
    return np.minimum(places // size, labels - 1) if size else np.full(count, labels - 1)


def rank_in_batches(scores: np.ndarray, labels: int, size: int) -> np.ndarray:
    """Return the label index int64 (n,), ranked inside consecutive batches of `size` rows, the last one shorter."""
    batches = [scores[start : start + size] for start in range(0, len(scores), size)]
    return np.concatenate([rank(batch, labels) for batch in batches])


def learn_thresholds(scores: np.ndarray, labels: int) -> np.ndarray:
    """Return the labels - 1 thresholds float32, ascending: threshold i is the highest score that ranks as label i.

    No label is looked at (paper, section 3.3.2). Raises ValueError for fewer scores than labels.
    """
    if len(scores) < labels:
        raise ValueError(f"{labels} labels cannot be told apart by {len(scores)} scores")
    ranks = rank(scores, labels)
    return np.array([scores[ranks == label].max() for label in range(labels - 1)], np.float32)


def fit_thresholds(scores: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the thresholds float32 (count - 1,) that make most of scored rows right, each half-way between two scores.

    `labels` int (n,) ascend with the scores. Of thresholds that are as good the lowest are taken.
    """
    order = np.argsort(scores, kind="stable")
    ascending, right = scores[order], labels[order] == np.arange(count)[:, None]
    cuts = np.array([0, *(np.flatnonzero(np.diff(ascending)) + 1), len(scores)])
    hits = np.pad(np.cumsum(right, axis=1), ((0, 0), (1, 0)))[:, cuts]  # of each label before each cut
    best, froms = hits[0], []
    for label in range(1, count):
        gained = np.maximum.accumulate(best - hits[label])
        froms.append(np.searchsorted(gained, gained))  # where the label begins that ends at each cut
        best = gained + hits[label]
    cut, ends = len(cuts) - 1, []
    for begins in reversed(froms):
        cut = begins[cut]
        ends.append(int(cuts[cut]))
    outer = np.array([ascending[0] - 2, *ascending, ascending[-1] + 2], np.float32)
    return np.array([(outer[end] + outer[end + 1]) / 2 for end in reversed(ends)], np.float32)


def apply_thresholds(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how many thresholds each score lies above: the label index int64 (n,)."""
    return np.searchsorted(thresholds, scores, side="left")


def best_undecided(low: np.ndarray, high: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return bool (pairs,): which candidates may be the best of their example, where several may.

    Scores lie between `low` and `high` (pairs,); `sizes` says how many each example has.
    """
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    may_be = high >= np.repeat(np.maximum.reduceat(low, starts), sizes)
    several = np.add.reduceat(may_be, starts, dtype=np.int64) > 1
    return may_be & np.repeat(several, sizes)


def cuts_undecided(low: np.ndarray, high: np.ndarray, labels: int) -> np.ndarray:
    """Return bool (..., n): which scores, between `low` and `high` (..., n), may be where `rank` cuts the last axis."""
    return _between(low, high, *cut_ranges(low, high, labels))


def cuts_in_batches_undecided(low: np.ndarray, high: np.ndarray, labels: int, size: int) -> np.ndarray:
    """Return bool (n,): the same for `rank_in_batches`."""
    whole = len(low) // size * size
    batches = cuts_undecided(low[:whole].reshape(-1, size), high[:whole].reshape(-1, size), labels)
    return np.concatenate([batches.ravel(), cuts_undecided(low[whole:], high[whole:], labels)])


def thresholds_undecided(
    dev: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return bool (dev,) and (test,): which scores may make a threshold, and which may be on either side of one."""
    ranges = cut_ranges(*dev, labels)
    return _between(*dev, *ranges), _between(*test, *ranges)


def cut_ranges(low: np.ndarray, high: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest (..., labels - 1) that the highest score below each cut of `rank` can be."""
    size = low.shape[-1] // labels
    places = size * np.arange(1, labels) - 1 if size else np.empty(0, np.int64)
    return np.sort(low)[..., places], np.sort(high)[..., places]


def _between(low: np.ndarray, high: np.ndarray, least: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return which intervals (..., n) meet one of the ranges (..., cuts)."""
    meets = (low[..., None] <= largest[..., None, :]) & (high[..., None] >= least[..., None, :])
    return np.asarray(meets.any(-1))
