"""From a task to its run, whatever makes the scores: score, settle what decides, predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nsp_bert.answer_mapping import Predictions, split_by_sizes
from nsp_bert.cards import SAMPLES_CONTRAST, CardT
from nsp_bert.environment import peak_memory
from nsp_bert.results.published import Published
from nsp_bert.results.runs import Answer, Run, rounded
from nsp_bert.results.summary import Details, PrecisionCheck
from nsp_bert.rows import ContentT
from nsp_bert.scoring.exact import Check, Engine, PairTable, Question, Scored, settle_and_check
from nsp_bert.session import PromptT, Session, Task


def score_task(task: Task[ContentT], session: Session[CardT, PromptT]) -> Scored:
    """Say what runs on what, and return the scores of a task's pairs."""
    table = table_of(task)
    session.announce(task, table.pairs)
    return session.score(table)


def table_of(task: Task[ContentT]) -> PairTable[ContentT]:
    """Return a task's pairs."""
    return PairTable(task.pairs, task.contents, task.sizes, task.width)


def settled_run(
    task: Task[ContentT],
    session: Session[CardT, PromptT],
    scored: Scored,
    published: Published | None = None,
    questions: Sequence[Question] = (),
) -> Run:
    """Return the run of a task whose scores are there, once they decide its predictions and `questions` beside them.

    The published number stays out where the run is not comparable: other data, prompt or length, unfinished. An
    interrupted run keeps the examples whose scores are all there.
    """
    asked = [Question([scored], task.undecided), *questions]
    check = settle_and_check(asked, scored, task.sizes, lambda values: _predict(task, values).labels)
    return make_run(task, session, scored, check, published)


def _predict(task: Task[ContentT], values: np.ndarray) -> Predictions:
    return task.predict(split_by_sizes(task.sizes, values))


def make_run(
    task: Task[ContentT], session: Session[CardT, PromptT], scored: Scored, check: Check, published: Published | None
) -> Run:
    """Return the run of these scores."""
    predictions = _predict(task, scored.values)
    thresholds = None if predictions.thresholds is None else rounded(predictions.thresholds)
    twice = precision_check(session.engine, scored, check)
    return Run(
        subject=session.subject(task),
        settings=session.settings,
        default_prompt=task.prompt.is_default(task.card),
        sample=session.data.sample,
        complete=scored.complete,
        answers=make_answers(task, predictions, task.scores_of(split_by_sizes(task.sizes, scored.values))),
        published=published if scored.complete and session.as_published else None,
        pairs=scored.pairs,
        seconds=scored.seconds,
        passes=sum(task.sizes) // task.width,
        peak_memory_mib=peak_memory(),
        headline="accuracy_thresholds" if task.mapping == SAMPLES_CONTRAST else None,
        details=Details(thresholds=thresholds, precision_check=twice),
        notes=precision_notes(session.engine, scored, check),
        fingerprint=session.fingerprint,
    )


def precision_check(engine: Engine, scored: Scored, check: Check) -> PrecisionCheck | None:
    """Return what `--precision auto` did for predictions as of float32, None where one precision was all."""
    if not engine.fast or not scored.complete:
        return None
    return PrecisionCheck(
        fast=engine.fast,
        pairs=len(scored.values),
        pairs_twice=int(scored.exact.sum()),
        largest_deviation=engine.deviation,
        margin=2 * engine.deviation,
        rows_checked=check.rows,
        flips=check.flips,
    )


def precision_notes(engine: Engine, scored: Scored, check: Check) -> tuple[str, ...]:
    """Return what is to be said below the table of predictions by `--precision auto`."""
    if check.flips:
        return (f"{check.flips} of {check.rows} rows that looked certain in {engine.fast} changed in float32",)
    return (f"some predictions are of {engine.fast} alone",) if engine.fast and not scored.complete else ()


def make_answers(task: Task[ContentT], predictions: Predictions, scores: Sequence[np.ndarray]) -> list[Answer]:
    """Return what the results say of each example that has a prediction."""
    rows = enumerate(zip(task.examples, predictions.labels, scores, strict=True))
    return [
        Answer(
            example.index,
            example.id,
            example.label,
            label,
            row,
            task.more(place),
            example.cluster,
            example.shown,
        )
        for place, (example, label, row) in rows
        if label is not None
    ]
