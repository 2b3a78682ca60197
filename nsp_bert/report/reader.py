"""Result files -> runs with their rows and texts, as the report reads them: checked, whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nsp_bert.cards import validation_reasons
from nsp_bert.errors import UserError
from nsp_bert.files import parse_json, utf8_lines
from nsp_bert.results.runs import strange_files
from nsp_bert.results.summary import ROWS, TEXTS, Summary

MARKS = ("dataset", "split", "metrics")  # tell a run's summary from other JSON files
RUN_AGAIN = "run its script again"
Shown = dict[str, str | int | list[str]]
RecordT = TypeVar("RecordT", bound=BaseModel)


class ResultRow(BaseModel):
    """A line of a result file; `candidates` where every row has its own, `cluster` where some belong together."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    index: int
    id: str | int | float | None = None
    label: str | None
    prediction: str
    scores: list[float] = Field(min_length=1)
    candidates: list[str] | None = None
    cluster: int | None = None


class ResultText(BaseModel):
    """What a reader sees of a row."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    __pydantic_extra__: Shown

    index: int


@dataclass(frozen=True)
class ResultRun:
    """One run: its summary, its rows in file order, and for each row what a reader sees of it (empty if not kept)."""

    summary: Summary
    rows: list[ResultRow]
    texts: list[Shown]

    @property
    def labels(self) -> list[str]:
        """The labels that every row is offered, in the order of the scores; none where they differ."""
        return self.summary.labels

    @property
    def contrasts_samples(self) -> bool:
        """Whether a row has a single score that thresholds make a label of."""
        return self.summary.thresholds is not None

    @property
    def labelled(self) -> bool:
        """Whether the rows have true labels."""
        return bool(self.rows) and self.rows[0].label is not None


def read_results(folder: Path) -> list[ResultRun]:
    """Return the runs of a folder and its subfolders, by dataset, the same run once.

    Raises UserError when there is none, and naming the file that cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the one that a script was given as --output")
    by_identity: dict[str, tuple[Path, Summary]] = {}
    for path in sorted(folder.rglob("*.*.json")):
        summary = read_summary(path)
        if summary:
            by_identity[identity(summary)] = path, summary
    if not by_identity:
        raise UserError(f"{folder}: no results in there; run a script with --output {folder} first")
    order = sorted(by_identity.values(), key=lambda entry: (entry[1].title.lower(), entry[1].split, entry[1].model))
    return [read_run(path, summary) for path, summary in order]


def identity(summary: Summary) -> str:
    """Return what two results of the same run have in common."""
    own = summary.fingerprint
    names = [summary.model, summary.dataset, summary.split, summary.method, summary.train, summary.seed]
    makings = [own.data, own.checkpoint] if own else []
    return json.dumps([names, summary.sample, summary.settings, makings], sort_keys=True)


def read_summary(path: Path) -> Summary | None:
    """Return a run's summary, None for a JSON file of another kind. Raises UserError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {RUN_AGAIN} or remove the file") from error
    entries = parse_json(text, str(path), f"{RUN_AGAIN} or remove the file")
    if not isinstance(entries, dict) or not all(key in entries for key in MARKS):
        return None
    return Summary.from_json(text, str(path))


def read_run(path: Path, summary: Summary) -> ResultRun:
    """Return the run whose summary is at a path, with the rows and texts beside it; texts may be missing.

    Raises UserError where they are not those that were written with the summary.
    """
    rows_path, texts_path = path.with_suffix(ROWS), path.with_suffix(TEXTS)
    for strange in strange_files(path, summary):
        if strange.is_file() or strange == rows_path:
            raise UserError(f"{strange}: missing, or not what was written with {path.name}; {RUN_AGAIN}")
    rows = list(read_lines(rows_path, ResultRow))
    texts = {text.index: text for text in read_lines(texts_path, ResultText)} if texts_path.is_file() else {}
    if len(rows) != summary.n:
        raise UserError(f"{rows_path}: {len(rows)} rows instead of {summary.n}; run it again")
    shown = [texts[row.index].__pydantic_extra__ if row.index in texts else {} for row in rows]
    return ResultRun(summary, rows, shown)


def read_lines(path: Path, kind: type[RecordT]) -> Iterator[RecordT]:
    """Yield the objects of a JSON lines file. Raises UserError naming file, line and every key that is not right."""
    try:
        with path.open("rb") as stream:
            for number, line in utf8_lines(stream, str(path)):
                yield _validated(kind, line, f"{path}:{number}")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); {RUN_AGAIN}") from error


def _validated(kind: type[RecordT], line: str, place: str) -> RecordT:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise UserError(f"{place}: {validation_reasons(error)}; {RUN_AGAIN}") from error
