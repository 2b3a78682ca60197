"""Runs -> plotly figures as JSON values. The page replaces the colours by those of its theme."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import Any

from plotly import graph_objects  # type: ignore[import-untyped]

from nsp_bert.report.examples import shown_labels
from nsp_bert.report.reader import ResultRun
from nsp_bert.report.statistics import Histogram, has_candidates, margin_histogram, reliability, score_histogram
from nsp_bert.results.summary import Confusion, CurvePoint, NearWord, Summary, TrainingRecord
from nsp_bert.results.tables import percent

SQUARES = {"type": "category", "showgrid": False, "zeroline": False}  # an axis of a heat map
READABLE = 20  # labels that an axis has room for in its own size
COUNTED = 8  # labels of a matrix whose cells have room for a number
ACCENT, INK, MUTED, PANEL, TINT, CELL = "#0a5ea8", "#1c2126", "#69727c", "#ffffff", "#dbe8f4", "#5b96cb"
COLOURS = {ACCENT: "accent", INK: "ink", MUTED: "muted", PANEL: "panel", TINT: "tint", CELL: "cell"}  # in report.css
INKS = ((ACCENT, "solid"), (INK, "dash"), (MUTED, "dot"))  # of a figure's lines


@dataclass(frozen=True)
class Figure:
    """A figure: `kind` names it in the page, `caption` says what is seen, `plot` is plotly's data and layout."""

    kind: str
    title: str
    caption: str
    plot: dict[str, Any]
    height: int


def run_figures(run: ResultRun) -> list[Figure]:
    """Return the figures that a run has something for."""
    figures: list[Figure] = []
    if run.summary.metrics and run.summary.metrics.confusion:
        figures.append(confusion_figure(run, run.summary.metrics.confusion))
    if run.rows and run.contrasts_samples:
        figures.append(score_figure(run))
    if has_candidates(run):
        figures.append(margin_figure(run))
        if run.labelled:
            figures.append(reliability_figure(run))
    if run.summary.batch_curve:
        figures.append(curve_figure(run.summary.batch_curve))
    if run.summary.training:
        figures.append(training_figure(run.summary.training))
    if run.summary.nearest_words:
        figures.append(nearest_words_figure(run.summary.nearest_words))
    return figures


def confusion_figure(run: ResultRun, confusion: Confusion) -> Figure:
    """Return the confusion matrix, coloured by the share of the true label."""
    counts = confusion.counts
    labels = [plain(label) for label in shown_labels(run)]
    shares = [[round(count / max(sum(row), 1), 2) or 0 for count in row] for row in counts]
    heatmap = heat_map(
        shares,
        counts,
        x=labels,
        y=labels,
        xgap=1 if len(labels) <= READABLE else 0,
        ygap=1 if len(labels) <= READABLE else 0,
        hovertemplate="true %{y}<br>predicted %{x}<br>%{text} rows, %{z:.0%} of the true label<extra></extra>",
        texttemplate="%{text}" if len(labels) <= COUNTED else None,
    )
    small = {} if len(labels) <= READABLE else {"tickfont": {"size": 10}}
    ticks = {**SQUARES, **small}  # plotly thins them to the room
    plot = figure_json(
        [heatmap],
        xaxis={
            "title": {"text": "predicted", "standoff": 8},
            "tickangle": -60 if len(labels) > COUNTED else 0,
            **ticks,
        },
        yaxis={"title": {"text": "true", "standoff": 8}, "autorange": "reversed", **ticks},
    )
    many = f" The axes name as many of {len(labels)} labels as they have room for: point at a cell to read its two."
    way = many if len(labels) > READABLE else ""
    caption = f"Rows are true labels, columns predictions; a stronger colour is a larger share of the true label.{way}"
    size = ("confusion", 320) if len(labels) <= COUNTED else ("confusion large", 480)
    return Figure(size[0], "Confusion", f"{caption} Click a cell to see its rows.", plot, size[1])


def score_figure(run: ResultRun) -> Figure:
    """Return the histogram of the scores of each true label, with the thresholds."""
    thresholds = run.summary.thresholds or []
    lines = [
        {
            "type": "line",
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "x0": value,
            "x1": value,
            "line": {"color": INK, "width": 1},
        }
        for value in thresholds
    ]
    plot = figure_json(
        histogram_lines(score_histogram(run)),
        xaxis={"title": {"text": "log-odds of IsNext"}},
        yaxis={"title": {"text": "rows"}, "rangemode": "tozero"},
        shapes=lines,
    )
    shown = ", ".join(f"{value:.2f}" for value in thresholds)
    caption = f"Vertical lines: thresholds learned on dev ({shown}). Labels that are told apart do not overlap."
    return Figure("scores", "Scores by true label", caption, plot, 320)


