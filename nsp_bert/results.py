"""Predictions -> metrics, the published number beside them, result files."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nsp_bert import __version__
from nsp_bert.errors import UserError
from nsp_bert.metrics import Accuracy, clustered_interval, label_metrics
from nsp_bert.published import Published

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tensorflow", "tf-keras", "bert4keras", "numpy", "jieba")
FIGURES = 6  # decimals of a log-odds in files: below float32's own error


@dataclass(frozen=True, slots=True)  # there are as many as rows
class Answer:
    """One finished example: its place in the file from 0, its own id and label, the prediction, the log-odds float32.

    `more` holds what else its line of the result file says, `shown` its text for a reader; rows of one `cluster` are
    not independent.
    """

    index: int
    id: Any
    label: str | None
    prediction: str
    scores: np.ndarray
    more: dict[str, Any] = field(default_factory=dict)
    cluster: Any = None
    shown: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any]:
        """Return the line of the result file."""
        own = {key: getattr(self, key) for key in ("index", "id", "label", "prediction")}
        return own | {"scores": rounded(self.scores)} | self.more


def accuracy_of(answers: list[Answer]) -> Accuracy | None:
    """Return the accuracy of answers, or None without labels or without an answer."""
    if not answers or answers[0].label is None:
        return None
    return Accuracy(len(answers), sum(answer.label == answer.prediction for answer in answers))


@dataclass(frozen=True)
class Run:
    """One dataset scored by one model: what the result files and the final table say of it.

    `answers` are in file order; all of them or none have a label. `pairs` were scored in `seconds`. `headline` names
    the mapping that made the predictions where a task has several, `extra` holds the accuracies of the others,
    `details` what else the result file says, and `notes` the lines below the table. `labels` are those that every
    example is offered, none where they differ. `fingerprint` tells what the run depends on, `parts`
    how many runs the dataset gives.
    """

    dataset: str
    title: str
    split: str
    model: str
    settings: dict[str, Any]
    sample: bool
    complete: bool
    answers: list[Answer]
    published: Published | None
    pairs: int
    seconds: float
    headline: str | None = None
    extra: dict[str, Accuracy] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    fingerprint: dict[str, Any] = field(default_factory=dict)
    parts: int = 1

    @property
    def accuracy(self) -> Accuracy | None:
        """Return the accuracy, or None without labels or without a finished row."""
        return accuracy_of(self.answers)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the accuracy, over clusters where the rows stand in some."""
        if self.answers[0].cluster is None:
            return self.accuracy.interval if self.accuracy else (0.0, 1.0)
        right = [answer.label == answer.prediction for answer in self.answers]
        return clustered_interval(right, [answer.cluster for answer in self.answers])

    @property
    def as_published(self) -> bool | None:
        """Return whether the published number lies inside the interval, None without one."""
        if not self.published or not self.accuracy:
            return None
        low, high = self.interval
        return low <= self.published.accuracy / 100 <= high

    @property
    def metrics(self) -> dict[str, Any]:
        """Return every metric, with the interval of the headline; nothing without labels."""
        if self.accuracy is None:
            return {}
        named = {self.headline: self.accuracy} if self.headline else {}
        others = {name: accuracy.value for name, accuracy in (named | self.extra).items()}
        method = "wilson" if self.answers[0].cluster is None else "bootstrap over clusters"
        found = {
            "accuracy": self.accuracy.value,
            "accuracy_interval": self.interval,
            "interval_method": method,
        } | others
        if self.labels:
            truths, guesses = [str(one.label) for one in self.answers], [one.prediction for one in self.answers]
            return found | label_metrics(truths, guesses, self.labels)
        return found | {"chance": float(np.mean([1 / len(one.scores) for one in self.answers]))}

    @property
    def summary(self) -> dict[str, Any]:
        """Return what the result file says, metrics as shares between 0 and 1."""
        published = self.published and {
            "accuracy": self.published.accuracy / 100,
            "source": self.published.source,
            "inside_interval": self.as_published,
        }
        return {
            "dataset": self.dataset,
            "title": self.title,
            "split": self.split,
            "sample": self.sample,
            "complete": self.complete,
            "model": self.model,
            "settings": self.settings,
            "n": len(self.answers),
            "metrics": self.metrics,
            "published": published,
            "notes": list(self.notes),
            "versions": versions(),
            "seconds": round(self.seconds, 3),
            "pairs_per_second": round(self.pairs / self.seconds, 1) if self.seconds else 0.0,
            "fingerprint": self.fingerprint,
            "parts": self.parts,
        } | self.details


def prepare_output(folder: Path) -> None:
    """Create the folder and try to write into it, before anything is scored. Raises UserError when that fails."""
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"--output {folder}: cannot be written ({error.strerror}); choose another folder") from error


def write_run(run: Run, folder: Path) -> None:
    """Write `<dataset>.<split>.jsonl`, `.texts.jsonl` and `.json`, each in one piece.

    The summary comes last: with it the run is there.
    """
    stem = f"{run.dataset}.{run.split}"
    write_json_lines(({"index": one.index} | one.shown for one in run.answers), folder / f"{stem}.texts.jsonl")
    write_json_lines((answer.row for answer in run.answers), folder / f"{stem}.jsonl")
    write_text(json.dumps(run.summary, ensure_ascii=False, indent=2) + "\n", folder / f"{stem}.json")


def read_summaries(folder: Path, card_name: str, split: str) -> list[dict[str, Any]]:
    """Return the summaries of a dataset's runs (it may have several parts) that can be read in a folder."""
    paths = [folder / f"{card_name}.{split}.json", *sorted(folder.glob(f"{card_name}_*.{split}.json"))]
    summaries = []
    for path in paths:
        try:
            summaries.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # not there, or not whole: it will be written anew
            continue
    return summaries


def write_json_lines(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write one JSON object a line, in one piece."""
    write_lines((json.dumps(row, ensure_ascii=False) + "\n" for row in rows), path)


def write_text(text: str, path: Path) -> None:
    """Replace a UTF-8 file in one step. Raises UserError when the place cannot be written."""
    write_lines([text], path)


def write_lines(lines: Iterable[str], path: Path) -> None:
    """Replace a UTF-8 file in one step, line by line. Raises UserError when the place cannot be written."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(lines)
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --output") from error


def rounded(log_odds: np.ndarray) -> list[float]:
    """Return log-odds as they stand in files."""
    return [round(float(value), FIGURES) for value in log_odds]


def versions() -> dict[str, str]:
    """Return the versions of the project, its commit, Python and the packages that decide a score."""
    found = {"nsp_bert": __version__, "commit": _commit(), "python": platform.python_version()}
    return found | {package: metadata.version(package) for package in PACKAGES}


def _commit() -> str:
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
