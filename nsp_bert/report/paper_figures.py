"""Summaries -> the main figures for a paper as PNG, PDF and SVG; no Chinese text is needed in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

from nsp_bert.files import replacing
from nsp_bert.results.summary import CurvePoint, Summary
from nsp_bert.results.tables import by_dataset, varied_settings

DPI = 200  # of the PNG
METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}  # no dates: by format
ACCENT, INK, MUTED = "#0a5ea8", "#1c2126", "#8a939c"


def write_figures(summaries: list[Summary], folder: Path) -> list[Path]:
    """Write `accuracy` and, where a run has batch curves, `batch_curves`, in each format; return their paths.

    The same summaries give the same bytes. Raises UserError when a place cannot be written.
    """
    matplotlib.use("Agg")
    drawn = {"accuracy": accuracy_figure, "batch_curves": curves_figure}
    paths = []
    for name, draw in drawn.items():
        figure = draw(summaries)
        if figure is not None:
            paths += [save(figure, folder / f"{name}.{kind}", kind) for kind in METADATA]
            pyplot.close(figure)
    return paths


def save(figure: Any, path: Path, kind: str) -> Path:
    """Write a figure in one step and return its path. Raises UserError when the place cannot be written."""
    settings = matplotlib.rc_context({"svg.hashsalt": "nsp-bert", "pdf.fonttype": 42})  # no random names; TrueType
    with replacing(path) as unfinished, settings:
        figure.savefig(unfinished, dpi=DPI, format=kind, metadata=METADATA[kind])
    return path


def accuracy_figure(summaries: list[Summary]) -> Any:
    """Return accuracies with 95 % intervals, published numbers as ticks and chance as points; None without labels."""
    runs = [summary for summary in summaries if summary.metrics]
    measures = [run.metrics for run in runs if run.metrics]
    if not runs:
        return None
    figure, axis = pyplot.subplots(figsize=(6.5, 1.1 + 0.3 * len(runs)), layout="constrained")
    places = range(len(runs))
    values = [100 * metrics.accuracy for metrics in measures]
    bounds = [[100 * bound for bound in metrics.accuracy_interval] for metrics in measures]
    errors = [
        [value - low for value, (low, _) in zip(values, bounds, strict=True)],
        [high - value for value, (_, high) in zip(values, bounds, strict=True)],
    ]
    axis.errorbar(values, places, xerr=errors, fmt="o", color=ACCENT, capsize=3, markersize=5, label="measured, 95 %")
    chance = [float("nan") if metrics.chance is None else 100 * metrics.chance for metrics in measures]
    axis.plot(chance, places, ".", color=MUTED, label="chance")
    known = [(100 * run.published.accuracy, place) for place, run in enumerate(runs) if run.published]
    if known:
        axis.plot(*zip(*known, strict=True), "|", color=INK, markersize=14, markeredgewidth=2, label="published")
    axis.set_yticks(places, run_names(runs))
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("accuracy, percent")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return figure


def curves_figure(summaries: list[Summary]) -> Any:
    """Return a panel a run: accuracy of ranking by batch size, in file order and shuffled; None without curves."""
    runs = [summary for summary in summaries if summary.batch_curve]
    if not runs:
        return None
    columns = min(len(runs), 2)
    lines = -(-len(runs) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(3.25 * columns, 2.6 * lines), layout="constrained", squeeze=False
    )
    for axis, run, name in zip(axes.flat, runs, run_names(runs), strict=False):
        draw_curve(axis, run.batch_curve or [], name)
    for axis in list(axes.flat)[len(runs) :]:
        axis.set_visible(False)
    lines_and_names = axes[0][0].get_legend_handles_labels()
    figure.legend(*lines_and_names, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def draw_curve(axis: Any, curve: list[CurvePoint], name: str) -> None:
    """Draw one batch curve."""
    sizes = [str(point.batch) for point in curve[:-1]] + ["all"]
    axis.plot(sizes, [100 * point.file_order for point in curve], "o-", color=ACCENT, markersize=4, label="file order")
    axis.errorbar(
        sizes,
        [100 * point.shuffled for point in curve],
        yerr=[100 * point.shuffled_deviation for point in curve],
        fmt="s--",
        color=INK,
        markersize=4,
        capsize=2,
        label="shuffled",
    )
    axis.set_title(name.replace(", ", "\n", 1), fontsize=8)
    axis.set_xlabel("rows in a batch")
    axis.set_ylabel("accuracy, percent")
    axis.grid(alpha=0.3)


def run_names(summaries: list[Summary]) -> list[str]:
    """Return a name a run, of ASCII alone: templates by their number, what else differs by its value."""
    varied = [key for key in varied_settings(summaries) if key != "template"]
    if "template" in varied_settings(summaries):
        varied.insert(0, "template_number")
    differing = by_dataset(summaries, varied)
    names = []
    for summary in summaries:
        own = differing[summary.dataset]
        parts = [summary.title, *(str(getattr(summary, field)) for field in own.fields)]
        for key in own.settings:
            value = summary.choices.get(key)
            parts.append(str(value) if isinstance(value, str) else f"{key.split('_')[0]} {value or 'own'}")
        note = ", ".join(filter(None, ["sample" if summary.sample else "", summary.rows]))
        shown = ", ".join(parts) + (f" ({note})" if note else "")
        names.append(shown.encode("ascii", "replace").decode())
    return names