def margin_figure(run: ResultRun) -> Figure:
    """Return the histogram of the margin between the best candidate and the second."""
    plot = figure_json(
        histogram_lines(margin_histogram(run)),
        xaxis={"title": {"text": "log-odds of the best − the second"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "rows"}, "rangemode": "tozero"},
    )
    caption = "How far the chosen candidate lies above the next. A margin that means something is larger where right."
    return Figure("margins", "Margin", caption, plot, 320)


def reliability_figure(run: ResultRun) -> Figure:
    """Return the reliability curve with the number of rows of each bin."""
    bins = reliability(run)
    diagonal = graph_objects.Scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="calibrated", line={"color": MUTED, "dash": "dot"}, hoverinfo="skip"
    )
    curve = graph_objects.Scatter(
        x=bins.confidence,
        y=bins.accuracy,
        text=[str(count) for count in bins.counts],
        mode="lines+markers+text",
        textposition="top center",
        cliponaxis=False,
        name="measured",
        line={"color": ACCENT},
        hovertemplate="confidence %{x:.1%}<br>accuracy %{y:.1%}<br>%{text} rows<extra></extra>",
    )
    share = {"range": [0, 1.12], "tickformat": ".0%", "tickvals": [0, 0.25, 0.5, 0.75, 1]}
    plot = figure_json(
        [diagonal, curve],
        xaxis={"title": {"text": "softmax share of the prediction"}, **share},
        yaxis={"title": {"text": "accuracy"}, **share},
    )
    caption = (
        f"Ten bins, the number of rows at each point. Expected calibration error {percent(bins.error)} points. The"
        " softmax over candidates is made for this figure; the model gives each candidate log-odds of its own."
    )
    return Figure("reliability", "Reliability", caption, plot, 320)


def curve_figure(curve: list[CurvePoint]) -> Figure:
    """Return the accuracy of ranking by batch size."""
    sizes = [str(point.batch) for point in curve[:-1]] + ["all"]
    in_order = graph_objects.Scatter(
        x=sizes,
        y=[point.file_order for point in curve],
        name="file order",
        mode="lines+markers",
        line={"color": ACCENT},
        hovertemplate="%{y:.2%}",
    )
    shuffled = graph_objects.Scatter(
        x=sizes,
        y=[point.shuffled for point in curve],
        error_y={"type": "data", "array": [point.shuffled_deviation for point in curve], "color": INK, "width": 3},
        name="shuffled",
        mode="lines+markers",
        line={"color": INK, "dash": "dash"},
        hovertemplate="%{y:.2%}",
    )
    plot = figure_json(
        [in_order, shuffled],
        xaxis={"title": {"text": "rows in a batch"}, "type": "category"},
        yaxis={"title": {"text": "accuracy"}, "tickformat": ".0%"},
        hovermode="x unified",
    )
    caption = "Ranking inside batches instead of thresholds. Shuffled: mean and standard deviation over random orders."
    return Figure("curve", "Batch curve", caption, plot, 320)


def training_figure(training: TrainingRecord) -> Figure:
    """Return the dev accuracy after each epoch, and which epoch was taken."""
    epochs = list(range(1, len(training.epochs) + 1))
    curve = graph_objects.Scatter(
        x=epochs,
        y=[epoch.dev_accuracy for epoch in training.epochs],
        customdata=[epoch.loss for epoch in training.epochs],
        name="dev",
        mode="lines+markers",
        line={"color": ACCENT},
        hovertemplate="epoch %{x}<br>dev %{y:.2%}<br>loss %{customdata:.4f}",
    )
    best = graph_objects.Scatter(
        x=[training.best_epoch],
        y=[training.epochs[training.best_epoch - 1].dev_accuracy],
        name="taken",
        mode="markers",
        marker={"color": INK, "size": 12, "symbol": "circle-open"},
        hoverinfo="skip",
    )
    plot = figure_json(
        [curve, best],
        xaxis={"title": {"text": "epoch"}, "dtick": 1 if len(epochs) <= READABLE else None},
        yaxis={"title": {"text": "dev accuracy"}, "tickformat": ".0%"},
    )
    steps, rows = training.steps, training.rows
    caption = f"{steps:,} steps on {rows:,} rows. The best epoch on dev is taken, of equal ones the earlier."
    return Figure("learning", "Learning curve", caption, plot, 280)


