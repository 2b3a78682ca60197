"""Summaries of runs -> the paper's tables, published rows above ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nsp_bert.cards import Card, load_card, load_cards
from nsp_bert.results.published import PAPER, SCORE, Value, find, load_published
from nsp_bert.results.summary import CALIBRATIONS, NSP_BERT, Calibrated, Summary, calibration_key
from nsp_bert.results.tables import percent, table_rows

FEWCLUE = ("eprstmt", "csldcp", "tnews", "iflytek", "ocnli", "bustm", "csl", "chid", "cluewsc")  # in Table 1's order
TEST = "test_public (of other datasets on the split that their card names)"
PUBLISHED = " (published)"  # ends the name of a row that is not ours
PRINTED_SPLITS = {"dev_few_all": "dev", "test_public": "test"}  # split -> column, in the columns' order
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)  # rows of a batch, in the paper's table
CONTRAST: dict[str, dict[str, Value]] = {  # column of samples-contrast -> what is said of a number in it
    "dev": {"split": "dev_few_all", "mapping": "thresholds"},
    **{str(size): {"split": "test_public", "mapping": "batch", "batch": size} for size in BATCHES},
    "all": {"split": "test_public", "mapping": "ranked"},
    "thresholds": {"split": "test_public", "mapping": "thresholds"},
}


@dataclass(frozen=True)
class Table:
    """A table with its file name, title, a line that says what it holds, and lines to be read below it."""

    name: str
    title: str
    note: str
    headers: list[str]
    rows: list[list[str]]
    below: Sequence[str] = ()


def all_tables(summaries: list[Summary]) -> list[Table]:
    """Return the tables that the summaries have something for; the settings of a model's first run are the default."""
    summaries = tell_titles_apart(tell_apart(summaries))
    test = [summary for summary in summaries if summary.split == card_of(summary).split]
    makers = (batch_table, calibration_table, ablation_table)
    tables = [main_table(test), template_table(summaries), *(make(test) for make in makers)]
    return [table for table in tables if table.rows]


def tell_apart(summaries: list[Summary]) -> list[Summary]:
    """Return the summaries with a part of the checkpoint's checksum beside a name that several checkpoints have."""
    checkpoints: dict[str, set[str]] = {}
    for summary in summaries:
        checkpoints.setdefault(summary.model, set()).add(_checksum(summary))
    shared = {name for name, checksums in checkpoints.items() if len(checksums) > 1}
    return [
        summary.model_copy(update={"model": f"{summary.model} {_checksum(summary)}"})
        if summary.model in shared
        else summary
        for summary in summaries
    ]


def tell_titles_apart(summaries: list[Summary]) -> list[Summary]:
    """Return the summaries with a dataset's name beside a title that another dataset has, one of the nine for one."""
    datasets = {title: {name} for name, title in fewclue_titles().items()}
    for summary in summaries:
        datasets.setdefault(summary.title, set()).add(summary.dataset)
    return [
        summary.model_copy(update={"title": f"{summary.title} ({summary.dataset})"})
        if len(datasets[summary.title]) > 1 and summary.dataset not in FEWCLUE
        else summary
        for summary in summaries
    ]


def fewclue_titles() -> dict[str, str]:
    """Return name -> title of the nine; the name where the card cannot be read."""
    titles = {card.name: card.title for card in load_cards()}
    return {name: titles.get(name, name) for name in FEWCLUE}


def card_of(summary: Summary) -> Card:
    """Return the card of a run's dataset, which may be one of several parts of it."""
    return load_card(summary.dataset.removesuffix(f"_{summary.part}") if summary.part else summary.dataset)


def _checksum(summary: Summary) -> str:
    return summary.fingerprint.checkpoint[:8] if summary.fingerprint else ""


def label(summary: Summary) -> str:
    """Return a model's name with the method, if it is another, and what sets a run apart from one of all real rows."""
    shown = ", ".join(filter(None, ["sample" if summary.sample else "", summary.rows]))
    method = "" if summary.method == NSP_BERT else f"{summary.method}, "
    return method + summary.model + (f" ({shown})" if shown else "")


def main_table(summaries: list[Summary]) -> Table:
    """Return Table 1, published methods and ours without training; the score is the mean of the nine, if all are there.

    Other datasets have a column each after the nine, and no part in the score.
    """
    runs = [run for run in summaries if run.metrics and run.default_prompt]
    others = {run.dataset: run.title for run in runs if run.dataset not in FEWCLUE}
    ours: dict[str, dict[str, float]] = {}
    for run in runs:
        if run.metrics and run.train is None:
            ours.setdefault(label(run), {})[run.dataset] = run.metrics.accuracy
    rows = [[*row, *("" for _ in others)] for row in published_rows()]
    for name, accuracies in ours.items():
        cells = [percent(accuracies[key]) if key in accuracies else "" for key in (*FEWCLUE, *others)]
        rows.append([name, score(accuracies), *cells])
    headers = ["method", "score", *fewclue_titles().values(), *others.values()]
    note = f"Accuracy on {TEST}, percent; score: the mean of the nine. Published: {load_published().sources[PAPER]}."
    return Table("table1", "Table 1", note, headers, rows if ours else [])


def score(accuracies: dict[str, float]) -> str:
    """Return the mean of the nine in percent, empty where one of them is missing."""
    nine = [accuracies[name] for name in FEWCLUE if name in accuracies]
    return percent(sum(nine) / len(nine)) if len(nine) == len(FEWCLUE) else ""


