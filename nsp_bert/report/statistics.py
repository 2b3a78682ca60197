"""Rows of a run -> the counts that the report's figures draw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from nsp_bert.report.reader import ResultRun

BINS = 10  # of the reliability curve
STEPS = 30  # of a histogram


@dataclass(frozen=True)
class Histogram:
    """Counts of each group (a label, or right and wrong) between shared edges, one more than counts."""

    edges: list[float]
    groups: dict[str, list[int]]


@dataclass(frozen=True)
class Reliability:
    """Bins of the confidence: its mean, the share of right predictions and the number of rows of each."""

    confidence: list[float]
    accuracy: list[float]
    counts: list[int]

    @property
    def error(self) -> float:
        """Return the expected calibration error: the mean gap between confidence and accuracy."""
        gaps = np.abs(np.subtract(self.confidence, self.accuracy))
        return float(np.average(gaps, weights=self.counts))


def histogram(values: dict[str, list[float]]) -> Histogram:
    """Return the histogram of groups of values over their common range; groups keep their order."""
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(group, float) for group in values.values()]), STEPS)
    groups = {name: np.histogram(group, edges)[0].tolist() for name, group in values.items()}
    return Histogram([round(float(edge), 4) for edge in edges], groups)


def score_histogram(run: ResultRun) -> Histogram:
    """Return the scores of a samples-contrast run by true label, or all together without labels."""
    values: dict[str, list[float]] = {label: [] for label in run.labels}
    for row in run.rows:
        values.setdefault(row.label or "all rows", []).append(row.scores[0])
    return histogram({name: scores for name, scores in values.items() if scores})


def margin_histogram(run: ResultRun) -> Histogram:
    """Return how far the best candidate lies above the second, for right and wrong predictions."""
    values: dict[str, list[float]] = {"right": [], "wrong": []} if run.labelled else {"all rows": []}
    for row in run.rows:
        if len(row.scores) > 1:
            second, first = sorted(row.scores)[-2:]
            group = ("right" if row.label == row.prediction else "wrong") if run.labelled else "all rows"
            values[group].append(first - second)
    return histogram(values)


def reliability(run: ResultRun) -> Reliability:
    """Return the reliability of the softmax over the candidates, empty bins left out."""
    rows = [row for row in run.rows if len(row.scores) > 1]
    confidence = np.array([1 / np.exp(np.array(row.scores) - max(row.scores)).sum() for row in rows])
    right = np.array([row.label == row.prediction for row in rows], float)
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = Counter(places.tolist())
    filled = sorted(counts)
    return Reliability(
        [round(float(confidence[places == place].mean()), 4) for place in filled],
        [round(float(right[places == place].mean()), 4) for place in filled],
        [counts[place] for place in filled],
    )


def has_candidates(run: ResultRun) -> bool:
    """Return whether some row of the run offers more than one candidate."""
    return any(len(row.scores) > 1 for row in run.rows)
