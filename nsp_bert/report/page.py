"""Runs -> what the report's page shows -> HTML. Text from data is escaped by Jinja2, data for scripts as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from nsp_bert.report.examples import browser_data
from nsp_bert.report.figures import COLOURS, Figure, run_figures, variants_figure
from nsp_bert.report.method_figures import disputed_rows, method_figures
from nsp_bert.report.reader import ResultRun
from nsp_bert.results.summary import CHANCE, MACRO_F1, MAJORITY, Summary
from nsp_bert.results.tables import by_dataset, notes, percent, varied_settings

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Cell:
    """A number as it is shown and as it sorts; empty texts sort last."""

    text: str
    value: float | None


@dataclass(frozen=True)
class MainRow:
    """A row of the main table; shares for the drawn bar lie between 0 and 1."""

    title: str
    marks: str
    model: str
    split: str
    prompt: str
    n: int
    accuracy: Cell
    low: float | None
    high: float | None
    published: Cell
    inside: bool | None
    chance: float | None
    cells: list[Cell]


@dataclass(frozen=True)
class Section:
    """The figures of a dataset: a list of figures for each of its runs."""

    title: str
    runs: list[tuple[str, list[Figure]]]


@dataclass(frozen=True)
class Page:
    """Everything that the page shows."""

    heading: str
    columns: list[str]
    rows: list[MainRow]
    notes: list[str]
    variants: list[Figure]
    methods: list[Figure]
    sections: list[Section]
    browser: dict[str, Any]
    versions: str


def build_page(runs: list[ResultRun]) -> Page:
    """Return the page of these runs (one at least)."""
    summaries = [run.summary for run in runs]
    columns = metric_columns(summaries)
    varied = varied_settings(summaries)
    named = run_names(summaries, varied)
    models = dict.fromkeys(summary.model for summary in summaries)
    splits = dict.fromkeys(summary.split for summary in summaries)
    return Page(
        heading=f"{', '.join(models)} on {', '.join(splits)}",
        columns=columns,
        rows=[main_row(summary, varied, columns) for summary in summaries],
        notes=notes(summaries),
        variants=variants(summaries, varied),
        methods=method_figures(runs),
        sections=sections(runs, named),
        browser=browser_data(runs, named, disputed_rows(runs)),
        versions=shown_versions(summaries),
    )


def metric_columns(summaries: list[Summary]) -> list[str]:
    """Return the metrics beside the accuracy that some run has, accuracies first."""
    names = dict.fromkeys(name for summary in summaries if summary.metrics for name in summary.metrics.columns)
    return sorted(names, key=lambda name: name in (MACRO_F1, MAJORITY, CHANCE))


def main_row(summary: Summary, varied: list[str], columns: list[str]) -> MainRow:
    """Return a run's row, with a cell for each of these metrics."""
    metrics, published = summary.metrics, summary.published
    low, high = metrics.accuracy_interval if metrics else (None, None)
    return MainRow(
        title=summary.title,
        marks=marks(summary),
        model=summary.model,
        split=summary.split,
        prompt=shown_settings(summary, varied),
        n=summary.n,
        accuracy=share_cell(metrics.accuracy if metrics else None, "no labels" if summary.n else "no rows"),
        low=low,
        high=high,
        published=share_cell(published.accuracy if published else None),
        inside=published.inside_interval if published else None,
        chance=metrics.chance if metrics else None,
        cells=[share_cell(metrics.columns.get(name) if metrics else None) for name in columns],
    )


def marks(summary: Summary) -> str:
    """Return what sets a run apart from a whole run on real data."""
    parts = ["bundled sample" if summary.sample else "", summary.rows, "" if summary.complete else "interrupted"]
    return ", ".join(filter(None, parts))


def share_cell(share: float | None, empty: str = "") -> Cell:
    """Return a share in percent."""
    return Cell(empty, None) if share is None else Cell(percent(share), share)


def shown_settings(summary: Summary, varied: list[str]) -> str:
    """Return the prompt of a run, and those of its other settings that differ between runs."""
    keys = [key for key in dict.fromkeys(["template", "prompt_position", *varied]) if key != "rows"]
    return ", ".join(filter(None, (setting(summary, key) for key in keys)))


def run_names(summaries: list[Summary], varied: list[str]) -> list[str]:
    """Return a name a run, no two alike: its dataset and what tells it from the dataset's other runs."""
    differing = by_dataset(summaries, varied)
    names: list[str] = []
    times: Counter[str] = Counter()
    for summary in summaries:
        own = differing[summary.dataset]
        parts = [summary.title, *(str(getattr(summary, field)) for field in own.fields)]
        parts += [setting(summary, key) for key in own.settings]
        parts += ["sample"] if summary.sample and own.some_real else []
        name = " · ".join(filter(None, parts))
        times[name] += 1
        names.append(f"{name} · run {times[name]}" if times[name] > 1 else name)
    return names


def setting(summary: Summary, key: str) -> str:
    """Return a setting as it reads in a run's name, nothing where it is not set."""
    value = summary.choices.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    return f"{key.replace('_', ' ')} {value}"


def variants(summaries: list[Summary], varied: list[str]) -> list[Figure]:
    """Return a figure for every dataset that has more than one run with labels."""
    labelled = [summary for summary in summaries if summary.metrics]
    names = run_names(labelled, varied)
    figures = []
    for title in dict.fromkeys(summary.title for summary in labelled):
        same = [place for place, summary in enumerate(labelled) if summary.title == title]
        if len(same) > 1:
            labels = [names[place].removeprefix(f"{title} · ") for place in same]
            figures.append(variants_figure(title, [labelled[place] for place in same], labels))
    return figures


def sections(runs: list[ResultRun], names: list[str]) -> list[Section]:
    """Return the figures of every run, by dataset."""
    by_title: dict[str, list[tuple[str, list[Figure]]]] = {}
    for run, name in zip(runs, names, strict=True):
        figures = run_figures(run)
        if figures:
            by_title.setdefault(run.summary.title, []).append((name, figures))
    return [Section(title, several) for title, several in by_title.items()]


def shown_versions(summaries: list[Summary]) -> str:
    """Return the versions that made the results."""
    texts = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in summary.versions.items()) for summary in summaries
    )
    return "; ".join(filter(None, texts))


def render(page: Page) -> str:
    """Return the page as one HTML text that asks for nothing else."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plots = [figure.plot for figure in [*page.methods, *page.variants]]
    plots += [figure.plot for section in page.sections for _, figures in section.runs for figure in figures]
    return environment.get_template("report.html").render(
        page=page,
        plots=script_json(plots),
        browser=script_json(page.browser),
        colours=script_json(COLOURS),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
    )


def script_json(value: Any) -> Markup:
    """Return JSON that may be put inside a script element: no `<`, `>` or `&` is left in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
