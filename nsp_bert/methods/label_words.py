"""Few-shot methods whose masks ask for a label's word: LM-BFF, ADAPET, TCBert's prompt.

A row in its pattern has as many [MASK] as a word has tokens, and every candidate's tokens are asked for there. What is
minimised differs; scores of trained weights are sums of log-probabilities at the masks, unless a method says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nsp_bert.cards import CardT
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.methods.fitting import Arrays, make_training, padded, padded_length, rows_in_part, rows_in_step
from nsp_bert.methods.language import LanguageContent, MaskedTask, make_task
from nsp_bert.options import Recipe
from nsp_bert.rows import Example, Rows
from nsp_bert.scoring.windows import PairList
from nsp_bert.session import Session, Task
from nsp_bert.tokenization import EncodedPair, Reads

if TYPE_CHECKING:
    from nsp_bert.training.loop import Training

MASKED_SHARE = 0.105  # of a row's tokens that ADAPET masks at most, the share being drawn


class Lesson(NamedTuple):
    """A row with [MASK] in the label's place, the tokens of all candidates there, and which of them is true."""

    pair: EncodedPair
    reads: Reads
    label: int


class LabelTeacher:
    """Rows in their pattern whose candidates compete (LM-BFF), a lesson each."""

    candidates = 1

    def __init__(self, recipe: Recipe, lessons: list[Lesson]):
        """Take the lessons, all of as many candidates."""
        self._recipe, self._lessons = recipe, lessons
        self.rows = len(lessons)

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights."""
        from nsp_bert.training.label_words import LabelTraining

        return make_training(LabelTraining, checkpoint, self._recipe, self._recipe.loss == "product")

    def parts(self, rows: Sequence[int], rng: np.random.Generator) -> Iterator[Arrays]:
        """Yield the arrays of a training step, in parts of as many rows; weights of a step add up to 1."""
        lessons = [self._lesson(row, rng) for row in rows]
        longest = padded_length(max(len(lesson.pair.token_ids) for lesson in lessons))
        most = min(rows_in_step(self._recipe, self.candidates), self.rows)  # a shorter step is filled up to it
        size = min(rows_in_part(self._recipe, self.candidates, longest), most)
        for start in range(0, len(lessons), size):
            part = lessons[start : start + size]
            yield [*self._label_arrays(part, size, 1 / len(lessons)), *self._more(part, size, 1 / len(lessons), rng)]

    def _lesson(self, row: int, _rng: np.random.Generator) -> Lesson:
        """Return a row's lesson in a step."""
        return self._lessons[row]

    def _label_arrays(self, part: list[Lesson], size: int, weight: float) -> Arrays:
        """Return token_ids, segment_ids, position_ids (R, T), places (R, n), tokens (R, n, C), labels, weights (R,)."""
        *texts, places, tokens = PairList([lesson.pair for lesson in part]).inputs(np.arange(len(part)))
        labels = np.array([lesson.label for lesson in part], np.int32)
        weights = np.full(len(part), weight, np.float32)
        return [*padded(texts, size), *(filled_up(one, size) for one in (places, tokens, labels, weights))]

    def _more(self, _part: list[Lesson], _size: int, _weight: float, _rng: np.random.Generator) -> Arrays:
        """Return what else the rows of a part are asked."""
        return []


