"""A comparison of methods -> its tables: accuracies below the published ones, tests, costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from nsp_bert.results.benchmark_tables import FEWCLUE, PUBLISHED, Table, fewclue_titles, score
from nsp_bert.results.comparison import LEVEL, Cell, Comparison, Line, PairedTest
from nsp_bert.results.costs import Cost, cost
from nsp_bert.results.published import PAPER, SCORE, PublishedRecord, find, load_published
from nsp_bert.results.tables import percent
from nsp_bert.rows import FIVE

METHODS_TABLE = "methods"
TEST_SPLIT = "test_public"  # of the nine
FEWCLUE_TABLE = "B"  # beside the paper's Table 1 the source with a row of the nine for each method
TRAINED_ON = {  # what a published record says of its training, in words
    "none": "zero-shot",
    "single_run": "a single run",
    "split_0": "train_0",
    "five_splits": "mean of five",
    "six_runs": "mean of five and few_all",
    "few_all": "few_all",
    None: "",
}
DIVISOR = {0: "± divides by the number of runs", 1: "± divides by the number of runs less one"}
PublishedKeys = Mapping[tuple[str, bool], Sequence[str]]  # (method, few-shot) -> its methods in the published file


class Footnotes:
    """The notes of a table, each once, with the numbers that mark them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def marks(self, notes: Iterable[str]) -> str:
        """Return the marks of notes, to be put behind a cell's text; nothing without any."""
        numbers = [self._numbers.setdefault(note, len(self._numbers) + 1) for note in notes if note]
        return f" [{', '.join(map(str, numbers))}]" if numbers else ""

    @property
    def lines(self) -> list[str]:
        """The notes with their marks, in order."""
        return [f"[{number}] {note}" for note, number in self._numbers.items()]


def comparison_tables(comparison: Comparison, published: PublishedKeys, left_out: Sequence[str] = ()) -> list[Table]:
    """Return the tables of a comparison; `left_out` says what could not be run, a line each."""
    if not comparison.cells:
        return []
    tables = [accuracy_table(comparison, published, left_out), significance_table(comparison), cost_table(comparison)]
    return [table for table in tables if table.rows]


def accuracy_table(comparison: Comparison, published: PublishedKeys, left_out: Sequence[str]) -> Table:
    """Return methods x datasets: the nine in their order, then others; published rows above those of each method."""
    nine = fewclue_titles()
    others = {one.dataset: one.title for one in comparison.columns if one.dataset not in nine}
    footnotes, rows = Footnotes(), []
    for method in dict.fromkeys((line.method, line.few_shot) for line in comparison.lines):
        own = [line for line in comparison.lines if (line.method, line.few_shot) == method]
        rows += published_lines(published.get(method, ()), {line.model for line in own}, others, footnotes)
        rows += [own_line(line, comparison, [*nine, *others], footnotes) for line in own]
    note = (
        "Accuracy on all rows, percent; score: the mean of the nine, where all are there. Zero-shot with the 95 %"
        " interval, few-shot as mean ± standard deviation of the training sets, which divides by their number less one."
        f" * differs from NSP-BERT's, corrected p below {LEVEL} (next table)."
    )
    headers = ["method", "score", *nine.values(), *others.values()]
    return Table(METHODS_TABLE, "Methods", note, headers, rows, [*footnotes.lines, *left_out])


def own_line(line: Line, comparison: Comparison, datasets: Sequence[str], footnotes: Footnotes) -> list[str]:
    """Return the row of a line."""
    cells = cells_of(line, comparison)
    means = {name: cell.accuracy for name, cell in cells.items()}
    shown = [shown_cell(cells[name], comparison, footnotes) if name in cells else "" for name in datasets]
    return [line_name(line, comparison), score(means), *shown]


def cells_of(line: Line, comparison: Comparison) -> dict[str, Cell]:
    """Return the cells of a line by their dataset."""
    return {column.dataset: cell for (own, column), cell in comparison.cells.items() if own == line}


def shown_cell(cell: Cell, comparison: Comparison, footnotes: Footnotes) -> str:
    """Return an accuracy with its interval or its deviation, and a star where the difference is more than chance.

    A mark tells where it is not of all five training sets.
    """
    star = " *" if any(test.cell is cell and test.significant for test in comparison.tests) else ""
    if not cell.line.few_shot:
        return percent(cell.accuracy) + shown_interval(cell) + star
    trains = [str(summary.train) for summary in cell.summaries]
    other = "" if set(trains) == set(FIVE) else f"of the training sets {', '.join(trains)}"
    spread = shown_interval(cell) if cell.deviation is None else f" ± {percent(cell.deviation)}"
    return percent(cell.accuracy) + spread + star + footnotes.marks([other])


def shown_interval(cell: Cell) -> str:
    """Return the 95 % interval of a single run."""
    return f" ({percent(cell.interval[0])}–{percent(cell.interval[1])})" if cell.interval else ""


def line_name(line: Line, comparison: Comparison) -> str:
    """Return a line's method and model, with what sets its runs apart from those on all real rows."""
    shared = {one.checkpoint for one in comparison.lines if one.model == line.model}
    model = f"{line.model} {line.checkpoint[:8]}" if len(shared) > 1 else line.model
    runs = [summary for (own, _), cell in comparison.cells.items() if own == line for summary in cell.summaries]
    sample = "sample" if any(run.sample for run in runs) else ""
    marks = ", ".join(filter(None, [sample, *dict.fromkeys(run.rows for run in runs)]))
    return f"{line.name}, {model}" + (f" ({marks})" if marks else "")


