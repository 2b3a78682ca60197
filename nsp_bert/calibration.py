"""Calibrated predictions beside the headline, never in its place: content-free prompts, and the mean over templates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from nsp_bert.answer_mapping import split_by_sizes
from nsp_bert.metrics import mcnemar
from nsp_bert.prompting import Prompting
from nsp_bert.results import Answer, Run, accuracy_of, rounded
from nsp_bert.scorer import EncodedPair, Scores

CONTENT_FREE, ENSEMBLE = "content-free", "ensemble"
# Words for nothing and bare punctuation (Zhao et al. 2021 take "N/A" too). The empty text that they also take would
# leave a segment of [SEP] alone, which no pre-training shows.
NEUTRAL_TEXTS = {"zh": ("无", "。", "……"), "en": ("N/A", ".", "...")}

Score = Callable[[Iterable[EncodedPair], int], Scores]
Predict = Callable[[np.ndarray], tuple[list[str], dict[str, Any]]]


@dataclass(frozen=True)
class Scored:
    """What the headline has scored: `log_odds` float32 (pairs,) of each content in turn, `sizes` pairs of each."""

    contents: list[Any]
    sizes: list[int]
    prompting: Prompting
    log_odds: np.ndarray


def calibrate(run: Run, card: Any, methods: Iterable[str], score: Score, scored: Scored, predict: Predict) -> Run:
    """Return a run with what each method would have answered beside its answers.

    `predict(log-odds float32 (pairs,))` returns a prediction for each answer, and what the result file says of them.
    A run that is not complete stays as it is. One whose calibration is interrupted keeps its answers and is no longer
    complete; the method that was interrupted adds nothing.
    """
    for name in (one for one in METHODS if one in methods):
        if not run.complete:
            break
        if name == ENSEMBLE and len(card.templates) < 2:
            run = replace(run, notes=(*run.notes, f"no {name}: the dataset's card has a single template"))
            continue
        scores, facts = METHODS[name](card, partial(score_more, score, f"{run.title} {name}"), scored)
        if scores.complete:
            predictions, more = predict(scores.values)
            run = add_method(run, name, predictions, facts | more)
        else:
            run = replace(run, complete=False, published=None)
    return run


def score_more(score: Score, title: str, pairs: Iterable[EncodedPair], total: int) -> Scores:
    """Score pairs that the headline does not need, and say how many."""
    print(f"{title}: {total} more pairs")
    return score(pairs, total)


def add_method(run: Run, name: str, predictions: list[str], facts: dict[str, Any]) -> Run:
    """Return a run with a method's predictions, one an answer, and with `facts` of the method in its result file."""
    key = result_key(name)
    answers = [
        replace(answer, more=answer.more | {f"prediction_{key}": prediction})
        for answer, prediction in zip(run.answers, predictions, strict=True)
    ]
    compared = compare(run.answers, predictions)
    found = run.details.get("calibration", {}) | {key: compared | facts}
    run = replace(run, answers=answers, details=run.details | {"calibration": found})
    accuracy = accuracy_of(
        [replace(answer, prediction=prediction) for answer, prediction in zip(answers, predictions, strict=True)]
    )
    if not accuracy:
        return run
    extra = run.extra | {f"accuracy_{key}": accuracy}
    return replace(run, extra=extra, notes=(*run.notes, note(name, compared)))


def result_key(name: str) -> str:
    """Return how a method is spelled in result files."""
    return name.replace("-", "_")


def compare(answers: list[Answer], predictions: list[str]) -> dict[str, Any]:
    """Return the accuracy of predictions beside that of the answers' own, with McNemar's p; nothing without labels."""
    if answers[0].label is None:
        return {}
    right = np.array([answer.label == answer.prediction for answer in answers])
    now = np.array([answer.label == prediction for answer, prediction in zip(answers, predictions, strict=True)])
    gained, lost = int((now & ~right).sum()), int((right & ~now).sum())
    return {
        "accuracy": float(now.mean()),
        "gain": (gained - lost) / len(answers),
        "gained": gained,
        "lost": lost,
        "p": mcnemar(gained, lost),
    }


def note(name: str, compared: dict[str, Any]) -> str:
    """Return the line below the table that tells what a method changes."""
    return (
        f"{name} {100 * compared['gain']:+.2f} points ({compared['gained']} rows right that were wrong,"
        f" {compared['lost']} the other way, p = {compared['p']:.2g})"
    )


def content_free(card: Any, score: Score, scored: Scored) -> tuple[Scores, dict[str, Any]]:
    """Return the log-odds less those of the same prompts with neutral texts in the text's place, on average.

    Zhao et al. 2021, "Calibrate Before Use" (arXiv:2102.09690), subtracted in log-odds. Prompts that are alike are
    scored once: for classification, labels x neutral texts.
    """
    texts = NEUTRAL_TEXTS.get(card.language, NEUTRAL_TEXTS["en"])
    neutral = [[with_text(content, text) for text in texts] for content in scored.contents]
    sizes = {one: size for group, size in zip(neutral, scored.sizes, strict=True) for one in group}
    scores = score(scored.prompting.pairs(list(sizes)), sum(sizes.values()))
    rows = split_by_sizes(sizes.values(), scores.values)
    found = dict(zip(sizes, rows, strict=True))
    prior = np.concatenate([np.mean([found[one] for one in group], axis=0) for group in neutral])
    facts = {"texts": list(texts)} | label_prior(card, scored.sizes, prior)
    return scores._replace(values=scored.log_odds - prior), facts


def with_text(content: Any, text: str) -> Any:
    """Return a content with another text; one that is a text itself is replaced."""
    return text if isinstance(content, str) else content.with_text(text)


def label_prior(card: Any, sizes: list[int], prior: np.ndarray) -> dict[str, Any]:
    """Return the prior of each label where every label has a pair of its own, so that all examples share them."""
    labels = list(getattr(card, "labels", ()))
    if set(sizes) != {len(labels)}:
        return {}
    return {"prior": dict(zip(labels, rounded(prior[: len(labels)]), strict=True))}


def ensemble(card: Any, score: Score, scored: Scored) -> tuple[Scores, dict[str, Any]]:
    """Return the mean of the log-odds over the card's templates; what the run's own has scored is not scored again."""
    prompting, values = scored.prompting, scored.log_odds
    others = [template for number, template in enumerate(card.templates, 1) if number != prompting.number]
    pairs = chain.from_iterable(prompting.encode(scored.contents, template) for template in others)
    scores = score(pairs, len(others) * len(values))
    rows = scores.values.reshape(len(others), len(values))
    own = [values] if prompting.number else []
    facts = {"templates": [template.text for template in card.templates]}
    return scores._replace(values=np.mean([*own, *rows], axis=0)), facts


METHODS: dict[str, Callable[[Any, Score, Scored], tuple[Scores, dict[str, Any]]]] = {
    CONTENT_FREE: content_free,
    ENSEMBLE: ensemble,
}
