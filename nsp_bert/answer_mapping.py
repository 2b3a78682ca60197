"""Scores -> predictions: candidates-contrast and samples-contrast (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable
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


def apply_thresholds(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how many thresholds each score lies above: the label index int64 (n,)."""
    return np.searchsorted(thresholds, scores, side="left")