def published_rows() -> list[list[str]]:
    """Return the rows of the paper's Table 1: the method's name as the paper writes it, the score, the nine."""
    names = load_published().method_names
    methods: dict[str, dict[str, float]] = {}
    for record in find(source=PAPER, table=1):
        methods.setdefault(names[record.method], {})[record.dataset] = record.value
    return [
        [name + PUBLISHED, *(f"{values[key]:.2f}" for key in (SCORE, *FEWCLUE))] for name, values in methods.items()
    ]


def published_models(dataset: str, columns: dict[str, dict[str, Value]]) -> list[list[str]]:
    """Return a row for each of the paper's models: its name, and its accuracy in each column, empty where it has none.

    A column stands for what the records say that belong into it.
    """
    models: dict[str, dict[str, str]] = {}
    for column, setting in columns.items():
        for record in find(method=NSP_BERT, source=PAPER, dataset=dataset, **setting):
            models.setdefault(f"{record.model}{PUBLISHED}", {})[column] = f"{record.value:.2f}"
    return [[model, *(cells.get(column, "") for column in columns)] for model, cells in models.items()]


def template_table(summaries: list[Summary]) -> Table:
    """Return accuracy by model and template, dev and test, published and ours."""
    measured: dict[tuple[str, str, int, str], float] = {}
    titles: dict[str, str] = {}
    for summary in summaries:
        card, number = card_of(summary), summary.settings.get("template_number")
        column = {card.dev_split: "dev", card.split: "test"}.get(summary.split)
        own_place = summary.settings.get("prompt_position") == card.position
        if card.task == "classification" and summary.metrics and isinstance(number, int) and column and own_place:
            titles[summary.dataset] = summary.title
            measured[(summary.dataset, label(summary), number, column)] = summary.metrics.accuracy
    numbers = range(1, max([3, *(key[2] for key in measured)]) + 1)
    columns: dict[str, dict[str, Value]] = {
        f"template {number}, {column}": {"template": number, "split": split}
        for number in numbers
        for split, column in PRINTED_SPLITS.items()
    }
    rows: list[list[str]] = []
    for dataset, title in titles.items():
        rows += [[title, *row] for row in published_models(dataset, columns)]
        for model in dict.fromkeys(key[1] for key in measured if key[0] == dataset):
            keys = [(dataset, model, number, column) for number in numbers for column in PRINTED_SPLITS.values()]
            rows.append([title, model, *(percent(measured[key]) if key in measured else "" for key in keys)])
    note = f"Percent; dev is dev_few_all (or what the card names as dev_split), test is {TEST}."
    return Table("templates", "Accuracy by model and template", note, ["dataset", "model", *columns], rows)


def batch_table(summaries: list[Summary]) -> Table:
    """Return samples-contrast: ranking inside batches in file order and shuffled, over all rows, and dev thresholds."""
    rows: list[list[str]] = []
    runs = [summary for summary in summaries if summary.batch_curve and summary.default_prompt]
    for dataset, title in {run.dataset: run.title for run in runs}.items():
        rows += [[title, *row] for row in published_models(dataset, CONTRAST)]
        for summary in (run for run in runs if run.dataset == dataset):
            curve = summary.batch_curve or []
            for order, values in (
                ("file order", [point.file_order for point in curve]),
                ("shuffled", [point.shuffled for point in curve]),
            ):
                sizes = [*(str(point.batch) for point in curve[:-1]), "all"]
                cells = dict(zip(sizes, map(percent, values), strict=True)) | {"thresholds": headline(summary)}
                rows.append([title, f"{label(summary)}, {order}", *(cells.get(column, "") for column in CONTRAST)])
    note = f"Percent on {TEST}; the column dev holds published accuracies alone."
    return Table("samples_contrast", "Samples-contrast", note, ["dataset", "model", *CONTRAST], rows)


def headline(summary: Summary) -> str:
    """Return the accuracy in percent, empty without labels."""
    return percent(summary.metrics.accuracy) if summary.metrics else ""


def calibration_table(summaries: list[Summary]) -> Table:
    """Return the accuracy beside those of the calibrated log-odds, with what each gains; the datasets' own prompts."""
    rows = [
        [summary.title, label(summary), headline(summary)]
        + [cell for name in CALIBRATIONS for cell in _gain_cells(summary.calibration.get(calibration_key(name)))]
        for summary in summaries
        if summary.metrics and summary.calibration and summary.default_prompt
    ]
    columns = [column for name in CALIBRATIONS for column in (name, f"{name} gain")]
    note = f"Percent on {TEST}, gains in points. The accuracy of the other tables is the uncalibrated one."
    return Table("calibration", "Calibration", note, ["dataset", "model", "accuracy", *columns], rows)


def _gain_cells(calibrated: Calibrated | None) -> list[str]:
    if not calibrated or calibrated.accuracy is None:
        return ["", ""]
    return [percent(calibrated.accuracy), f"{100 * (calibrated.gain or 0):+.2f}"]


def ablation_table(summaries: list[Summary]) -> Table:
    """Return every run beside the others of its dataset where prompt options differ."""
    several = [one for one in summaries if sum(run.dataset == one.dataset for run in summaries) > 1]
    headers, rows = table_rows(several) if several else ([], [])
    return Table("ablations", "Ablations", f"Every combination that was run, on {TEST}.", headers, rows)
