"""Few-shot NSP-BERT: the NSP head goes on training on pairs of a task, its true ones and its false ones.

Classification and cloze: each candidate's pair is next or not (loss bce, Prompts4Keras' decoupled one), or the
candidates of a row compete (softmax). Sentence pairs and coreference have one pair a row, told how far up its label is:
0 for the least likely next sentence, 1 for the most; thresholds fitted on the training rows make labels of log-odds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nsp_bert.answer_mapping import fit_thresholds
from nsp_bert.cards import ClassificationCard, ClozeCard, CoreferenceCard, SentencePairCard
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.methods.few_shot import lessons_of
from nsp_bert.methods.fitting import Arrays, in_parts, inputs_of, make_training
from nsp_bert.options import Recipe
from nsp_bert.rows import Example, Rows
from nsp_bert.session import Session, Task
from nsp_bert.tasks import ClassificationTask, ClozeTask, CoreferenceTask, DevAndTest, SamplesTask, SentencePairTask
from nsp_bert.tokenization import EncodedPair
from nsp_bert.training.optimization import SoftPromptSettings

if TYPE_CHECKING:
    from nsp_bert.training.loop import Training

FewShotCard = ClassificationCard | SentencePairCard | CoreferenceCard | ClozeCard


@dataclass(frozen=True)
class FittedThresholds(SamplesTask[Any, Any]):
    """A task whose thresholds are fitted on labelled rows, which are in the place of dev."""

    def thresholds(self, dev: np.ndarray) -> np.ndarray:
        """Return the thresholds that make most of the training rows right, by their scores float32 (n,)."""
        places = np.array([self.labels.index(str(example.label)) for example in self.rows.dev])
        return fit_thresholds(dev, places, len(self.labels))

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return all training rows' scores, and those of test that may be on either side of a threshold."""
        undecided = np.zeros(len(low), bool)
        dev, test = self.rows.places
        thresholds = self.thresholds(low[dev])
        undecided[test] = ((low[test, None] <= thresholds) & (high[test, None] >= thresholds)).any(axis=1)
        undecided[dev] = True
        return undecided


@dataclass(frozen=True)
class FittedPairTask(FittedThresholds, SentencePairTask):
    """Sentence pairs with fitted thresholds."""


@dataclass(frozen=True)
class FittedCoreferenceTask(FittedThresholds, CoreferenceTask):
    """Coreference with fitted thresholds."""


class NextSentenceTeacher:
    """The pairs of training rows with their targets, a lesson a row; all rows have as many pairs."""

    def __init__(
        self,
        recipe: Recipe,
        lessons: list[list[EncodedPair]],
        targets: np.ndarray,
        soft: SoftPromptSettings | None = None,
    ):
        """`targets` float32 (rows, candidates) are 1 for a next sentence, 0 for none; `soft` are tokens of pairs."""
        self._recipe, self._lessons, self._targets, self._soft = recipe, lessons, targets, soft
        self.rows, every = targets.shape
        self.candidates = every if recipe.negatives is None else min(recipe.negatives + 1, every)

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights."""
        from nsp_bert.training.objectives import NextSentenceTraining

        own = (self._recipe.loss, self.candidates, self._soft)
        return make_training(NextSentenceTraining, checkpoint, self._recipe, *own)

    def parts(self, rows: Sequence[int], rng: np.random.Generator) -> Iterator[Arrays]:
        """Yield token_ids, segment_ids, position_ids (B, T), targets and weights (B,), which add up to 1."""
        chosen = [self._candidates(row, rng) for row in rows]
        pairs = [self._lessons[row][place] for row, places in zip(rows, chosen, strict=True) for place in places]
        targets = np.concatenate([self._targets[row][places] for row, places in zip(rows, chosen, strict=True)])
        weight = 1 / (len(pairs) if self._recipe.loss == "bce" else len(rows))
        weights = np.full(len(pairs), weight, np.float32)
        whole = 1 if self._recipe.loss == "bce" else self.candidates  # pairs that compete stay together
        lengths = np.array([len(pair.token_ids) for pair in pairs]).reshape(-1, whole)
        for part in in_parts(lengths.max(axis=1).tolist(), whole, self._recipe.part_tokens):
            places = np.arange(len(pairs)).reshape(-1, whole)[part].ravel()
            yield [*inputs_of([pairs[place] for place in places]), targets[places], weights[places]]

    def _candidates(self, row: int, rng: np.random.Generator) -> np.ndarray:
        """Return the places of a row's pairs in the step: all, or the true one with some of the others, drawn."""
        every = np.arange(self._targets.shape[1])
        if self.candidates == len(every):
            return every
        true = int(self._targets[row].argmax())
        return np.array([true, *rng.permutation(np.delete(every, true))[: self.candidates - 1]])


@dataclass(frozen=True)
class NspFewShot:
    """NSP-BERT as a few-shot method."""

    def task(self, session: Session[Any], rows: Rows[Any], training: list[Example[Any]]) -> Task[Any]:
        """Return the task of rows that are asked for; training rows make the thresholds where there are some."""
        card, made = session.card, (session.card, session.prompt, session.encoder)
        if isinstance(card, ClassificationCard):
            return ClassificationTask(*made, rows)
        if isinstance(card, ClozeCard):
            return ClozeTask(*made, rows)
        kind = FittedPairTask if isinstance(card, SentencePairCard) else FittedCoreferenceTask
        return kind(*made, DevAndTest(training, rows, same=False))

    def teacher(self, session: Session[Any], recipe: Recipe, training: list[Example[Any]]) -> NextSentenceTeacher:
        """Return the pairs of training rows. Raises UserError where rows have not as many candidates."""
        contents = [example.content for example in training]
        if isinstance(session.card, SentencePairCard | CoreferenceCard):
            task = self.task(session, Rows([], "no"), training)
            labels = session.card.label_values
            places = [labels.index(str(example.label)) for example in training]
            targets = np.array(places, np.float32)[:, None] / (len(labels) - 1)
            return NextSentenceTeacher(recipe, [[pair] for pair in task.pairs(contents)], targets)
        asked = self.task(session, Rows(training, "training"), [])
        lessons = lessons_of(asked, session.title)
        return NextSentenceTeacher(recipe, lessons, one_hot(session.card, training, len(lessons[0])))


def one_hot(card: ClassificationCard | ClozeCard, training: Sequence[Example[Any]], candidates: int) -> np.ndarray:
    """Return float32 (rows, candidates), 1 for the true one of each training row."""
    labels = card.label_values or tuple(map(str, range(candidates)))
    return np.array([[str(example.label) == label for label in labels] for example in training], np.float32)
