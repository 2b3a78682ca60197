"""Predictions -> accuracy with its interval, the published number beside it, tables and files."""

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
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from nsp_bert import __version__
from nsp_bert.errors import UserError
from nsp_bert.metrics import Accuracy, clustered_interval, label_metrics
from nsp_bert.published import Published

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tensorflow", "tf-keras", "bert4keras", "numpy", "jieba")
FIGURES = 6  # decimals of a log-odds in files: below float32's own error


@dataclass(frozen=True)
class Answer:
    """One finished example: its place in the file from 0, its own id and label, the prediction, the log-odds.

    `more` holds what else its line of the result file says; rows of one `cluster` are not independent.
    """

    index: int
    id: Any
    label: str | None
    prediction: str
    scores: list[float]
    more: dict[str, Any] = field(default_factory=dict)
    cluster: Any = None

    @property
    def row(self) -> dict[str, Any]:
        """Return the line of the result file."""
        return {key: value for key, value in vars(self).items() if key not in ("more", "cluster")} | self.more


@dataclass(frozen=True)
class Run:
    """One dataset scored by one model: what the result files and the final table say of it.

    `answers` are in file order; all of them or none have a label. `pairs` were scored in `seconds`. `headline` names
    the mapping that made the predictions where a task has several, `extra` holds the accuracies of the others,
    `details` what else the result file says, and `notes` the lines below the table. `labels` are those that every
    example is offered, none where they differ.
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

    @property
    def accuracy(self) -> Accuracy | None:
        """Return the accuracy, or None without labels or without a finished row."""
        if not self.answers or self.answers[0].label is None:
            return None
        return Accuracy(len(self.answers), sum(answer.label == answer.prediction for answer in self.answers))

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


def print_table(runs: list[Run], console: Console | None = None) -> None:
    """Print the runs of one model, a row each, with the settings that differ between runs of the same dataset.

    A sample's number never stands beside a published one.
    """
    console = console or Console()
    table = Table(
        title=f"{runs[0].model} on {_shown_split(runs)}",
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
        padding=0,
    )
    table.add_column("dataset", no_wrap=True)
    varied = _varied_settings(runs)
    for key in varied:
        table.add_column(key.removeprefix("prompt_"), no_wrap=True)
    rows = [_figures(run) for run in runs]
    shown = [name for name in dict.fromkeys(name for row in rows for name in row) if any(row.get(name) for row in rows)]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for run, row in zip(runs, rows, strict=True):
        settings = [str(run.settings.get(key, "")) for key in varied]
        table.add_row(run.title, *settings, *(row.get(name, "") for name in shown))
    console.print(table)
    for note in _notes(runs):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _notes(runs: list[Run]) -> list[str]:
    """Return the lines below the table: where published numbers come from or why there are none, what runs say."""
    notes = [f"{run.title}: {note}" for run in runs for note in run.notes]
    sources = list(dict.fromkeys(run.published.source for run in runs if run.published))
    if sources:
        return [*notes, f"published: {'; '.join(sources)}; in = within the interval, out = outside of it"]
    if any(run.sample for run in runs):
        return [*notes, "a sample of the project's own writing: to be tried, not compared"]
    return [*notes, "no published number for this model, split and setting"]


def _shown_split(runs: list[Run]) -> str:
    splits = ", ".join(dict.fromkeys(run.split for run in runs))
    samples = [run.title for run in runs if run.sample]
    if not samples:
        return splits
    return f"{splits}, bundled sample" + ("" if len(samples) == len(runs) else f" ({', '.join(samples)})")


def _varied_settings(runs: list[Run]) -> list[str]:
    """Return the settings that have more than one value in the runs of a dataset."""
    values: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        for key, value in run.settings.items():
            values.setdefault(key, set()).add((run.dataset, str(value)))
    varied = [key for key, found in values.items() if len(found) > len({dataset for dataset, _ in found})]
    return [key for key in varied if not (key == "template_number" and "template" in varied)]


def _figures(run: Run) -> dict[str, str]:
    """Return column -> text."""
    if run.accuracy is None:
        return {"n": str(len(run.answers)), "accuracy": "no labels"}
    metrics = run.metrics
    low, high = run.interval
    figures = {
        "n": str(len(run.answers)),
        "accuracy": _percent(metrics["accuracy"]),
        "95 % interval": f"{_percent(low)} - {_percent(high)}",
        "published": f"{run.published.accuracy:.2f} {'in' if run.as_published else 'out'}" if run.published else "",
    }
    extra = {name.removeprefix("accuracy_").replace("_", " "): _percent(one.value) for name, one in run.extra.items()}
    names = {"macro_f1": "macro-F1", "majority": "majority", "chance": "chance"}
    return figures | extra | {name: _percent(metrics[key]) for key, name in names.items() if key in metrics}


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _rate(run: Run) -> float:
    return run.pairs / run.seconds if run.seconds else 0.0


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
    """Write `<dataset>.<split>.json` and `.jsonl`, each in one piece."""
    summary = {
        "dataset": run.dataset,
        "split": run.split,
        "sample": run.sample,
        "complete": run.complete,
        "model": run.model,
        "settings": run.settings,
        "n": len(run.answers),
        "metrics": run.metrics,
        "published": run.published
        and {
            "accuracy": run.published.accuracy / 100,
            "source": run.published.source,
            "inside_interval": run.as_published,
        },
        "versions": versions(),
        "seconds": round(run.seconds, 3),
        "pairs_per_second": round(_rate(run), 1),
    } | run.details
    stem = f"{run.dataset}.{run.split}"
    write_json_lines((answer.row for answer in run.answers), folder / f"{stem}.jsonl")
    write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", folder / f"{stem}.json")


def write_json_lines(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write one JSON object a line, in one piece."""
    write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), path)


def write_text(text: str, path: Path) -> None:
    """Replace a UTF-8 file in one step. Raises UserError when the place cannot be written."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8", newline="\n")
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
