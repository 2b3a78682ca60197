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
from nsp_bert.methods.fitting import Arrays, in_parts, inputs_of, make_training
from nsp_bert.methods.language import LanguageContent, MaskedTask, make_task
from nsp_bert.options import Recipe
from nsp_bert.rows import Example, Rows
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
        """Yield the arrays of a training step, in parts; weights of a step add up to 1."""
        lessons, weight = [self._lesson(row, rng) for row in rows], 1 / len(rows)
        longest = [len(lesson.pair.token_ids) for lesson in lessons]
        for part in in_parts(longest, self.candidates, self._recipe.part_tokens):
            chosen = [lessons[place] for place in part]
            yield [*self._label_arrays(chosen, weight), *self._more(chosen, weight, rng)]

    def _lesson(self, row: int, _rng: np.random.Generator) -> Lesson:
        """Return a row's lesson in a step."""
        return self._lessons[row]

    def _label_arrays(self, part: list[Lesson], weight: float) -> Arrays:
        """Return token_ids, segment_ids, position_ids (R, T), places (R, n), tokens (R, n, C), labels, weights (R,)."""
        labels = np.array([lesson.label for lesson in part], np.int32)
        return [*inputs_of([lesson.pair for lesson in part]), labels, np.full(len(part), weight, np.float32)]

    def _more(self, _part: list[Lesson], _weight: float, _rng: np.random.Generator) -> Arrays:
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

    def _more(self, part: list[Lesson], weight: float, rng: np.random.Generator) -> Arrays:
        """Return of the rows with a word token_ids, segment_ids, position_ids, places, tokens, weights and targets.

        Places, tokens int32 and weights float32 are (R, P), targets float32 (R,).
        """
        asked = [self._asked(lesson, rng) for lesson in part]
        texts = inputs_of([one.pair for one in asked])
        room = max(len(one.places) for one in asked)
        places, tokens = np.zeros((2, len(asked), room), np.int32)
        weights, targets = np.zeros((len(asked), room), np.float32), np.zeros(len(asked), np.float32)
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
