"""Whether a difference between methods is more than chance: a paired bootstrap, and Holm's correction of many tests.

McNemar's test, for two single runs, is in nsp_bert/results/metrics.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nsp_bert.results.metrics import CONFIDENCE, RESAMPLES, SEED


@dataclass(frozen=True)
class Difference:
    """A mean difference with its 95 % interval, shares between -1 and 1, and the two-sided p of none."""

    mean: float
    low: float
    high: float
    p: float


def paired_bootstrap(differences: np.ndarray, clusters: np.ndarray | None = None, seed: int = SEED) -> Difference:
    """Return the mean of differences int (rows, splits), with what drawing rows and splits anew makes of it.

    A difference is 1 where one method alone is right on a row, -1 where the other alone is, 0 elsewhere; a split is a
    training set of both. A resample draws rows and splits with replacement, the same rows in every split; of `clusters`
    int (rows,) it draws all rows or none. Its p is twice the smaller share of the resamples on one side of zero
    (percentile bootstrap), never 0.
    """
    random = np.random.default_rng(seed)
    rows, splits = differences.shape
    _, places = np.unique(np.arange(rows) if clusters is None else clusters, return_inverse=True)
    sums = np.zeros((places.max() + 1, splits + 1), int)  # of a cluster's differences, and its number of rows
    np.add.at(sums, places, np.column_stack([differences, np.ones(rows, int)]))
    # Clusters with the same sums cannot be told apart: how often each kind is drawn is all that counts.
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    drawn = random.multinomial(len(sums), counts / len(sums), RESAMPLES) @ kinds
    drawn_splits = random.multinomial(splits, np.full(splits, 1 / splits), RESAMPLES)
    resampled = (drawn[:, :-1] * drawn_splits).sum(axis=1) / (drawn[:, -1] * splits)
    tail = min((resampled <= 0).sum(), (resampled >= 0).sum())
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p = min(1.0, 2 * (1 + tail) / (1 + RESAMPLES))
    return Difference(float(differences.mean()), float(low), float(high), float(p))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for how many they are (Holm 1979), in the order given.

    The least is multiplied by their number, the next by one less, and so on; none becomes less than one before it.
    """
    order = np.argsort(values, kind="stable")
    scaled = np.array(values, float)[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()
