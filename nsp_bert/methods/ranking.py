"""Beside the thresholds of samples-contrast: the ranking of all rows, and inside batches (paper, section 3.3.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from nsp_bert.answer_mapping import cuts_in_batches_undecided, cuts_undecided, rank, rank_in_batches
from nsp_bert.results.metrics import Accuracy
from nsp_bert.results.runs import Run
from nsp_bert.results.summary import CurvePoint
from nsp_bert.terminal import new_table, plain_console, print_title

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Ranking:
    """The ranking of all test rows into so many `labels`; with `seeds` (random orders) also inside batches."""

    labels: int
    seeds: int | None = None

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return bool (n,): which scores, each between `low` and `high`, may be where a ranking is cut."""
        found = cuts_undecided(low, high, self.labels)
        if self.seeds:
            for size, order in product(curve_sizes(len(low)), [np.arange(len(low)), *orders(len(low), self.seeds)]):
                found[order] |= cuts_in_batches_undecided(low[order], high[order], self.labels, size)
        return found

    def added_to(self, run: Run) -> Run:
        """Return a run with its accuracy by ranking, which needs no dev; nothing unless all rows have labels.

        The curve of batches is also printed as a table.
        """
        if not run.complete or run.accuracy is None:
            return run
        labels = run.subject.labels
        scores = np.array([answer.scores[0] for answer in run.answers], np.float32)
        truths = np.array([labels.index(str(answer.label)) for answer in run.answers])
        extra = {"accuracy_ranked": share_right(rank(scores, len(labels)), truths)}
        details = run.details
        if self.seeds:
            curve = make_curve(scores, truths, len(labels), self.seeds)
            print_curve(run.subject.title, curve)
            details = details.model_copy(update={"batch_curve": curve})
        return replace(run, extra=extra | run.extra, details=details)


def share_right(predictions: np.ndarray, truths: np.ndarray) -> Accuracy:
    """Return the accuracy of label indices int64 (n,)."""
    return Accuracy(len(truths), int((predictions == truths).sum()))


def make_curve(scores: np.ndarray, truths: np.ndarray, labels: int, seeds: int) -> list[CurvePoint]:
    """Return the accuracy of ranking inside batches of each size and over all rows, one entry a size.

    In file order is the paper's way: files are clustered by label, which flatters or caps it. Shuffled is the mean
    over `seeds` (one at least) random orders, with its standard deviation.
    """
    shuffles = orders(len(scores), seeds)
    curve = []
    for size in curve_sizes(len(scores)):
        in_order = share_right(rank_in_batches(scores, labels, size), truths).value
        shuffled = [share_right(rank_in_batches(scores[o], labels, size), truths[o]).value for o in shuffles]
        curve.append(
            CurvePoint(
                batch=size,
                file_order=in_order,
                shuffled=float(np.mean(shuffled)),
                shuffled_deviation=float(np.std(shuffled)),
            )
        )
    return curve


def orders(rows: int, seeds: int) -> list[np.ndarray]:
    """Return the random orders int64 (rows,)."""
    return [np.random.default_rng(seed).permutation(rows) for seed in range(seeds)]


def curve_sizes(rows: int) -> list[int]:
    """Return the sizes of batches up to all rows."""
    return [*(size for size in BATCH_SIZES if size < rows), rows]


def print_curve(title: str, curve: list[CurvePoint]) -> None:
    """Print the accuracy of ranking by batch size."""
    console = plain_console()
    print_title(f"{title}: accuracy of ranking inside batches", console)
    table = new_table(("batch", "file order", "shuffled", "deviation"), texts=0)
    for point in curve:
        figures = (point.file_order, point.shuffled, point.shuffled_deviation)
        table.add_row(str(point.batch), *(f"{100 * figure:.2f}" for figure in figures))
    console.print(table)