def nearest_words_figure(nearest: list[list[NearWord]]) -> Figure:
    """Return a table of the words nearest to each soft token, coloured by the cosine."""
    heatmap = heat_map(
        [[near.cosine for near in row] for row in nearest],
        [[plain(near.word) for near in row] for row in nearest],
        x=[str(place) for place in range(1, len(nearest[0]) + 1)],
        y=[str(number) for number in range(1, len(nearest) + 1)],
        hovertemplate="soft token %{y}<br>%{text}, cosine %{z:.3f}<extra></extra>",
    )
    plot = figure_json(
        [heatmap],
        xaxis={"title": {"text": "nearest, second …", "standoff": 8}, **SQUARES},
        yaxis={"title": {"text": "soft token", "standoff": 8}, "autorange": "reversed", **SQUARES},
    )
    caption = (
        "The words of the vocabulary whose embeddings are nearest to each soft token's; darker is a larger cosine."
    )
    return Figure("nearest", "Nearest words", caption, plot, 90 + 28 * len(nearest))


def variants_figure(title: str, summaries: list[Summary], names: list[str]) -> Figure:
    """Return the accuracy of a dataset's runs beside each other, with intervals and published numbers."""
    names = [plain(name).replace(" · ", "<br>") for name in names]
    measures = [summary.metrics for summary in summaries if summary.metrics]
    values = [metrics.accuracy for metrics in measures]
    bounds = [metrics.accuracy_interval for metrics in measures]
    measured = graph_objects.Scatter(
        x=values,
        y=names,
        error_x={
            "type": "data",
            "array": [high - value for value, (_, high) in zip(values, bounds, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, bounds, strict=True)],
            "color": ACCENT,
        },
        mode="markers",
        name="measured, 95 % interval",
        marker={"color": ACCENT, "size": 9},
        hovertemplate="%{y}<br>%{x:.2%}<extra></extra>",
    )
    known = [
        (summary.published.accuracy, name) for summary, name in zip(summaries, names, strict=True) if summary.published
    ]
    published = graph_objects.Scatter(
        x=[value for value, _ in known],
        y=[name for _, name in known],
        mode="markers",
        name="published",
        marker={"color": INK, "symbol": "line-ns-open", "size": 14, "line": {"width": 2}},
        hovertemplate="%{y}<br>published %{x:.2%}<extra></extra>",
    )
    plot = figure_json(
        [measured, published] if known else [measured],
        xaxis={"title": {"text": "accuracy"}, "tickformat": ".0%"},
        yaxis={"type": "category", "autorange": "reversed"},
    )
    lines = max(name.count("<br>") + 1 for name in names)
    return Figure(
        "variants",
        title,
        "Point and bar: accuracy and its 95 % interval." + (" Upright line: published." if known else ""),
        plot,
        110 + (14 + 14 * lines) * len(names),
    )


def histogram_lines(histogram: Histogram) -> list[graph_objects.Scatter]:
    """Return a stepped line a group."""
    return [
        graph_objects.Scatter(
            x=histogram.edges,
            y=[*counts, 0],
            name=f"{plain(name)} ({sum(counts)})",
            mode="lines",
            line={"shape": "hv", "color": INKS[place % len(INKS)][0], "dash": INKS[place % len(INKS)][1]},
            fill="tozeroy" if not place else None,
            fillcolor=TINT,
            hovertemplate="%{y} rows from %{x:.2f}",
        )
        for place, (name, counts) in enumerate(histogram.groups.items())
    ]


def plain(text: str) -> str:
    """Return text for plotly, which would read tags in it."""
    return escape(text, quote=False)


def heat_map(shares: list[Any], texts: list[Any], **more: Any) -> graph_objects.Heatmap:
    """Return rows of squares with texts, coloured by shares between 0 and 1; `more` is plotly's."""
    own = {"xgap": 1, "ygap": 1, "texttemplate": "%{text}", **more}
    colours = {"zmin": 0, "zmax": 1, "colorscale": [[0, PANEL], [1, CELL]], "textfont": {"color": INK}}
    return graph_objects.Heatmap(z=shares, text=texts, showscale=False, **colours, **own)


def figure_json(traces: list[Any], **layout: Any) -> dict[str, Any]:
    """Return data and layout, checked by plotly, as JSON values."""
    for axis in ("xaxis", "yaxis"):
        layout[axis] = {"automargin": True, **layout[axis]}
    above = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    margin = {"l": 50, "r": 12, "t": 8, "b": 44}
    made = graph_objects.Figure(traces, {"template": "none", "margin": margin, "legend": above, **layout})
    return json.loads(made.to_json())
