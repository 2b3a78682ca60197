"""Predictions -> a run with its metrics, and its three files."""

from __future__ import annotations

import platform
import subprocess
import tempfile
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

import numpy as np

from nsp_bert import __version__
from nsp_bert.errors import UserError
from nsp_bert.files import ROOT, digest, write_json_lines, write_text
from nsp_bert.results.metrics import CLUSTERED, WILSON, Accuracy, clustered_interval, label_metrics
from nsp_bert.results.published import Published
from nsp_bert.results.summary import (
    ROWS,
    TEXTS,
    Details,
    Fingerprint,
    Metrics,
    PublishedAccuracy,
    Setting,
    Summary,
    file_stem,
)

PACKAGES = ("tensorflow", "tf-keras", "bert4keras", "numpy", "jieba")
FIGURES = 6  # decimals of a score in files: below float32's own error


@dataclass(frozen=True, slots=True)  # there are as many as rows
class Answer:
    """One finished example: its place in the file from 0, its own id and label, the prediction, the scores float32.

    `more` holds what else its line of the result file says, `shown` its text for a reader; rows of one `cluster` are
    not independent.
    """

    index: int
    id: object
    label: str | None
    prediction: str
    scores: np.ndarray
    more: dict[str, object] = field(default_factory=dict)
    cluster: Hashable = None
    shown: dict[str, object] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, object]:
        """The line of the result file."""
        own = {"index": self.index, "id": self.id, "label": self.label, "prediction": self.prediction}
        return own | {"scores": rounded(self.scores)} | self.more


def accuracy_of(answers: list[Answer]) -> Accuracy | None:
    """Return the accuracy of answers, or None without labels or without an answer."""
    if not answers or answers[0].label is None:
        return None
    return Accuracy(len(answers), sum(answer.label == answer.prediction for answer in answers))


@dataclass(frozen=True)
class Subject:
    """What a run is a run of. `part` names one of several runs of a card, `labels` what every example is offered."""

    card: str
    title: str
    task: str
    mapping: str
    split: str
    model: str
    labels: tuple[str, ...]
    part: str
    method: str
    train: str | None = None
    seed: int | None = None

    @property
    def dataset(self) -> str:
        """The card's name, with the part where there are several."""
        return f"{self.card}_{self.part}" if self.part else self.card


@dataclass(frozen=True)
class Run:
    """One dataset scored by one model in one way: what the result files and the final table say of it.

    `answers` are in file order; all of them or none have a label. `pairs` were scored in `seconds`; the scores come
    from `passes` of the model, which may have been made in an earlier attempt. `headline` names the mapping that made
    the predictions where a task has several, `extra` holds the accuracies of the others, `details` what else the
    summary says, and `notes` the lines below the table.
    """

    subject: Subject
    settings: dict[str, Setting]
    default_prompt: bool
    sample: bool
    complete: bool
    answers: list[Answer]
    published: Published | None
    pairs: int
    seconds: float
    passes: int | None = None
    peak_memory_mib: int | None = None
    headline: str | None = None
    extra: dict[str, Accuracy] = field(default_factory=dict)
    details: Details = field(default_factory=Details)
    notes: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None
    parts: int = 1

    @property
    def accuracy(self) -> Accuracy | None:
        """The accuracy, None without labels or without a finished row."""
        return accuracy_of(self.answers)

    @cached_property
    def metrics(self) -> Metrics | None:
        """Every metric, with the 95 % interval of the headline, over clusters where the rows have some."""
        accuracy = self.accuracy
        if accuracy is None:
            return None
        named = {self.headline: accuracy} if self.headline else {}
        others = {name: one.value for name, one in (named | self.extra).items()}
        clusters = [answer.cluster for answer in self.answers]
        if clusters[0] is None:
            interval, method = accuracy.interval, WILSON
        else:
            right = [answer.label == answer.prediction for answer in self.answers]
            interval, method = clustered_interval(right, clusters), CLUSTERED
        found = {"accuracy": accuracy.value, "accuracy_interval": interval, "interval_method": method} | others
        if self.subject.labels:
            truths, guesses = [str(one.label) for one in self.answers], [one.prediction for one in self.answers]
            return Metrics.model_validate(found | label_metrics(truths, guesses, self.subject.labels))
        return Metrics.model_validate(found | {"chance": float(np.mean([1 / len(one.scores) for one in self.answers]))})

    @cached_property
    def summary(self) -> Summary:
        """What the summary file says."""
        subject, rate = self.subject, self.pairs / self.seconds if self.seconds else 0.0
        return Summary(
            dataset=subject.dataset,
            part=subject.part,
            title=subject.title,
            task=subject.task,
            mapping=subject.mapping,
            split=subject.split,
            sample=self.sample,
            complete=self.complete,
            model=subject.model,
            method=subject.method,
            train=subject.train,
            seed=subject.seed,
            settings=self.settings,
            default_prompt=self.default_prompt,
            labels=list(subject.labels),
            n=len(self.answers),
            metrics=self.metrics,
            published=compared(self.published, self.metrics),
            notes=list(self.notes),
            versions=versions(),
            seconds=round(self.seconds, 3),
            pairs_per_second=round(rate, 1),
            passes=self.passes,
            peak_memory_mib=self.peak_memory_mib,
            fingerprint=self.fingerprint,
            parts=self.parts,
            files={},
            **{name: getattr(self.details, name) for name in Details.model_fields},
        )


