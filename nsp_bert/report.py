"""Result files -> runs with their rows and texts, as the report reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nsp_bert.errors import UserError
from nsp_bert.tables import Summary

MARKS = ("dataset", "split", "metrics")  # tell a run's summary from other JSON files
NEEDED = (*MARKS, "title", "model", "settings", "sample", "complete", "n", "published", "notes")
ROW = ("index", "label", "prediction", "scores")


@dataclass(frozen=True)
class ResultRun:
    """One run: its summary, its rows in file order, and for each row what a reader sees of it (empty if not kept)."""

    summary: Summary
    rows: list[dict[str, Any]]
    texts: list[dict[str, Any]]

    @property
    def labels(self) -> list[str]:
        """Return the labels that every row is offered, in the order of the scores; none where they differ.

        Without true labels those that were predicted are known, the others are empty.
        """
        confusion = self.summary["metrics"].get("confusion")
        if confusion:
            return confusion["labels"]
        prompts = self.summary.get("prompts")
        if not prompts:
            return []
        found = {best(row["scores"]): row["prediction"] for row in self.rows}
        return [found.get(place, "") for place in range(len(prompts))]

    @property
    def contrasts_samples(self) -> bool:
        """Return whether a row has a single score that thresholds make a label of."""
        return "thresholds" in self.summary

    @property
    def labelled(self) -> bool:
        """Return whether the rows have true labels."""
        return bool(self.rows) and self.rows[0]["label"] is not None


def best(scores: list[float]) -> int:
    """Return the place of the highest score, the first of equals."""
    return scores.index(max(scores))


def read_results(folder: Path) -> list[ResultRun]:
    """Return the runs of a folder and its subfolders, by dataset, the same run once.

    Raises UserError when there is none, and naming the file that cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the one that a script was given as --output")
    found: dict[str, Path] = {}
    summaries: dict[str, Summary] = {}
    for path in sorted(folder.rglob("*.*.json")):
        summary = read_summary(path)
        if summary:
            key = identity(summary)
            found[key], summaries[key] = path, summary
    if not found:
        raise UserError(f"{folder}: no results in there; run a script with --output {folder} first")
    order = sorted(
        found, key=lambda key: (summaries[key]["title"].lower(), summaries[key]["split"], summaries[key]["model"])
    )
    return [read_run(found[key], summaries[key]) for key in order]


def identity(summary: Summary) -> str:
    """Return what two results of the same run have in common."""
    names = [summary[key] for key in ("model", "dataset", "split", "sample", "settings")]
    own = summary.get("fingerprint", {})
    return json.dumps([names, own.get("data"), own.get("checkpoint")], sort_keys=True)


def read_summary(path: Path) -> Summary | None:
    """Return a run's summary, None for a JSON file of another kind. Raises UserError when it cannot be read."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run its script again or remove the file") from error
    if not isinstance(summary, dict) or not all(key in summary for key in MARKS):
        return None
    lacking = [key for key in NEEDED if key not in summary]
    if lacking:
        raise UserError(f"{path}: lacks {', '.join(lacking)}; run its script again with this version")
    return summary


def read_run(path: Path, summary: Summary) -> ResultRun:
    """Return the run whose summary stands at a path, with the rows and texts beside it."""
    rows = list(read_lines(path.with_suffix(".jsonl"), ROW))
    texts_path = path.with_suffix(".texts.jsonl")
    texts = {one["index"]: one for one in read_lines(texts_path, ("index",))} if texts_path.is_file() else {}
    if len(rows) != summary["n"]:
        raise UserError(f"{path.with_suffix('.jsonl')}: {len(rows)} rows instead of {summary['n']}; run it again")
    shown = [{key: value for key, value in texts.get(row["index"], {}).items() if key != "index"} for row in rows]
    return ResultRun(summary, rows, shown)


def read_lines(path: Path, needed: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON lines file. Raises UserError naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run its script again") from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON ({error}); run its script again") from error
        if not isinstance(row, dict) or not all(key in row for key in needed):
            raise UserError(f"{path}:{number}: not a row with {', '.join(needed)}; run its script again")
        yield row
