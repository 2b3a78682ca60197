"""NSP-BERT zero-shot: each candidate's pair scored once by the NSP head, then mapped to answers (paper, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nsp_bert.answer_mapping import split_by_sizes
from nsp_bert.cards import CardT
from nsp_bert.methods.calibration import add_calibrated, score_calibrated
from nsp_bert.methods.scored import score_task, settled_run
from nsp_bert.results.published import Published
from nsp_bert.results.runs import Run
from nsp_bert.rows import ContentT
from nsp_bert.scoring.exact import Question, Undecided
from nsp_bert.session import PromptedTask, Session, Task


def contrast(
    task: PromptedTask[ContentT],
    session: Session[CardT],
    published: Published | None = None,
    beside: Undecided | None = None,
) -> Run:
    """Score a task's pairs and return its run, with what `--calibration` asks for.

    `beside` says on which of the examples' scores what is shown beside the predictions depends. `settled_run` says what
    becomes of the published number, and of an interrupted run.
    """
    scored = score_task(task, session)
    calibrated = score_calibrated(task, session, scored)
    questions = [one.question for one in calibrated]
    if beside:
        questions.append(Question([scored], OfExamples(task, beside)))
    return add_calibrated(settled_run(task, session, scored, published, questions), task, session, calibrated)


@dataclass(frozen=True)
class OfExamples:
    """What is undecided of all of a task's scores, by what is of its examples' alone."""

    task: Task
    undecided: Undecided

    def __call__(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return bool (scores,) for scores between `low` and `high`."""
        numbered = split_by_sizes(self.task.sizes, np.arange(len(low)))
        places = np.concatenate(self.task.scores_of(numbered))
        found = np.zeros(len(low), bool)
        found[places] = self.undecided(low[places], high[places])
        return found
