"""Right and wrong predictions -> accuracy with an interval, macro-F1, confusion, guessing; a test of two.

SciPy and scikit-learn are imported where they are needed: scores need not wait the second that this takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 0
WILSON, CLUSTERED = "wilson", "bootstrap over clusters"  # how an interval was made


@dataclass(frozen=True)
class Accuracy:
    """Share of right predictions among `n`, with its 95 % Wilson interval; all between 0 and 1."""

    n: int
    correct: int

    @property
    def value(self) -> float:
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.stats import binomtest

        bounds = binomtest(self.correct, self.n).proportion_ci(CONFIDENCE, method="wilson")
        return float(bounds.low), float(bounds.high)


def clustered_interval(right: Sequence[bool], clusters: Sequence[Hashable]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the accuracy when whole clusters are drawn, with a fixed seed.

    Rows of one cluster (the abstract of CSL) are right or wrong together, so that Wilson's interval is too narrow.
    """
    sizes = Counter(clusters)
    hits: Counter[Hashable] = Counter()
    for cluster, is_right in zip(clusters, right, strict=True):
        hits[cluster] += int(is_right)
    rows, rights = (np.array([counts[cluster] for cluster in sizes]) for counts in (sizes, hits))
    drawn = np.random.default_rng(SEED).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), RESAMPLES)
    low, high = np.quantile(drawn @ rights / (drawn @ rows), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test: rows right by one method alone against those by the other alone.

    It takes the rows to be independent.
    """
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def label_metrics(truths: list[str], predictions: list[str], labels: Sequence[str]) -> dict[str, object]:
    """Return macro-F1 over all labels, the share of the most frequent one, chance, and the confusion matrix.

    The matrix has a row per true label and a column per prediction, in the order of `labels`.
    """
    from sklearn.metrics import confusion_matrix, f1_score

    return {
        "macro_f1": float(f1_score(truths, predictions, labels=list(labels), average="macro", zero_division=0)),
        "majority": max(Counter(truths).values()) / len(truths),
        "chance": 1 / len(labels),
        "confusion": {
            "labels": list(labels),
            "counts": confusion_matrix(truths, predictions, labels=list(labels)).tolist(),
        },
    }
