"""Samples-contrast runs: dev and test scored once, thresholds from dev, ranking beside them (paper, section 3.3.2)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from nsp_bert.answer_mapping import apply_thresholds, learn_thresholds, make_answer, rank, rank_in_batches
from nsp_bert.calibration import Scored, calibrate
from nsp_bert.cli import positive
from nsp_bert.errors import UserError
from nsp_bert.metrics import Accuracy
from nsp_bert.prompting import Prompting
from nsp_bert.published import published_by_thresholds
from nsp_bert.results import Answer, Run, rounded
from nsp_bert.session import Session

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def add_curve_options(parser: argparse.ArgumentParser) -> None:
    """Add `--batch-curve` and `--seeds`."""
    parser.add_argument("--batch-curve", action="store_true", help="also rank inside batches of 1, 2, 4 … 128, all")
    parser.add_argument("--seeds", type=positive, default=5, help="random orders of the batch curve (%(default)s)")


class Rows(NamedTuple):
    """Dev's and test's examples, and those that are scored: dev's, then test's unless dev itself is asked for."""

    dev: list[Any]
    test: list[Any]
    scored: list[Any]

    def parted(self, log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return dev's and test's part of the scored rows' log-odds float32 (rows,)."""
        start = len(self.scored) - len(self.test) if len(self.scored) > len(self.dev) else 0
        return log_odds[: len(self.dev)], log_odds[start : start + len(self.test)]


def contrast_dataset(
    card: Any,
    session: Session,
    load: Callable[[str, int | None], list[Any]],
    prompting: Prompting,
    published_prompt: bool = True,
) -> Run:
    """Score dev's and test's rows once and return the run by dev's thresholds.

    `load(split, limit)` returns examples, each of which gives one pair. `card.labels` ascend from the least to the most
    likely next sentence. An interrupted run keeps the rows that were scored, if dev was. Raises UserError when dev has
    fewer rows than there are labels.
    """
    rows = load_rows(card, session, load)
    contents = [example.content for example in rows.scored]
    dev_rows = "" if len(rows.scored) == len(rows.dev) else f" + {len(rows.dev)} dev rows"
    session = session.settled(
        lambda count: prompting.pairs(contents[:count]),
        [1] * len(contents),
        lambda log_odds, _: rank(log_odds, len(card.labels)),
    )
    session.announce(card, f"{len(rows.test)} rows{dev_rows}", len(contents), prompting.settings)
    scores = session.score(prompting.pairs(contents), len(contents))
    answers, details = answer_by_thresholds(card, rows, scores.values)
    extra: dict[str, Accuracy] = {}
    if scores.complete and rows.test[0].label is not None:
        truths = np.array([card.labels.index(example.label) for example in rows.test])
        log_odds = rows.parted(scores.values)[1]
        extra["accuracy_ranked"] = share_right(rank(log_odds, len(card.labels)), truths)
        if session.options.batch_curve:
            details["batch_curve"] = batch_curve(log_odds, truths, len(card.labels), session.options.seeds)
            print_curve(card.title, details["batch_curve"])
    published = published_by_thresholds(card.name, session.checkpoint.name, session.split(card))
    run = session.result(
        card,
        answers,
        scores,
        settings=prompting.settings,
        published=published if published_prompt else None,
        extra=extra,
        headline="accuracy_thresholds",
        details=details,
    )

    def predict(log_odds: np.ndarray) -> tuple[list[str], dict[str, Any]]:
        answers, details = answer_by_thresholds(card, rows, log_odds)
        return [answer.prediction for answer in answers], details

    scored = Scored(contents, [1] * len(contents), prompting, scores.values)
    return calibrate(run, card, session.options.calibration, session.score, scored, predict)


def load_rows(card: Any, session: Session, load: Callable[[str, int | None], list[Any]]) -> Rows:
    """Load dev and test; dev as test is scored once. Raises UserError when dev is too short for thresholds."""
    dev = load(card.dev_split, None)
    same = session.split(card) == card.dev_split
    test = dev[: session.options.limit] if same else load(session.split(card), session.options.limit)
    if len(dev) < len(card.labels):
        raise UserError(
            f"{card.title} {card.dev_split}: {len(dev)} rows cannot teach the thresholds between {len(card.labels)}"
            " labels; fetch the whole file"
        )
    return Rows(dev, test, dev if same else dev + test)


def answer_by_thresholds(card: Any, rows: Rows, log_odds: np.ndarray) -> tuple[list[Answer], dict[str, Any]]:
    """Return the answers to the test rows that are scored, and the thresholds; nothing unless all of dev is scored."""
    dev, test = rows.parted(log_odds)
    done = np.flatnonzero(~np.isnan(test))
    if np.isnan(dev).any() or not len(done):
        return [], {}
    thresholds = learn_thresholds(dev, len(card.labels))
    guesses = apply_thresholds(test[done], thresholds)
    answers = [
        make_answer(rows.test[row], card.labels[guess], test[[row]])
        for row, guess in zip(done.tolist(), guesses, strict=True)
    ]
    return answers, {"thresholds": rounded(thresholds)}


def share_right(predictions: np.ndarray, truths: np.ndarray) -> Accuracy:
    """Return the accuracy of label indices int64 (n,)."""
    return Accuracy(len(truths), int((predictions == truths).sum()))


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
    over `seeds` (one at least) random orders, with its standard deviation.
    """
    orders = [np.random.default_rng(seed).permutation(len(log_odds)) for seed in range(seeds)]
    curve = []
    for size in (*(size for size in BATCH_SIZES if size < len(log_odds)), len(log_odds)):
        in_order = share_right(rank_in_batches(log_odds, labels, size), truths).value
        shuffled = [share_right(rank_in_batches(log_odds[o], labels, size), truths[o]).value for o in orders]
        curve.append(
            {
                "batch": size,
                "file_order": in_order,
                "shuffled": float(np.mean(shuffled)),
                "shuffled_deviation": float(np.std(shuffled)),
            }
        )
    return curve
