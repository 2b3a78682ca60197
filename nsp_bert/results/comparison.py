"""Runs of several methods on the same rows -> what each reaches on a dataset, and whether it differs from NSP-BERT."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from nsp_bert.files import utf8_lines
from nsp_bert.results.few_shot import made_like
from nsp_bert.results.metrics import CLUSTERED, mcnemar
from nsp_bert.results.significance import Difference, holm, paired_bootstrap
from nsp_bert.results.summary import FEW_SHOT, NSP_BERT, NSP_FEW_SHOT, ROWS, Summary, file_stem
from nsp_bert.rows import FEW_ALL

LEVEL = 0.05  # of significance


@dataclass(frozen=True)
class Outcome:
    """A run with labels: its summary, the places of its rows in the file, int (n,), and whether each is right, bool.

    Rows of one of the `clusters`, int (n,), are not independent; None where all are.
    """

    summary: Summary
    index: np.ndarray
    right: np.ndarray
    clusters: np.ndarray | None


@dataclass(frozen=True)
class Line:
    """A method as it is compared: without labelled rows, or with training sets, by one checkpoint."""

    method: str
    few_shot: bool
    model: str
    checkpoint: str

    @property
    def name(self) -> str:
        """The method in words: with training sets, where its name does not say so."""
        return f"{self.method}, few-shot" if self.few_shot and FEW_SHOT not in self.method else self.method

    @property
    def reference(self) -> Line | None:
        """NSP-BERT by the same checkpoint: zero-shot, or few-shot where this has training sets too; None for itself.

        Few-shot NSP-BERT is compared with zero-shot.
        """
        if not self.few_shot:
            return replace(self, method=NSP_BERT) if self.method != NSP_BERT else None
        own = self.method == NSP_FEW_SHOT
        return replace(self, method=NSP_BERT if own else NSP_FEW_SHOT, few_shot=not own)


@dataclass(frozen=True)
class Column:
    """A dataset's split, and the dataset's title."""

    dataset: str
    split: str
    title: str


@dataclass(frozen=True)
class Cell:
    """What a line reaches in a column: one run, or one for each training set; all made alike."""

    line: Line
    column: Column
    outcomes: tuple[Outcome, ...]

    @property
    def summaries(self) -> list[Summary]:
        """The summaries of the runs."""
        return [outcome.summary for outcome in self.outcomes]

    @cached_property
    def accuracies(self) -> list[float]:
        """The accuracy of each run."""
        return [one.metrics.accuracy for one in self.summaries if one.metrics]

    @property
    def accuracy(self) -> float:
        """The accuracy, or the mean of the runs'."""
        return fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the runs' accuracies, which divides by their number less one; None of one run."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of a single run; None where there are several."""
        metrics = self.outcomes[0].summary.metrics
        return metrics.accuracy_interval if metrics and len(self.outcomes) == 1 else None


@dataclass(frozen=True)
class PairedTest:
    """A cell against its reference in `runs` pairs of runs; or why there is no test, in words.

    `gained` rows are right by the cell's method alone and `lost` by the other alone, over all pairs of runs.
    """

    cell: Cell
    reference: Line
    missing: str = ""
    runs: int = 0
    gained: int = 0
    lost: int = 0
    difference: Difference | None = None
    corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance, with Holm's correction."""
        return self.corrected is not None and self.corrected < LEVEL


@dataclass(frozen=True)
class Comparison:
    """Lines x columns, both in the order in which they came."""

    lines: list[Line]
    columns: list[Column]
    cells: dict[tuple[Line, Column], Cell]

    @cached_property
    def tests(self) -> list[PairedTest]:
        """A test for each cell that has a reference, corrected for all of them."""
        return corrected(all_tests(self.cells))

    @property
    def tested(self) -> int:
        """How many tests Holm's correction is for."""
        return sum(test.difference is not None for test in self.tests)


def read_outcome(summary: Summary, folder: Path) -> Outcome:
    """Return a run with labels from the files in a folder. Raises UserError for rows that are no UTF-8 JSON."""
    stem = file_stem(summary.dataset, summary.split, summary.method, summary.train)
    path = folder / f"{stem}{ROWS}"
    with path.open("rb") as stream:
        rows = [json.loads(line) for _, line in utf8_lines(stream, str(path))]
    places = ((row["index"], row["label"] == row["prediction"], row.get("cluster")) for row in rows)
    return outcome(summary, places)