def published_lines(
    keys: Sequence[str], models: set[str], others: Mapping[str, str], footnotes: Footnotes
) -> list[list[str]]:
    """Return the published rows of a method: those of the whole tables, and those of the models that were run."""
    groups: dict[tuple[object, ...], list[PublishedRecord]] = {}
    for record in (one for key in keys for one in find(method=key)):
        if is_shown(record, models):
            group = (record.method, record.source, record.model, record.prompt, record.whitening, record.negatives)
            groups.setdefault(group, []).append(record)
    return [[*published_line(records, footnotes), *("" for _ in others)] for records in groups.values()]


def is_shown(record: PublishedRecord, models: set[str]) -> bool:
    """Return whether a record has a place beside measured rows: of the test rows, not of all training sets together."""
    if record.split not in (None, TEST_SPLIT) or record.train == "few_all":
        return False
    whole_row = record.table is not None or record.source == FEWCLUE_TABLE
    return whole_row or (record.source != PAPER and record.model in models)


def published_line(records: Sequence[PublishedRecord], footnotes: Footnotes) -> list[str]:
    """Return a published row. What a number has of its own (a note, other training rows or rows) is marked."""
    trains = [record.train for record in records]
    train = max(dict.fromkeys(trains), key=trains.count)
    file, first = load_published(), records[0]
    divisors = {DIVISOR[record.ddof] for record in records if record.ddof is not None}
    facts = [
        first.source,
        first.model,
        TRAINED_ON[train],
        f"prompt {first.prompt}" if first.prompt else "",
        "whitened" if first.whitening else "",
        f"{first.negatives} negatives" if first.negatives else "",
    ]
    name = ", ".join(filter(None, [file.method_names[first.method], *facts]))
    marks = footnotes.marks([f"{first.source}: {file.sources[first.source]}", *sorted(divisors)])
    values = {record.dataset: published_cell(record, train, footnotes) for record in records}
    return [name + marks + PUBLISHED, *(values.get(key, "") for key in (SCORE, *FEWCLUE))]


def published_cell(record: PublishedRecord, train: str | None, footnotes: Footnotes) -> str:
    """Return a published number, with its deviation and its marks."""
    spread = "" if record.std is None else f" ± {record.std:.2f}"
    rows = max((one.n for one in find(dataset=record.dataset, split=TEST_SPLIT) if one.n), default=0)
    fewer = f"on {record.n:,} of {rows:,} rows" if record.n and record.n < rows else ""
    other = "" if record.train == train else TRAINED_ON[record.train]
    return f"{record.value:.2f}{spread}" + footnotes.marks([record.note or "", fewer, other])


def significance_table(comparison: Comparison) -> Table:
    """Return every test against NSP-BERT, or why there is none."""
    note = (
        "Against NSP-BERT by the same checkpoint on the same rows; few-shot against few-shot on the same training"
        " sets, and few-shot NSP-BERT against zero-shot. Gain and its 95 % interval in points, by a bootstrap of rows"
        " and training sets (10,000 resamples), rows that belong together drawn together. p: of single runs on"
        " independent rows the exact McNemar test, else the bootstrap's (never below 0.0002); corrected: by Holm's"
        f" method for all {comparison.tested} tests of this table. Gained and lost: rows right by one of the two alone."
    )
    headers = ["method", "dataset", "against", "gain", "95 % interval", "gained", "lost", "runs", "p", "p corrected"]
    rows = [significance_line(test, comparison) for test in comparison.tests]
    return Table("methods_tests", "Methods against NSP-BERT", note, [*headers, "no test"], rows)


def significance_line(test: PairedTest, comparison: Comparison) -> list[str]:
    """Return the row of a test."""
    names = [line_name(test.cell.line, comparison), test.cell.column.title, test.reference.name]
    found = test.difference
    if not found or test.corrected is None:
        return [*names, *[""] * 7, test.missing]
    figures = [f"{100 * found.mean:+.2f}", f"{100 * found.low:+.2f} – {100 * found.high:+.2f}"]
    counts = [str(test.gained), str(test.lost), str(test.runs)]
    return [*names, *figures, *counts, f"{found.p:.2g}", f"{test.corrected:.2g}", ""]


def cost_table(comparison: Comparison) -> Table:
    """Return what a run of each method costs on each dataset."""
    note = (
        "Of one run, the mean over training sets. Passes: sequences through the model for a row's scores, with those"
        " of the dev rows that thresholds are taken from, or of the training rows that are compared with. Milliseconds"
        " a row: of scoring, on the machine that ran it. Training: all epochs with their looks at dev. Memory: the"
        " largest of the process until then, so of methods in one process the largest so far."
    )
    columns: dict[str, Callable[[Cost], str]] = {
        "passes a row": lambda one: shown(one.passes_per_row, ".2f"),
        "ms a row": lambda one: shown(one.milliseconds_per_row, ".3g"),
        "training, s": lambda one: shown(one.training_seconds, ".1f"),
        "memory, MiB": lambda one: shown(one.peak_memory_mib, "d"),
    }
    rows = []
    for (line, column), cell in comparison.cells.items():
        one = cost(cell.summaries)
        seconds = fmean(summary.seconds for summary in cell.summaries)
        names = [line_name(line, comparison), column.title, str(len(cell.outcomes)), f"{seconds:.1f}"]
        rows.append([*names, *(show(one) for show in columns.values())])
    return Table("methods_costs", "Costs of methods", note, ["method", "dataset", "runs", "scoring, s", *columns], rows)


def shown(value: float | None, form: str) -> str:
    """Return a number in a form, nothing for none."""
    return "" if value is None else format(value, form)
