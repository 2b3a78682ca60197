"""Candidates-contrast runs: each candidate of an example scored once, the best answers (paper, section 3.3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nsp_bert.answer_mapping import answer_by_candidates, candidates_contrast, split_by_sizes
from nsp_bert.calibration import Scored, calibrate
from nsp_bert.prompting import Prompting
from nsp_bert.results import Run
from nsp_bert.session import Session


def contrast_candidates(
    card: Any,
    session: Session,
    examples: list[Any],
    candidates: list[list[str]],
    prompting: Prompting,
    size: str,
    *,
    contents: list[Any] | None = None,
    more: list[dict[str, Any]] | None = None,
    **result: Any,
) -> Run:
    """Score every example with each of its candidates and return the run.

    `candidates` holds the label values that each example is offered, in the order of its pairs; `size` announces the
    rows. `contents` stand in for the examples' own where those do not say all that is scored; `more` is what else the
    result file says of each example, `result` what Session.result takes. An interrupted run keeps the examples whose
    candidates are all scored.
    """
    contents = contents or [example.content for example in examples]
    sizes = [len(names) for names in candidates]
    session = session.settled(
        lambda count: prompting.pairs(contents[:count]),
        sizes,
        lambda log_odds, count: candidates_contrast(split_by_sizes(sizes[:count], log_odds)),
    )
    session.announce(card, size, sum(sizes), prompting.settings)
    scores = session.score(prompting.pairs(contents), sum(sizes))
    answers = answer_by_candidates(examples, candidates, scores.values, more)
    run = session.result(card, answers, scores, settings=prompting.settings, **result)

    def predict(log_odds: np.ndarray) -> tuple[list[str], dict[str, Any]]:
        best = candidates_contrast(split_by_sizes(sizes, log_odds))
        return [names[place] for names, place in zip(candidates, best, strict=True)], {}

    scored = Scored(contents, sizes, prompting, scores.values)
    return calibrate(run, card, session.options.calibration, session.score, scored, predict)
