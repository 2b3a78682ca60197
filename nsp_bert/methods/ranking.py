"""Beside the thresholds of samples-contrast: the ranking of all rows, and inside batches (paper, section 3.3.2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rich.table import Table

from nsp_bert.answer_mapping import rank, rank_in_batches
from nsp_bert.results.metrics import Accuracy
from nsp_bert.results.runs import Run
from nsp_bert.results.summary import CurvePoint
from nsp_bert.terminal import plain_console

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def add_ranking(run: Run, batch_curve: bool, seeds: int) -> Run:
    """Return a run with the accuracy of ranking all of its rows, which needs no dev; nothing unless all have labels.

    With `batch_curve` also that of ranking inside batches, printed as a table.
    """
    if not run.complete or run.accuracy is None:
        return run
    labels = run.subject.labels
    scores = np.array([answer.scores[0] for answer in run.answers], np.float32)
    truths = np.array([labels.index(str(answer.label)) for answer in run.answers])
    extra = {"accuracy_ranked": share_right(rank(scores, len(labels)), truths)}
    details = run.details
    if batch_curve:
        curve = make_curve(scores, truths, len(labels), seeds)
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
    orders = [np.random.default_rng(seed).permutation(len(scores)) for seed in range(seeds)]
    curve = []
    for size in (*(size for size in BATCH_SIZES if size < len(scores)), len(scores)):
        in_order = share_right(rank_in_batches(scores, labels, size), truths).value
        shuffled = [share_right(rank_in_batches(scores[o], labels, size), truths[o]).value for o in orders]
        curve.append(
            CurvePoint(
                batch=size,
                file_order=in_order,
                shuffled=float(np.mean(shuffled)),
                shuffled_deviation=float(np.std(shuffled)),
            )
        )
    return curve


def print_curve(title: str, curve: list[CurvePoint]) -> None:
    """Print the accuracy of ranking by batch size."""
    table = Table(title=f"{title}: accuracy of ranking inside batches", title_justify="left", header_style="bold")
    for header in ("batch", "file order", "shuffled", "deviation"):
        table.add_column(header, justify="right")
    for point in curve:
        figures = (point.file_order, point.shuffled, point.shuffled_deviation)
        table.add_row(str(point.batch), *(f"{100 * figure:.2f}" for figure in figures))
    plain_console().print(table)
