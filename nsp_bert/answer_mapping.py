"""Log-odds -> predictions: candidates-contrast and samples-contrast (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nsp_bert.results import Answer


def candidates_contrast(log_odds: Iterable[np.ndarray]) -> np.ndarray:
    """Return the index of the best candidate of each example (paper, section 3.3.1), the first of equals.

    `log_odds` has one float32 row an example, of any number of candidates; the result is int64 (examples,).
    """
    return np.array([int(np.argmax(row)) for row in log_odds], np.int64)


def split_by_sizes(sizes: Iterable[int], log_odds: np.ndarray) -> list[np.ndarray]:
    """Return the log-odds of each example, which has so many of them, from float32 (pairs,) that hold them in turn."""
    return np.split(log_odds, np.cumsum(list(sizes))[:-1])


def answer_by_candidates(
    examples: list[Any],
    candidates: list[list[str]],
    log_odds: np.ndarray,
    more: list[dict[str, Any]] | None = None,
) -> list[Answer]:
    """Return the answers of the examples whose candidates are all scored.

    `candidates` holds the label values that each example is offered; `log_odds` float32 (pairs,) their scores in turn;
    `more` what else the result file says of each example.
    """
    rows = split_by_sizes(map(len, candidates), log_odds)
    notes: list[dict[str, Any]] = more or [{}] * len(examples)
    return [
        make_answer(example, names[best], row, note)
        for example, names, row, best, note in zip(
            examples, candidates, rows, candidates_contrast(rows), notes, strict=True
        )
        if not np.isnan(row).any()
    ]


def make_answer(example: Any, prediction: str, log_odds: np.ndarray, more: dict[str, Any] | None = None) -> Answer:
    """Return what the results say of an example with this prediction from these log-odds."""
    return Answer(
        example.index,
        example.id,
        example.label,
        prediction,
        log_odds,
        more or {},
        example.cluster,
        example.shown,
    )


def rank(log_odds: np.ndarray, labels: int) -> np.ndarray:
    """Return the label index int64 (n,) of each score float32 (n,): the ranking is cut into `labels` equal parts.

    What does not divide evenly goes to the last label, as in the authors' release.
    """
    count = len(log_odds)
    places = np.empty(count, np.int64)
    places[np.argsort(log_odds, kind="stable")] = np.arange(count)
    size = count // labels
    return np.minimum(places // size, labels - 1) if size else np.full(count, labels - 1)


def rank_in_batches(log_odds: np.ndarray, labels: int, size: int) -> np.ndarray:
    """Return the label index int64 (n,), ranked inside consecutive batches of `size` rows, the last one shorter."""
    batches = [log_odds[start : start + size] for start in range(0, len(log_odds), size)]
    return np.concatenate([rank(batch, labels) for batch in batches])


def learn_thresholds(log_odds: np.ndarray, labels: int) -> np.ndarray:
    """Return the labels - 1 thresholds float32, ascending: threshold i is the highest score that ranks as label i.

    No label is looked at (paper, section 3.3.2). Raises ValueError for fewer scores than labels.
    """
    if len(log_odds) < labels:
        raise ValueError(f"{labels} labels cannot be told apart by {len(log_odds)} scores")
    ranks = rank(log_odds, labels)
    return np.array([log_odds[ranks == label].max() for label in range(labels - 1)], np.float32)


def apply_thresholds(log_odds: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how many thresholds each score lies above: the label index int64 (n,)."""
    return np.searchsorted(thresholds, log_odds, side="left")
