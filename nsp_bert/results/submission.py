"""Predictions of test.json -> the nine files of the FewCLUE leaderboard, checked before they are written."""

from __future__ import annotations

import zipfile
from pathlib import Path

from nsp_bert.cards import CardBase, Submission, card_names, load_cards
from nsp_bert.errors import UserError
from nsp_bert.files import replacing, write_json_lines
from nsp_bert.results.runs import Answer, Run

SUBMISSION_SPLIT = "test"
ARCHIVE = "fewclue_submission.zip"
TYPES: dict[str, type] = {"string": str, "integer": int}


def check_leaderboard(card: CardBase, sample: bool) -> None:
    """Raise UserError, before anything is scored, where there is no leaderboard or the rows are not its own."""
    if not card.submission:
        raise UserError(f"{card.title} has no file on the leaderboard; leave out --submission")
    if sample:
        raise UserError(
            f"--submission: {card.title} is the bundled sample here, not the leaderboard's rows; fetch the data with"
            " `python datasets/download.py fewclue` or name them with --data-dir"
        )


def write_submission(card: CardBase, run: Run, folder: Path) -> Path:
    """Write the leaderboard's file of a complete run over test.json and return its path; one row a row, in file order.

    Raises UserError when an id is not of the leaderboard's type or the predictions are not those of the whole file.
    """
    check_leaderboard(card, run.sample)
    form: Submission = card.submission  # type: ignore[assignment]
    rows = [submission_row(form, answer) for answer in run.answers]
    check_rows(card, form, run, rows)
    path = folder / form.file
    write_json_lines(rows, path)
    return path


def submission_row(form: Submission, answer: Answer) -> dict[str, object]:
    """Return the leaderboard's row of an answer."""
    return {"id": answer.id, form.answer: TYPES[form.answer_type](answer.prediction)}


def check_rows(card: CardBase, form: Submission, run: Run, rows: list[dict[str, object]]) -> None:
    """Raise UserError unless the rows are those of every example in order, each id of the leaderboard's type."""
    if not run.complete or [answer.index for answer in run.answers] != list(range(len(rows))):
        raise UserError(f"{form.file}: not every row of {card.title}'s test.json is predicted; run it to its end")
    seen: set[object] = set()
    for number, row in enumerate(rows, 1):
        if row["id"] in seen:
            raise UserError(
                f"{card.name}/{SUBMISSION_SPLIT}.json: row {number} has the id {row['id']!r} again, the leaderboard"
                " takes every id once; fetch the public test.json"
            )
        seen.add(row["id"])
        if type(row["id"]) is not TYPES[form.id]:
            raise UserError(
                f"{card.name}/{SUBMISSION_SPLIT}.json: row {number} has the id {row['id']!r}, the leaderboard takes"
                f" {form.id} ids; fetch the public test.json"
            )


def zip_submissions(folder: Path) -> str:
    """Zip the leaderboard's files when all are in the folder; return a line that tells what was done or is missing."""
    cards = load_cards()
    names = sorted(card.submission.file for card in cards if card.submission)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        return (
            f"submission: {len(names) - len(missing)} of {len(names)} files in {folder}; missing: {', '.join(missing)}"
        )
    archive = folder / ARCHIVE
    with replacing(archive) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as stream:
        for name in names:
            stream.write(folder / name, name)
    unread = ", ".join(sorted(set(card_names()) - {card.name for card in cards}))
    less = f", without those of cards that cannot be read: {unread}" if unread else ""
    return f"submission: all {len(names)} files, zipped in {archive}{less}"
