"""Samples-contrast runs: dev and test scored once, thresholds from dev, ranking beside them (paper, section 3.3.2)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from nsp_bert.answer_mapping import apply_thresholds, learn_thresholds, rank, rank_in_batches
from nsp_bert.cli import Session, positive
from nsp_bert.results import Accuracy, Answer, Run, published_by_thresholds, rounded
from nsp_bert.scorer import EncodedPair

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def accuracy_of(predictions: np.ndarray, truths: np.ndarray) -> Accuracy:
    """Return the accuracy of label indices int64 (n,)."""
    return Accuracy(len(truths), int((predictions == truths).sum()))


def add_curve_options(parser: argparse.ArgumentParser) -> None:
    """Add `--batch-curve` and `--seeds`."""
    parser.add_argument("--batch-curve", action="store_true", help="also rank inside batches of 1, 2, 4 … 128, all")
    parser.add_argument("--seeds", type=positive, default=5, help="random orders of the batch curve (%(default)s)")


def contrast_dataset(
    card: Any,
    session: Session,
    dev: list[Any],
    test: list[Any],
    pairs: Iterable[EncodedPair],
    prompt: dict[str, Any] | None = None,
    default_prompt: bool = True,
) -> Run:
    """Score dev's and test's pairs once, in this order, and return the run by dev's thresholds.

    `card.labels` ascend from the least to the most likely next sentence. An interrupted run keeps the rows that were
    scored, if dev was.
    """
    options, labels = session.options, len(card.labels)
    session.announce(
        card, f"{len(test)} + {len(dev)} dev rows", len(test) + len(dev), (prompt or {}).get("template", "")
    )
    started = time.monotonic()
    scores = session.scorer.score(pairs, len(dev) + len(test))
    seconds = time.monotonic() - started
    dev_scores, test_scores = np.split(scores.values, [len(dev)])
    done = np.flatnonzero(~np.isnan(test_scores)) if not np.isnan(dev_scores).any() else np.empty(0, np.int64)
    log_odds = test_scores[done]
    extra: dict[str, Accuracy] = {}
    details: dict[str, Any] = {}
    answers: list[Answer] = []
    if len(done):
        thresholds = learn_thresholds(dev_scores, labels)
        details["thresholds"] = rounded(thresholds)
        predictions = apply_thresholds(log_odds, thresholds)
        answers = [
            Answer(row, test[row].id, test[row].label, card.labels[guess], rounded(log_odds[[place]]))
            for place, (row, guess) in enumerate(zip(done.tolist(), predictions, strict=True))
        ]
        if scores.complete and test[0].label is not None:
            truths = np.array([card.labels.index(example.label) for example in test])
            extra = {"accuracy_ranked": accuracy_of(rank(log_odds, labels), truths)}
            if options.batch_curve:
                details["batch_curve"] = batch_curve(log_odds, truths, labels, options.seeds)
                print_curve(card.title, details["batch_curve"])
    published = published_by_thresholds(card.name, session.checkpoint.name, options.split)
    return Run(
        dataset=card.name,
        title=card.title,
        split=options.split,
        model=session.checkpoint.name,
        settings=session.settings(card, **(prompt or {})),
        sample=session.data.sample,
        complete=scores.complete,
        answers=answers,
        published=published if scores.complete and default_prompt and session.as_published(card) else None,
        pairs=len(dev) + len(done),
        seconds=seconds,
        extra=extra,
        headline="accuracy_thresholds",
        details=details,
    )


def print_curve(title: str, curve: list[dict[str, Any]]) -> None:
    """Print the accuracy of ranking by batch size."""
    table = Table(title=f"{title}: accuracy of ranking inside batches", title_justify="left", header_style="bold")
    for header in ("batch", "file order", "shuffled", "deviation"):
        table.add_column(header, justify="right")
    for row in curve:
        figures = (row["file_order"], row["shuffled"], row["shuffled_deviation"])
        table.add_row(str(row["batch"]), *(f"{100 * figure:.2f}" for figure in figures))
    Console().print(table)


def batch_curve(log_odds: np.ndarray, truths: np.ndarray, labels: int, seeds: int) -> list[dict[str, Any]]:
    """Return the accuracy of ranking inside batches of each size and over all rows, one entry a size.

    `file_order` is the paper's way: files are clustered by label, which flatters or caps it. `shuffled` is the mean
    over `seeds` random orders, with its standard deviation.
    """
    orders = [np.random.default_rng(seed).permutation(len(log_odds)) for seed in range(seeds)]
    curve = []
    for size in (*(size for size in BATCH_SIZES if size < len(log_odds)), len(log_odds)):
        in_order = accuracy_of(rank_in_batches(log_odds, labels, size), truths).value
        shuffled = [accuracy_of(rank_in_batches(log_odds[o], labels, size), truths[o]).value for o in orders]
        curve.append(
            {
                "batch": size,
                "file_order": in_order,
                "shuffled": float(np.mean(shuffled)) if shuffled else None,
                "shuffled_deviation": float(np.std(shuffled)) if shuffled else None,
            }
        )
    return curve
