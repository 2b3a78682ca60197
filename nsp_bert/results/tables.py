"""Summaries of runs -> the table that ends every script; tables on the terminal, as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console

from nsp_bert.results.few_shot import means
from nsp_bert.results.summary import CHANCE, MACRO_F1, MAJORITY, Summary
from nsp_bert.terminal import FOLDED, GAP, new_table, plain_console, print_fitting, print_title

N, ACCURACY, INTERVAL, PUBLISHED = "n", "accuracy", "95 % interval", "published"  # columns
DISPENSABLE = (MAJORITY, CHANCE, MACRO_F1)  # in this order, where the terminal is narrow
LAST_DISPENSABLE = (N, PUBLISHED, INTERVAL)  # where it is narrower still
RESULT_FILES = "the result files of --output have them"
LATEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {letter: f"{{{letter}}}" for letter in "[*"}  # after the end of a line they would belong to it
)


def print_table(summaries: list[Summary], console: Console | None = None, elsewhere: str = RESULT_FILES) -> None:
    """Print the runs of one model, a row each, with the settings that differ between runs of the same dataset.

    `elsewhere` says where to find the columns that a narrow terminal has no room for; dataset and accuracy are always
    shown. A sample's number is never shown beside a published one.
    """
    console = console or plain_console()
    headers, rows = table_rows(summaries)
    texts = 1 + len(varied_settings(summaries))
    print_title(f"{summaries[0].model} on {_shown_split(summaries)}", console)
    print_fitting(
        headers,
        rows,
        console,
        texts=texts,
        dispensable=DISPENSABLE,
        further=_further(headers, texts),
        elsewhere=elsewhere,
    )
    for note in notes(summaries):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def _further(headers: list[str], texts: int) -> list[str]:
    """Return the columns to leave out after the dispensable ones: other accuracies first, the settings last."""
    others = [name for name in headers[texts:] if name not in (ACCURACY, *DISPENSABLE, *LAST_DISPENSABLE)]
    return [*reversed(others), *LAST_DISPENSABLE, *reversed(headers[1:texts])]


def print_groups(headers: list[str], groups: list[list[list[str]]], console: Console | None = None) -> None:
    """Print groups of rows with a blank line between them; the first column is their names.

    Columns that the terminal has no room for follow in a further table, without the rows that have nothing in it. A
    column that is empty in all rows is left out.
    """
    console = console or plain_console()
    for places in columns_that_fit(headers, [row for group in groups for row in group], console.width):
        table = new_table([headers[0], *(headers[place] for place in places)])
        if len(places) == 1:
            table.columns[1].no_wrap = False  # it may be wider than the terminal
        for group in groups:
            for row in group:
                if any(row[place] for place in places):
                    table.add_row(row[0], *(row[place] for place in places))
            table.add_section()
        console.print(table)
        console.print()


def columns_that_fit(headers: list[str], rows: list[list[str]], width: int) -> list[list[int]]:
    """Return the places of the columns but the first and empty ones, in parts that fit into a width beside names."""
    name_width, *widths = (max(map(cell_len, column)) for column in zip(headers, *rows, strict=True))
    room = width - min(name_width, FOLDED)
    parts: list[list[int]] = [[]]
    taken = 0
    filled = [(place, needed) for place, needed in enumerate(widths, 1) if any(row[place] for row in rows)]
    for place, needed in filled:
        if parts[-1] and taken + GAP + needed > room:
            parts.append([])
            taken = 0
        parts[-1].append(place)
        taken += GAP + needed
    return parts


def table_rows(summaries: list[Summary]) -> tuple[list[str], list[list[str]]]:
    """Return the headers and a row of texts per run, columns left out that are empty everywhere."""
    varied = varied_settings(summaries)
    figures = [_figures(summary) for summary in summaries]
    names = dict.fromkeys(name for row in figures for name in row)
    shown = [name for name in names if any(row.get(name) for row in figures)]
    rows = [
        [summary.title, *(str(summary.choices.get(key, "")) for key in varied), *(row.get(n, "") for n in shown)]
        for summary, row in zip(summaries, figures, strict=True)
    ]
    return ["dataset", *(key.removeprefix("prompt_") for key in varied), *shown], rows


def markdown(headers: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def comma_separated(headers: list[str], rows: list[list[str]]) -> str:
    """Return a CSV table."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([headers, *rows])
    return stream.getvalue()


