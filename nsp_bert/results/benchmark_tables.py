"""Summaries of runs -> the paper's tables, published rows above ours."""

from __future__ import annotations

from dataclasses import dataclass

from nsp_bert.cards import load_card
from nsp_bert.results.published import PUBLISHED_SPLITS, published_table
from nsp_bert.results.summary import CALIBRATIONS, Calibrated, Summary, calibration_key
from nsp_bert.results.tables import percent, table_rows

FEWCLUE = ("eprstmt", "csldcp", "tnews", "iflytek", "ocnli", "bustm", "csl", "chid", "cluewsc")  # in Table 1's order
TEST = "test_public"


@dataclass(frozen=True)
class Table:
    """A table with its file name, title and a line that says what it holds."""

    name: str
    title: str
    note: str
    headers: list[str]
    rows: list[list[str]]


def all_tables(summaries: list[Summary]) -> list[Table]:
    """Return the tables that the summaries have something for; the settings of a model's first run are the default."""
    summaries = tell_apart(summaries)
    makers = (main_table, template_table, batch_table, calibration_table, ablation_table)
    return [table for table in (make(summaries) for make in makers) if table.rows]


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


def _checksum(summary: Summary) -> str:
    return summary.fingerprint.checkpoint[:8] if summary.fingerprint else ""


def label(summary: Summary) -> str:
    """Return a model's name with what sets its numbers apart from whole runs on real data."""
    marks = [
        "sample" if summary.sample else "",
        f"first {limit} rows" if (limit := summary.limit) else "",
    ]
    shown = ", ".join(filter(None, marks))
    return summary.model + (f" ({shown})" if shown else "")


def main_table(summaries: list[Summary]) -> Table:
    """Return Table 1: test_public, published methods and ours; the score is the mean of the nine, if all are there."""
    source = published_table("sources")["A"]
    rows = [
        [f"{name} (published)", *(f"{value:.2f}" for value in values)]
        for name, values in published_table("main_table_A").items()
    ]
    ours: dict[str, dict[str, float]] = {}
    for summary in summaries:
        if summary.split == TEST and summary.metrics and summary.default_prompt:
            ours.setdefault(label(summary), {})[summary.dataset] = summary.metrics.accuracy
    for name, accuracies in ours.items():
        score = percent(sum(accuracies.values()) / len(FEWCLUE)) if len(accuracies) == len(FEWCLUE) else ""
        rows.append(
            [name, score, *(percent(accuracies[dataset]) if dataset in accuracies else "" for dataset in FEWCLUE)]
        )
    headers = ["method", "score", *(load_card(name).title for name in FEWCLUE)]
    return Table(
        "table1", "Table 1", f"Accuracy on test_public, percent. Published: {source}.", headers, rows if ours else []
    )


def template_table(summaries: list[Summary]) -> Table:
    """Return accuracy by model and template, dev and test, published and ours."""
    rows: list[list[str]] = []
    measured: dict[tuple[str, str, int, str], float] = {}
    for summary in summaries:
        number = summary.settings.get("template_number")
        position = load_card(summary.dataset).position
        if summary.metrics and isinstance(number, int) and summary.settings["prompt_position"] == position:
            measured[(summary.dataset, label(summary), number, summary.split)] = summary.metrics.accuracy
    published = published_table("per_model_A")
    for dataset in dict.fromkeys(key[0] for key in measured if load_card(key[0]).task == "classification"):
        for model, templates in published.get(dataset, {}).items():
            figures = [f"{pair[place]:.2f}" for pair in templates for place in PUBLISHED_SPLITS.values()]
            rows.append([load_card(dataset).title, f"{model} (published)", *figures])
        for model in dict.fromkeys(key[1] for key in measured if key[0] == dataset):
            keys = [(dataset, model, number, split) for number in (1, 2, 3) for split in PUBLISHED_SPLITS]
            cells = [percent(measured[key]) if key in measured else "" for key in keys]
            rows.append([load_card(dataset).title, model, *cells])
    columns = [f"template {number}, {split}" for number in (1, 2, 3) for split in ("dev", "test")]
    note = "Percent; dev is dev_few_all, test is test_public."
    return Table("templates", "Accuracy by model and template", note, ["dataset", "model", *columns], rows)


def batch_table(summaries: list[Summary]) -> Table:
    """Return samples-contrast: ranking inside batches in file order and shuffled, over all rows, and dev thresholds."""
    published = published_table("samples_contrast_A")
    columns = [str(name) for name in published["columns"]]
    rows: list[list[str]] = []
    runs = [
        summary for summary in summaries if summary.batch_curve and summary.split == TEST and summary.default_prompt
    ]
    for dataset in dict.fromkeys(run.dataset for run in runs):
        title = load_card(dataset).title
        rows.append([title, "uer-mixed-bert-base (published)", *(f"{value:.2f}" for value in published[dataset])])
        for summary in (run for run in runs if run.dataset == dataset):
            curve = summary.batch_curve or []
            for order, values in (
                ("file order", [point.file_order for point in curve]),
                ("shuffled", [point.shuffled for point in curve]),
            ):
                sizes = [*(str(point.batch) for point in curve[:-1]), "all"]
                cells = dict(zip(sizes, map(percent, values), strict=True)) | {"thresholds": headline(summary)}
                rows.append([title, f"{label(summary)}, {order}", *(cells.get(column, "") for column in columns)])
    note = "Percent on test_public; the column dev is filled where dev_few_all itself was run."
    return Table("samples_contrast", "Samples-contrast", note, ["dataset", "model", *columns], rows)


def headline(summary: Summary) -> str:
    """Return the accuracy in percent, empty without labels."""
    return percent(summary.metrics.accuracy) if summary.metrics else ""


def calibration_table(summaries: list[Summary]) -> Table:
    """Return the accuracy beside those of the calibrated log-odds, with what each gains; the datasets' own prompts."""
    rows = [
        [load_card(summary.dataset).title, label(summary), headline(summary)]
        + [cell for name in CALIBRATIONS for cell in _gain_cells(summary.calibration.get(calibration_key(name)))]
        for summary in summaries
        if summary.split == TEST and summary.metrics and summary.calibration and summary.default_prompt
    ]
    columns = [column for name in CALIBRATIONS for column in (name, f"{name} gain")]
    note = "Percent on test_public, gains in points. The accuracy of the other tables is the uncalibrated one."
    return Table("calibration", "Calibration", note, ["dataset", "model", "accuracy", *columns], rows)


def _gain_cells(calibrated: Calibrated | None) -> list[str]:
    if not calibrated or calibrated.accuracy is None:
        return ["", ""]
    return [percent(calibrated.accuracy), f"{100 * (calibrated.gain or 0):+.2f}"]


def ablation_table(summaries: list[Summary]) -> Table:
    """Return every run beside the others of its dataset where prompt options differ."""
    test = [summary for summary in summaries if summary.split == TEST]
    several = [summary for summary in test if sum(run.dataset == summary.dataset for run in test) > 1]
    headers, rows = table_rows(several) if several else ([], [])
    return Table("ablations", "Ablations", "Every combination that was run, on test_public.", headers, rows)