class TopicTeacher(LabelTeacher):
    """Rows in a sentence about a topic, whose label a new layer tells as well (TCBert)."""

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights and a new layer."""
        from nsp_bert.training.label_words import TopicTraining

        return make_training(TopicTraining, checkpoint, self._recipe, len(self._lessons[0].reads.tokens[0]))


class ConditionedTeacher(LabelTeacher):
    """Rows in their pattern, and again with some candidate's word there and other tokens masked (ADAPET)."""

    candidates = 2

    def __init__(self, recipe: Recipe, lessons: list[Lesson], mask_id: int, specials: Sequence[int]):
        """`specials` are the ids of [CLS] and [SEP], which are never masked."""
        super().__init__(recipe, lessons)
        self._mask_id, self._specials = mask_id, specials

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights."""
        from nsp_bert.training.label_words import ConditionedTraining

        return make_training(ConditionedTraining, checkpoint, self._recipe)

    def _more(self, part: list[Lesson], size: int, weight: float, rng: np.random.Generator) -> Arrays:
        """Return of the rows with a word token_ids, segment_ids, position_ids, places, tokens, weights and targets.

        Places, tokens int32 and weights float32 are (R, P), targets float32 (R,).
        """
        asked = [self._asked(lesson, rng) for lesson in part]
        texts = padded(PairList([one.pair for one in asked]).inputs(np.arange(len(asked))), size)
        room = max(int(MASKED_SHARE * texts[0].shape[1]), 1)
        places, tokens = np.zeros((2, size, room), np.int32)
        weights, targets = np.zeros((size, room), np.float32), np.zeros(size, np.float32)
        for row, one in enumerate(asked):
            there = slice(len(one.places))
            places[row, there], tokens[row, there], weights[row, there] = one.places, one.tokens, weight / there.stop
            targets[row] = one.is_true
        return [*texts, places, tokens, weights, targets]

    def _asked(self, lesson: Lesson, rng: np.random.Generator) -> Asked:
        """Return a lesson with the word of a candidate that is drawn, and some of its other tokens masked."""
        token_ids = np.array(lesson.pair.token_ids)
        chosen = int(rng.integers(len(lesson.reads.tokens[0])))
        token_ids[lesson.reads.places] = [tokens[chosen] for tokens in lesson.reads.tokens]
        others = np.setdiff1d(np.flatnonzero(~np.isin(token_ids, self._specials)), lesson.reads.places)
        count = max(int(rng.uniform(0, MASKED_SHARE) * len(token_ids)), 1)
        places = rng.choice(others, min(count, len(others)), replace=False)
        tokens = token_ids[places]
        token_ids[places] = self._mask_id
        pair = lesson.pair._replace(token_ids=token_ids.tolist(), reads=None)
        return Asked(pair, places, tokens, chosen == lesson.label)


class Asked(NamedTuple):
    """A row with a candidate's word, its masked places, the tokens there, and whether the candidate is true."""

    pair: EncodedPair
    places: np.ndarray
    tokens: np.ndarray
    is_true: bool


def filled_up(array: np.ndarray, rows: int) -> np.ndarray:
    """Return an array (R, ...) with rows of 0 at its end, `rows` in all."""
    return np.pad(array, [(0, rows - len(array)), *[(0, 0)] * (array.ndim - 1)])


@dataclass(frozen=True)
class LinearTask(MaskedTask[CardT]):
    """Rows in their pattern whose labels a trained layer scores: no tokens are asked for at the masks."""

    def pairs(self, contents: Iterable[LanguageContent]) -> Iterator[EncodedPair]:
        """Yield one sequence a content."""
        for pair in super().pairs(contents):
            yield pair._replace(reads=None)


def training_task(session: Session[Any, Any], training: list[Example[Any]]) -> MaskedTask[Any]:
    """Return the task of training rows in the session's pattern. Raises UserError as `make_task`."""
    return make_task(MaskedTask, session, Rows(training, "training"))


def lessons_of(task: MaskedTask[Any]) -> list[Lesson]:
    """Return the rows of a task of training rows."""
    lessons = []
    for example, pair, names in zip(task.examples, task.pairs(task.contents), task.candidates, strict=True):
        if not pair.reads:
            raise TypeError("a masked row is asked for tokens")
        lessons.append(Lesson(pair, pair.reads, names.index(str(example.label))))
    return lessons


@dataclass(frozen=True)
class LabelFewShot:
    """LM-BFF as a few-shot method."""

    def task(self, session: Session[Any, Any], rows: Rows[Any], _training: list[Example[Any]]) -> Task[Any]:
        """Return the task of rows that are asked for."""
        return make_task(MaskedTask, session, rows)

    def teacher(self, session: Session[Any, Any], recipe: Recipe, training: list[Example[Any]]) -> LabelTeacher:
        """Return the training rows in their pattern."""
        return LabelTeacher(recipe, lessons_of(training_task(session, training)))


@dataclass(frozen=True)
class ConditionedFewShot(LabelFewShot):
    """ADAPET as a few-shot method."""

    def teacher(self, session: Session[Any, Any], recipe: Recipe, training: list[Example[Any]]) -> LabelTeacher:
        """Return the training rows in their pattern."""
        vocabulary = load_vocabulary(session.checkpoint.vocab_path)
        specials = [vocabulary["[CLS]"], vocabulary["[SEP]"]]
        return ConditionedTeacher(recipe, lessons_of(training_task(session, training)), vocabulary["[MASK]"], specials)


@dataclass(frozen=True)
class TopicFewShot(LabelFewShot):
    """TCBert's prompt as a few-shot method; the masks or the new layer predict."""

    def task(self, session: Session[Any, Any], rows: Rows[Any], _training: list[Example[Any]]) -> Task[Any]:
        """Return the task of rows that are asked for."""
        return make_task(LinearTask if session.method.output == "classes" else MaskedTask, session, rows)

    def teacher(self, session: Session[Any, Any], recipe: Recipe, training: list[Example[Any]]) -> LabelTeacher:
        """Return the training rows in their sentence about a topic."""
        return TopicTeacher(recipe, lessons_of(training_task(session, training)))