def latex(headers: list[str], rows: list[list[str]]) -> str:
    """Return a LaTeX table in the style of the package booktabs, columns of numbers flush right."""
    head, *lines = (" & ".join(cell.translate(LATEX) for cell in line) + r" \\" for line in (headers, *rows))
    kinds = "".join("r" if all(map(_is_number, column)) else "l" for column in zip(*rows, strict=True))
    begin, end = rf"\begin{{tabular}}{{{kinds}}}", r"\end{tabular}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *lines, r"\bottomrule", end, ""])


def _is_number(cell: str) -> bool:
    return not cell or cell[0] in "+-0123456789"


def notes(summaries: list[Summary]) -> list[str]:
    """Return the lines below a table: what runs say, where published numbers come from or why there are none.

    What several runs say is one line.
    """
    said: dict[str, dict[str, None]] = {}
    for summary in summaries:
        for note in summary.notes:
            said.setdefault(note, {})[summary.title] = None
    lines = [f"{', '.join(titles)}: {note}" for note, titles in said.items()]
    lines += [mean.line for mean in means(summaries)]
    sources = list(dict.fromkeys(summary.published.source for summary in summaries if summary.published))
    if sources:
        return [*lines, f"published: {'; '.join(sources)}; in = within the interval, out = outside of it"]
    if any(summary.sample for summary in summaries):
        return [*lines, "a sample of the project's own writing: to be tried, not compared"]
    return [*lines, "no published number for this model, split and setting"]


def varied_settings(summaries: list[Summary]) -> list[str]:
    """Return the settings that have more than one value in the runs of a dataset."""
    values: dict[str, set[tuple[str, str]]] = {}
    for summary in summaries:
        for key, value in summary.choices.items():
            values.setdefault(key, set()).add((summary.dataset, str(value)))
    varied = [key for key, pairs in values.items() if len(pairs) > len({dataset for dataset, _ in pairs})]
    return [key for key in varied if not (key == "template_number" and "template" in varied)]


@dataclass(frozen=True)
class Differences:
    """In what the runs of a dataset differ: fields of their summaries, settings, and whether some are no samples."""

    fields: list[str]
    settings: list[str]
    some_real: bool


def by_dataset(summaries: list[Summary], varied: list[str]) -> dict[str, Differences]:
    """Return in what the runs of each dataset differ, `varied` being the settings that may."""
    siblings: dict[str, list[Summary]] = {}
    for summary in summaries:
        siblings.setdefault(summary.dataset, []).append(summary)
    return {dataset: _differences(same, varied) for dataset, same in siblings.items()}


def _differences(siblings: list[Summary], varied: list[str]) -> Differences:
    return Differences(
        [name for name in ("split", "method", "model") if len({getattr(sibling, name) for sibling in siblings}) > 1],
        [key for key in varied if len({str(sibling.choices.get(key)) for sibling in siblings}) > 1],
        not all(sibling.sample for sibling in siblings),
    )


def percent(share: float) -> str:
    """Return a share between 0 and 1 in percent."""
    return f"{100 * share:.2f}"


def _shown_split(summaries: list[Summary]) -> str:
    splits = ", ".join(dict.fromkeys(summary.split for summary in summaries))
    samples = [summary.title for summary in summaries if summary.sample]
    if not samples:
        return splits
    return f"{splits}, bundled sample" + ("" if len(samples) == len(summaries) else f" ({', '.join(samples)})")


def _figures(summary: Summary) -> dict[str, str]:
    """Return column -> text."""
    metrics, published = summary.metrics, summary.published
    if not metrics:
        return {N: str(summary.n), ACCURACY: "no labels"}
    low, high = metrics.accuracy_interval
    figures = {
        N: str(summary.n),
        ACCURACY: percent(metrics.accuracy),
        INTERVAL: f"{percent(low)}–{percent(high)}",
        PUBLISHED: "",
    }
    if published:
        figures[PUBLISHED] = f"{percent(published.accuracy)} {'in' if published.inside_interval else 'out'}"
    return figures | {name: percent(value) for name, value in metrics.columns.items()}
