"""Calibrated predictions beside the headline, never in its place: content-free prompts, and the mean over templates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from nsp_bert.answer_mapping import Predictions, split_by_sizes
from nsp_bert.cards import CardT
from nsp_bert.results.metrics import mcnemar
from nsp_bert.results.runs import Answer, Run, accuracy_of, rounded
from nsp_bert.results.summary import CONTENT_FREE, ENSEMBLE, Calibrated, calibration_key
from nsp_bert.rows import ContentT
from nsp_bert.scoring.exact import PairTable, Question, Scored
from nsp_bert.session import PromptedTask, Session

# Words for nothing and bare punctuation (Zhao et al. 2021 take "N/A" too). The empty text that they also take would
# leave a segment of [SEP] alone, which no pre-training shows.
NEUTRAL_TEXTS = {"zh": ("无", "。", "……"), "en": ("N/A", ".", "...")}


@dataclass(frozen=True)
class Combined:
    """Scores that a method of `--calibration` makes of the headline's and of more: `parts`, the headline's first.

    `interval` and `spread` go from all of the parts' scores, one after the other, to those that predict, and back.
    """

    task: PromptedTask
    parts: Sequence[Scored]

    name: ClassVar[str]

    @abstractmethod
    def interval(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the largest (n,) that each score can be, from those of all parts."""

    @abstractmethod
    def spread(self, wanted: np.ndarray) -> np.ndarray:
        """Return which of all parts' scores those of a mask bool (n,) are made of."""

    @abstractmethod
    def facts(self) -> Calibrated:
        """Return what the result file says of the method, but for the numbers."""

    @property
    def values(self) -> np.ndarray:
        """The scores float32 (n,)."""
        values = np.concatenate([part.values for part in self.parts])
        return self.interval(values, values)[0]

    @property
    def complete(self) -> bool:
        """Whether no part was interrupted."""
        return self.question.complete

    @property
    def question(self) -> Question:
        """What the scores decide."""
        return Question(self.parts, lambda low, high: self.spread(self.task.undecided(*self.interval(low, high))))


@dataclass(frozen=True)
class ContentFree(Combined):
    """The log-odds less those of the same prompt with neutral texts in the text's place, on average.

    Zhao et al. 2021, "Calibrate Before Use" (arXiv:2102.09690), subtracted in log-odds. Prompts that are alike are
    scored once: for classification, labels x neutral texts. `places` int64 (n, texts) says where each pair's are.
    """

    texts: Sequence[str]
    places: np.ndarray

    name = CONTENT_FREE

    @classmethod
    def of(cls, task: PromptedTask[ContentT], session: Session[CardT], headline: Scored) -> ContentFree:
        """Score the neutral texts."""
        texts = NEUTRAL_TEXTS.get(task.card.language, NEUTRAL_TEXTS["en"])
        neutral = [[content.with_text(text) for text in texts] for content in task.contents]
        sizes = {one: size for group, size in zip(neutral, task.sizes, strict=True) for one in group}
        starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
        groups = ([starts[one] + np.arange(sizes[one]) for one in group] for group in neutral)
        places = np.concatenate([np.stack(group, axis=1) for group in groups])
        more = score_more(PairTable(task.pairs, list(sizes), list(sizes.values())), task, session, cls.name)
        return cls(task, [headline, more], texts, places)

    def interval(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the headline's less the mean of the neutral texts'."""
        count = len(self.places)
        least, largest = (neutral[count:][self.places].mean(axis=1) for neutral in (low, high))
        return low[:count] - largest, high[:count] - least

    def spread(self, wanted: np.ndarray) -> np.ndarray:
        """Return a headline's score and those of its neutral texts."""
        neutral = np.zeros(len(self.parts[1].values), bool)
        neutral[self.places[wanted]] = True
        return np.concatenate([wanted, neutral])

    def facts(self) -> Calibrated:
        """Return the texts, and the prior of each label where all examples share it."""
        prior = self.parts[1].values[self.places].mean(axis=1)
        return Calibrated(texts=list(self.texts), prior=label_prior(self.task.labels, self.task.sizes, prior))


def label_prior(labels: Sequence[str], sizes: list[int], prior: np.ndarray) -> dict[str, float] | None:
    """Return the prior of each label where every label has a pair of its own, so that all examples share them."""
    if set(sizes) != {len(labels)}:
        return None
    return dict(zip(labels, rounded(prior[: len(labels)]), strict=True))


@dataclass(frozen=True)
class Ensemble(Combined):
    """The mean of the log-odds over the card's templates; what the run's own has scored is not scored again."""

    name = ENSEMBLE

    @classmethod
    def of(cls, task: PromptedTask[ContentT], session: Session[CardT], headline: Scored) -> Ensemble:
        """Score the other templates, until one is interrupted."""
        own = task.prompt.number
        parts = [headline] if own else []
        for number, template in enumerate(task.card.templates, 1):
            if number != own and all(part.complete for part in parts):
                other = task.with_template(number, template)
                title = f"{cls.name}, template {number}"
                parts.append(score_more(PairTable(other.pairs, task.contents, task.sizes), task, session, title))
        return cls(task, parts)

    def interval(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the means over the templates."""
        least, largest = (side.reshape(-1, sum(self.task.sizes)).mean(axis=0) for side in (low, high))
        return least, largest

    def spread(self, wanted: np.ndarray) -> np.ndarray:
        """Return the same pair under every template."""
        return np.tile(wanted, len(self.parts))

    def facts(self) -> Calibrated:
        """Return the templates."""
        return Calibrated(templates=[template.text for template in self.task.card.templates])


def score_more(table: PairTable, task: PromptedTask[ContentT], session: Session[CardT], what: str) -> Scored:
    """Return the scores of more pairs than the headline's."""
    print(f"{session.subject(task).title} {what}: {table.total} more pairs")
    return session.score(table)


METHODS: tuple[type[ContentFree | Ensemble], ...] = (ContentFree, Ensemble)


def score_calibrated(task: PromptedTask[ContentT], session: Session[CardT], headline: Scored) -> list[Combined]:
    """Return the scores of each method of `--calibration`; an interrupted one is the last."""
    found: list[Combined] = []
    for method in METHODS:
        complete = headline.complete and all(one.complete for one in found)
        if method.name in session.options.calibration and complete and _applies(method.name, task):
            found.append(method.of(task, session, headline))
    return found


def _applies(name: str, task: PromptedTask[ContentT]) -> bool:
    return name != ENSEMBLE or len(task.card.templates) > 1


def add_calibrated(
    run: Run, task: PromptedTask[ContentT], session: Session[CardT], calibrated: Sequence[Combined]
) -> Run:
    """Return a run with what each method would have answered beside its answers.

    A run that is not complete stays as it is. One whose calibration is interrupted keeps its answers and is no longer
    complete; the method that was interrupted adds nothing.
    """
    for one in calibrated if run.complete else ():
        if not one.complete:
            return replace(run, complete=False, published=None)
        run = add_method(run, one.name, task.predict(split_by_sizes(task.sizes, one.values)), one.facts())
    if run.complete and ENSEMBLE in session.options.calibration and not _applies(ENSEMBLE, task):
        run = replace(run, notes=(*run.notes, f"no {ENSEMBLE}: the dataset's card has a single template"))
    return run


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
