"""NSP-BERT zero-shot: each candidate's pair scored once by the NSP head, then mapped to answers (paper, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nsp_bert.answer_mapping import Predictions, split_by_sizes
from nsp_bert.cards import SAMPLES_CONTRAST, CardT
from nsp_bert.methods.calibration import calibrate
from nsp_bert.results.published import Published
from nsp_bert.results.runs import Answer, Run, rounded
from nsp_bert.results.summary import Details
from nsp_bert.rows import ContentT
from nsp_bert.scoring.scorer import Scores
from nsp_bert.session import Session, Task


def contrast(task: Task[ContentT], session: Session[CardT], published: Published | None = None) -> Run:
    """Score a task's pairs and return its run.

    The published number stays out where the run is not comparable: other data, position or length, unfinished. An
    interrupted run keeps the examples whose scores are all there.
    """
    session = session.settled(task)
    session.announce(task)
    found = session.score(task.pairs(task.contents), sum(task.sizes))
    scores = split_by_sizes(task.sizes, found.values)
    run = make_run(task, session, found, scores, published)
    return calibrate(run, task, session, found.values)


def make_run(
    task: Task[ContentT],
    session: Session[CardT],
    found: Scores,
    scores: list[np.ndarray],
    published: Published | None,
) -> Run:
    """Return the run of these scores."""
    predictions = task.predict(scores)
    thresholds = None if predictions.thresholds is None else rounded(predictions.thresholds)
    return Run(
        subject=session.subject(task),
        settings=session.settings,
        default_prompt=task.prompt == task.card.default_prompt,
        sample=session.data.sample,
        complete=found.complete,
        answers=make_answers(task, predictions, task.scores_of(scores)),
        published=published if found.complete and session.as_published else None,
        pairs=found.pairs,
        seconds=found.seconds,
        headline="accuracy_thresholds" if task.card.mapping == SAMPLES_CONTRAST else None,
        details=Details(thresholds=thresholds, precision_check=session.precision_check),
        fingerprint=session.fingerprint,
    )


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
