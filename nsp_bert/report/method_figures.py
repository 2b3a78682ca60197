"""Runs of several methods -> a heat map of their accuracies, accuracy against cost, and the rows they dispute."""

from __future__ import annotations

from plotly import graph_objects  # type: ignore[import-untyped]

from nsp_bert.report.figures import INKS, SQUARES, Figure, figure_json, heat_map, plain
from nsp_bert.report.reader import ResultRun
from nsp_bert.results.comparison import Cell, Comparison, Line, compare, outcome
from nsp_bert.results.comparison_tables import line_name
from nsp_bert.results.costs import cost
from nsp_bert.results.summary import NSP_BERT
from nsp_bert.results.tables import percent

ROW_HEIGHT, AROUND = 34, 150  # pixels of a heat map
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


def method_figures(runs: list[ResultRun]) -> list[Figure]:
    """Return the figures that set methods side by side; none where there are no two."""
    ordered = sorted(runs, key=lambda run: (run.summary.train is not None, run.summary.method != NSP_BERT))
    comparison = compare(
        [
            outcome(run.summary, [(row.index, row.label == row.prediction, row.cluster) for row in run.rows])
            for run in ordered
            if run.labelled
        ]
    )
    if len({(line.method, line.few_shot) for line in comparison.lines}) < 2:
        return []
    return [accuracies_figure(comparison), *cost_figures(comparison)]


def accuracies_figure(comparison: Comparison) -> Figure:
    """Return methods x datasets, coloured by the accuracy."""
    lines, columns = comparison.lines, comparison.columns
    splits = {column.split for column in columns}
    cells = [[comparison.cells.get((line, column)) for column in columns] for line in lines]
    heatmap = heat_map(
        [[cell.accuracy if cell else None for cell in row] for row in cells],
        [[cell_text(cell) for cell in row] for row in cells],
        x=[plain(column.title if len(splits) == 1 else f"{column.title} {column.split}") for column in columns],
        y=[plain(line_name(line, comparison)) for line in lines],
        hoverongaps=False,
        hovertemplate="%{y}<br>%{x}<br>%{text}<extra></extra>",
    )
    plot = figure_json([heatmap], xaxis={"side": "top", **SQUARES}, yaxis={"autorange": "reversed", **SQUARES})
    caption = (
        "Accuracy in percent; few-shot: mean ± standard deviation of the training sets. An empty cell has no run."
        " Whether a difference is more than chance is told by the tests of nsp_bert_benchmark.py --methods."
    )
    return Figure("methods", "Methods by dataset", caption, plot, AROUND + ROW_HEIGHT * len(lines))


def cell_text(cell: Cell | None) -> str:
    """Return an accuracy as it is shown, with its deviation; empty without a run."""
    if not cell:
        return ""
    return percent(cell.accuracy) + ("" if cell.deviation is None else f" ± {percent(cell.deviation)}")


def cost_figures(comparison: Comparison) -> list[Figure]:
    """Return accuracy against milliseconds a row, a point for each method and dataset; nothing without seconds."""
    traces = [cost_trace(line, place, comparison) for place, line in enumerate(comparison.lines)]
    if not any(trace.x for trace in traces):
        return []
    plot = figure_json(
        traces,
        xaxis={"title": {"text": "milliseconds of scoring a row"}, "type": "log"},
        yaxis={"title": {"text": "accuracy"}, "tickformat": ".0%"},
    )
    caption = (
        "A point is a dataset; further to the left is cheaper, higher is better. Training is not counted, and"
        " milliseconds are those of the machine of the run."
    )
    return [Figure("costs", "Accuracy against cost", caption, plot, 380)]


def cost_trace(line: Line, place: int, comparison: Comparison) -> graph_objects.Scatter:
    """Return the points of a line."""
    own = {column.title: cell for (one, column), cell in comparison.cells.items() if one == line}
    costs = {title: cost(cell.summaries).milliseconds_per_row for title, cell in own.items()}
    shown = {title: value for title, value in costs.items() if value}
    return graph_objects.Scatter(
        x=[round(value, 4) for value in shown.values()],
        y=[own[title].accuracy for title in shown],
        text=[plain(title) for title in shown],
        name=plain(line_name(line, comparison)),
        mode="markers",
        marker={"color": INKS[place % len(INKS)][0], "symbol": SYMBOLS[place % len(SYMBOLS)], "size": 9},
        hovertemplate="%{text}<br>%{x:.3g} ms a row<br>%{y:.2%}",
    )


def disputed_rows(runs: list[ResultRun]) -> list[list[int]]:
    """Return for each run the places in its file of the rows that another method predicts otherwise, by one model."""
    groups: dict[tuple[object, ...], list[ResultRun]] = {}
    for run in runs:
        groups.setdefault(_rows_and_model(run), []).append(run)
    return [_disputed(run, groups[_rows_and_model(run)]) for run in runs]


def _rows_and_model(run: ResultRun) -> tuple[object, ...]:
    summary = run.summary
    return summary.dataset, summary.split, summary.sample, summary.model


def _disputed(run: ResultRun, group: list[ResultRun]) -> list[int]:
    own = {row.index: row.prediction for row in run.rows}
    others = [row for other in group if other.summary.method != run.summary.method for row in other.rows]
    return sorted({row.index for row in others if own.get(row.index, row.prediction) != row.prediction})
