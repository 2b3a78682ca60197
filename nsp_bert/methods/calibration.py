"""Calibrated predictions beside the headline, never in its place: content-free prompts, and the mean over templates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from nsp_bert.answer_mapping import Predictions, split_by_sizes
from nsp_bert.cards import CardT
from nsp_bert.results.metrics import mcnemar
from nsp_bert.results.runs import Answer, Run, accuracy_of, rounded
from nsp_bert.results.summary import CALIBRATIONS, CONTENT_FREE, ENSEMBLE, Calibrated, calibration_key
from nsp_bert.rows import ContentT
from nsp_bert.scoring.scorer import Scores
from nsp_bert.session import Session, Task
from nsp_bert.tokenization import EncodedPair

# Words for nothing and bare punctuation (Zhao et al. 2021 take "N/A" too). The empty text that they also take would
# leave a segment of [SEP] alone, which no pre-training shows.
NEUTRAL_TEXTS = {"zh": ("无", "。", "……"), "en": ("N/A", ".", "...")}

ScoreMore = Callable[[Iterable[EncodedPair], int], Scores]


def calibrate(run: Run, task: Task[ContentT], session: Session[CardT], log_odds: np.ndarray) -> Run:
    """Return a run with what each method of `--calibration` would have answered beside its answers.

    `log_odds` float32 (pairs,) are the headline's. A run that is not complete stays as it is. One whose calibration is
    interrupted keeps its answers and is no longer complete; the method that was interrupted adds nothing.
    """
    for name in (one for one in CALIBRATIONS if one in session.options.calibration):
        if not run.complete:
            break
        if name == ENSEMBLE and len(task.card.templates) < 2:
            run = replace(run, notes=(*run.notes, f"no {name}: the dataset's card has a single template"))
            continue
        title = f"{run.subject.title} {name}"

        def score_more(pairs: Iterable[EncodedPair], total: int, title: str = title) -> Scores:
            print(f"{title}: {total} more pairs")
            return session.score(pairs, total)

        method = content_free if name == CONTENT_FREE else ensemble
        scores, facts = method(task, score_more, log_odds)
        if scores.complete:
            run = add_method(run, name, task.predict(split_by_sizes(task.sizes, scores.values)), facts)
        else:
            run = replace(run, complete=False, published=None)
    return run


def content_free(task: Task[ContentT], score_more: ScoreMore, log_odds: np.ndarray) -> tuple[Scores, Calibrated]:
    """Return the log-odds less those of the same prompts with neutral texts in the text's place, on average.

    Zhao et al. 2021, "Calibrate Before Use" (arXiv:2102.09690), subtracted in log-odds. Prompts that are alike are
    scored once: for classification, labels x neutral texts.
    """
    texts = NEUTRAL_TEXTS.get(task.card.language, NEUTRAL_TEXTS["en"])
    neutral = [[content.with_text(text) for text in texts] for content in task.contents]
    sizes = {one: size for group, size in zip(neutral, task.sizes, strict=True) for one in group}
    scores = score_more(task.pairs(list(sizes)), sum(sizes.values()))
    rows = dict(zip(sizes, split_by_sizes(sizes.values(), scores.values), strict=True))
    prior = np.concatenate([np.mean([rows[one] for one in group], axis=0) for group in neutral])
    facts = Calibrated(texts=list(texts), prior=label_prior(task.labels, task.sizes, prior))
    return scores._replace(values=log_odds - prior), facts


def label_prior(labels: Sequence[str], sizes: list[int], prior: np.ndarray) -> dict[str, float] | None:
    """Return the prior of each label where every label has a pair of its own, so that all examples share them.

    None where an interrupt left some of it open.
    """
    if set(sizes) != {len(labels)} or np.isnan(prior).any():
        return None
    return dict(zip(labels, rounded(prior[: len(labels)]), strict=True))


def ensemble(task: Task[ContentT], score_more: ScoreMore, log_odds: np.ndarray) -> tuple[Scores, Calibrated]:
    """Return the mean of the log-odds over the card's templates; what the run's own has scored is not scored again."""
    templates, own = task.card.templates, task.prompt.number
    others = [task.with_template(number, one) for number, one in enumerate(templates, 1) if number != own]
    pairs = chain.from_iterable(other.pairs(task.contents) for other in others)
    scores = score_more(pairs, len(others) * len(log_odds))
    rows = scores.values.reshape(len(others), len(log_odds))
    measured = [log_odds, *rows] if own else rows
    facts = Calibrated(templates=[template.text for template in templates])
    return scores._replace(values=np.mean(measured, axis=0)), facts


def add_method(run: Run, name: str, predictions: Predictions, facts: Calibrated) -> Run:
    """Return a run with a method's predictions, one an answer, and with `facts` of the method in its result file."""
    key = calibration_key(name)
    answers = [
        replace(answer, more=answer.more | {f"prediction_{key}": label})
        for answer, label in zip(run.answers, predictions.labels, strict=True)
    ]
    if predictions.thresholds is not None:
        facts = facts.model_copy(update={"thresholds": rounded(predictions.thresholds)})
    compared = compare(run.answers, predictions.labels)
    entry = facts.model_copy(update=compared)
    calibration = (run.details.calibration or {}) | {key: entry}
    run = replace(run, answers=answers, details=run.details.model_copy(update={"calibration": calibration}))
    pairs = zip(answers, predictions.labels, strict=True)
    accuracy = accuracy_of([replace(answer, prediction=str(label)) for answer, label in pairs])
    if not accuracy:
        return run
    return replace(run, extra=run.extra | {f"accuracy_{key}": accuracy}, notes=(*run.notes, note(name, entry)))


def compare(answers: list[Answer], predictions: Sequence[str | None]) -> dict[str, float | int]:
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


def note(name: str, entry: Calibrated) -> str:
    """Return the line below the table that tells what a method changes."""
    return (
        f"{name} {100 * (entry.gain or 0):+.2f} points ({entry.gained} rows right that were wrong,"
        f" {entry.lost} the other way, p = {entry.p:.2g})"
    )