def compared(published: Published | None, metrics: Metrics | None) -> PublishedAccuracy | None:
    """Return a published accuracy beside the measured one, None without one."""
    if not published:
        return None
    value, inside = published.accuracy / 100, None
    if metrics:
        low, high = metrics.accuracy_interval
        inside = low <= value <= high
    return PublishedAccuracy(accuracy=value, source=published.source, inside_interval=inside)


def prepare_output(folder: Path) -> None:
    """Create the folder and try to write into it, before anything is scored. Raises UserError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--output {folder}: cannot be written ({error.strerror}); choose another folder") from error


def write_run(run: Run, folder: Path) -> Summary:
    """Write a run's `.jsonl`, `.texts.jsonl` and `.json`, each in one step, and return the summary.

    The summary comes last and holds the checksums of the others: with it the run is there. A run that was interrupted
    does not take the place of one that is complete.
    """
    subject = run.subject
    stem = file_stem(subject.dataset, subject.split, subject.method, subject.train)
    path = folder / f"{stem}.json"
    if not run.complete and (there := read_summary(path)) and there.complete:
        print(f"{path}: the complete result that is there stays; the interrupted run is not written")
        return run.summary
    texts = ({"index": answer.index} | answer.shown for answer in run.answers)
    clusters: dict[Hashable, int] = {}
    rows = (answer.row | cluster_number(answer, clusters) for answer in run.answers)
    files = {
        ending: write_json_lines(lines, folder / (stem + ending)) for ending, lines in ((TEXTS, texts), (ROWS, rows))
    }
    summary = run.summary.model_copy(update={"files": files})
    write_text(summary.to_json(), path)
    return summary


def cluster_number(answer: Answer, known: dict[Hashable, int]) -> dict[str, int]:
    """Return what a line says of the rows that belong together: a number, which `known` keeps; nothing without any."""
    return {} if answer.cluster is None else {"cluster": known.setdefault(answer.cluster, len(known))}


def read_summaries(folder: Path, card: str, split: str, method: str, train: str | None) -> Iterator[Summary]:
    """Yield the summaries of a dataset's runs (it may have several parts) that can be read in a folder."""
    stems = (file_stem(name, split, method, train) for name in (card, f"{card}_*"))
    for path in (path for stem in stems for path in sorted(folder.glob(f"{stem}.json"))):
        summary = read_summary(path)
        if summary and summary.dataset == (f"{card}_{summary.part}" if summary.part else card):
            yield summary


def read_summary(path: Path) -> Summary | None:
    """Return the summary at a path; None where it, or what it says is beside it, is not there or not whole."""
    try:
        summary = Summary.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, ValueError, UserError):
        return None
    return summary if not strange_files(path, summary) else None


def strange_files(path: Path, summary: Summary) -> list[Path]:
    """Return the files beside the summary at a path that are missing, or not those that were written with it."""
    named = {path.with_suffix(ending): summary.files.get(ending, "") for ending in (ROWS, TEXTS)}
    return [file for file, checksum in named.items() if not file.is_file() or digest(file) != checksum]


def rounded(scores: np.ndarray) -> list[float]:
    """Return scores as files show them."""
    return [round(float(value), FIGURES) for value in scores]


@cache
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
