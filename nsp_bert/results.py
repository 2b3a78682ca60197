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
import yaml
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from nsp_bert import __version__
from nsp_bert.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "datasets" / "published_results.yaml"
PUBLISHED_SPLITS = {"dev_few_all": 0, "test_public": 1}
PACKAGES = ("tensorflow", "tf-keras", "bert4keras", "numpy", "jieba")
CONFIDENCE = 0.95
FIGURES = 6  # decimals of a log-odds in files: below float32's own error


@dataclass(frozen=True)
class Accuracy:
    """Share of right predictions among `n`, with its 95 % Wilson interval; all between 0 and 1."""

    n: int
    correct: int

    @property
    def value(self) -> float:
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        bounds = binomtest(self.correct, self.n).proportion_ci(CONFIDENCE, method="wilson")
        return float(bounds.low), float(bounds.high)


@dataclass(frozen=True)
class Published:
    """A published accuracy in percent, with its source."""

    accuracy: float
    source: str


@dataclass(frozen=True)
class Answer:
    """One finished example: its place in the file from 0, its own id and label, the prediction, the log-odds.

    `more` holds what else its line of the result file says.
    """

    index: int
    id: Any
    label: str | None
    prediction: str
    scores: list[float]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any]:
        """Return the line of the result file."""
        return {key: value for key, value in vars(self).items() if key != "more"} | self.more


@dataclass(frozen=True)
class Run:
    """One dataset scored by one model: what the result files and the final table say of it.

    `answers` are in file order; all of them or none have a label. `pairs` were scored in `seconds`. `headline` names
    the mapping that made the predictions where a task has several, `extra` holds the accuracies of the others,
    `details` what else the result file says, and `notes` the lines below the table.
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

    @property
    def accuracy(self) -> Accuracy | None:
        """Return the accuracy, or None without labels or without a finished row."""
        if not self.answers or self.answers[0].label is None:
            return None
        return Accuracy(len(self.answers), sum(answer.label == answer.prediction for answer in self.answers))

    @property
    def metrics(self) -> dict[str, Any]:
        """Return every metric with the interval of the headline, nothing without labels."""
        if self.accuracy is None:
            return {}
        named = {self.headline: self.accuracy} if self.headline else {}
        others = {name: accuracy.value for name, accuracy in (named | self.extra).items()}
        return {"accuracy": self.accuracy.value, "accuracy_interval": self.accuracy.interval} | others


def published_by_template(dataset: str, model: str, template: int | None, split: str) -> Published | None:
    """Return the paper's accuracy of a template (numbered from 1) by this very model on this very split, if printed."""
    templates = _table("per_model_A").get(dataset, {}).get(model)
    if templates is None or template is None or split not in PUBLISHED_SPLITS:
        return None
    return _from_paper(templates[template - 1][PUBLISHED_SPLITS[split]])


def published_by_thresholds(dataset: str, model: str, split: str) -> Published | None:
    """Return the paper's samples-contrast accuracy; it was printed for uer-mixed-bert-base alone."""
    table = _table("samples_contrast_A")
    columns = {"dev_few_all": "dev", "test_public": "thresholds"}
    if model != "uer-mixed-bert-base" or dataset not in table or split not in columns:
        return None
    return _from_paper(table[dataset][table["columns"].index(columns[split])])


def published_by_positions(positions: str, model: str, split: str) -> Published | None:
    """Return the paper's cloze accuracy with soft or hard positions by this very model on this very split."""
    found = _table("chid_A")[f"{positions}_position"].get(model)
    return _from_paper(found[PUBLISHED_SPLITS[split]]) if found and split in PUBLISHED_SPLITS else None


def published_by_stages(task: str, stages: int, model: str, split: str) -> Published | None:
    """Return the paper's accuracy of entity `linking` or `typing` by this very model; it was printed for dev alone."""
    found = _table("duel_A")[task].get(model)
    return _from_paper(found[stages - 1]) if isinstance(found, list) and split == "dev" else None


def _table(name: str) -> dict[str, Any]:
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))[name]


def _from_paper(accuracy: float) -> Published:
    return Published(accuracy, _table("sources")["A"])


def print_table(runs: list[Run], console: Console | None = None) -> None:
    """Print the runs of one model, a row each, with the settings that differ between runs of the same dataset.

    A sample's number never stands beside a published one.
    """
    console = console or Console()
    table = Table(title=f"{runs[0].model} on {_shown_split(runs)}", title_justify="left", header_style="bold")
    table.add_column("dataset", no_wrap=True)
    varied = _varied_settings(runs)
    for key in varied:
        table.add_column(key.removeprefix("prompt_"), no_wrap=True)
    extra = list(dict.fromkeys(name for run in runs for name in run.extra))
    shown = ("n", "accuracy", "95 % interval", *(("published",) if any(run.published for run in runs) else ()))
    for header in (*shown, *(name.removeprefix("accuracy_").replace("_", " ") for name in extra), "pairs/s"):
        table.add_column(header, justify="right", no_wrap=True)
    for run in runs:
        settings = [str(run.settings.get(key, "")) for key in varied]
        others = [f"{100 * run.extra[name].value:.2f}" if name in run.extra else "" for name in extra]
        figures = _figures(run)[: len(shown) - 1]
        table.add_row(run.title, *settings, str(len(run.answers)), *figures, *others, f"{_rate(run):.0f}")
    console.print(table)
    for run in runs:
        for note in run.notes:
            console.print(f"{run.title}: {note}", highlight=False, markup=False, soft_wrap=True)


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


def _figures(run: Run) -> tuple[str, str, str]:
    accuracy = run.accuracy
    if accuracy is None:
        return "no labels", "", ""
    low, high = accuracy.interval
    published = f"{run.published.accuracy:.2f}" if run.published else "-"
    return f"{100 * accuracy.value:.2f}", f"{100 * low:.2f} - {100 * high:.2f}", published


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
        "published": {"accuracy": run.published.accuracy / 100, "source": run.published.source}
        if run.published
        else None,
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