def outcome(summary: Summary, rows: Iterable[tuple[int, bool, int | None]]) -> Outcome:
    """Return a run whose rows are given: their places in the file, whether they are right, their clusters."""
    index, right, clusters = zip(*rows, strict=True)
    return Outcome(summary, np.array(index), np.array(right), None if None in clusters else np.array(clusters))


def compare(outcomes: Sequence[Outcome]) -> Comparison:
    """Return the comparison of finished runs under their datasets' own prompts; of two runs alike the first counts."""
    cells: dict[tuple[Line, Column], Cell] = {}
    for one in outcomes:
        if comparable(one.summary):
            key = line_of(one.summary), Column(one.summary.dataset, one.summary.split, one.summary.title)
            cell = cells.get(key, Cell(*key, ()))
            if belongs(one, cell):
                cells[key] = replace(cell, outcomes=(*cell.outcomes, one))
    lines, columns = (list(dict.fromkeys(parts)) for parts in zip(*cells, strict=True)) if cells else ([], [])
    return Comparison(lines, columns, cells)


def comparable(summary: Summary) -> bool:
    """Return whether a run has a place in the comparison; one on all five training sets together has none."""
    whole = bool(summary.complete and summary.metrics and summary.fingerprint)
    return whole and summary.default_prompt and summary.train != FEW_ALL


def line_of(summary: Summary) -> Line:
    """Return the line that a run belongs to."""
    checkpoint = summary.fingerprint.checkpoint if summary.fingerprint else ""
    return Line(summary.method, summary.train is not None, summary.model, checkpoint)


def belongs(one: Outcome, cell: Cell) -> bool:
    """Return whether a run is one more of a cell's: on another training set, and made like the first."""
    if not cell.outcomes:
        return True
    new = one.summary.train not in [summary.train for summary in cell.summaries]
    return new and made_like(one.summary, cell.summaries[0])


def all_tests(cells: dict[tuple[Line, Column], Cell]) -> Iterator[PairedTest]:
    """Yield a test for each cell that has a reference, not yet corrected."""
    for (line, column), cell in cells.items():
        if line.reference:
            yield tested(cell, line.reference, cells.get((line.reference, column)))


def tested(cell: Cell, reference: Line, other: Cell | None) -> PairedTest:
    """Return the test of a cell against a reference's.

    Its p is McNemar's for two single runs whose rows are independent, else that of a paired bootstrap.
    """
    if not other:
        return PairedTest(cell, reference, f"{reference.name} has not been run")
    pairs = list(paired(cell, other))
    if not pairs:
        return PairedTest(cell, reference, f"{reference.name} was trained on other training sets")
    if reason := next(filter(None, (unlike(*pair) for pair in pairs)), ""):
        return PairedTest(cell, reference, reason)
    differences = np.stack([one.right.astype(int) - base.right for one, base in pairs], axis=1)
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    clusters = pairs[0][0].clusters
    found = paired_bootstrap(differences, clusters)
    if not cell.line.few_shot and clusters is None:
        found = replace(found, p=mcnemar(gained, lost))
    return PairedTest(cell, reference, "", len(pairs), gained, lost, found)


def paired(cell: Cell, other: Cell) -> Iterator[tuple[Outcome, Outcome]]:
    """Yield the runs of a cell, each with the other's on the same training set, or with its only one without any."""
    others = {one.summary.train: one for one in other.outcomes}
    for one in cell.outcomes:
        if base := others.get(one.summary.train) or others.get(None):
            yield one, base


def unlike(one: Outcome, other: Outcome) -> str:
    """Return why two runs cannot be compared row by row, empty where they can."""
    data, others = (run.summary.fingerprint.data if run.summary.fingerprint else {} for run in (one, other))
    if any(data[path] != others[path] for path in data.keys() & others.keys()):
        return f"{other.summary.method} was run on other data"
    if not np.array_equal(one.index, other.index):
        return f"{other.summary.method} was run on other rows"
    if one.clusters is None and one.summary.metrics and one.summary.metrics.interval_method == CLUSTERED:
        return "an older result, which does not say which rows belong together"
    return ""


def corrected(tests: Iterable[PairedTest]) -> list[PairedTest]:
    """Return tests with Holm's correction for all of them together."""
    found = list(tests)
    values = iter(holm([test.difference.p for test in found if test.difference]))
    return [replace(test, corrected=next(values)) if test.difference else test for test in found]
