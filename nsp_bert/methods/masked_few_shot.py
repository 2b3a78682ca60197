"""Few-shot PET: the MLM head goes on training to fill in the label's word, and random other tokens with it.

One pattern, no ensemble and no unlabelled rows: FewCLUE's PET. The loss is one mean over all asked places of a step:
those of the label, and a random share of all tokens as in pre-training, of which the label's places are no part. A
causal language model is asked for the label alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.methods.fitting import Arrays, in_parts, inputs_of, make_training, soft_settings
from nsp_bert.methods.language import CausalTask, LanguageTask, MaskedTask, make_task
from nsp_bert.options import Recipe
from nsp_bert.rows import Example, Rows
from nsp_bert.session import Session
from nsp_bert.tokenization import EncodedPair
from nsp_bert.training.optimization import SoftPromptSettings

if TYPE_CHECKING:
    from nsp_bert.training.loop import Training

RANDOM_SHARE = 0.15  # of a row's tokens that are asked for beside the label's
MASKED, KEPT = 0.8, 0.1  # of them; the rest is replaced by a random token


class Lesson(NamedTuple):
    """A row in its pattern, and the tokens that it is asked for: those of its true word."""

    pair: EncodedPair
    word: list[int]


class Asked(NamedTuple):
    """A row's tokens as the model sees them, the places that it is asked for, and the tokens there."""

    pair: EncodedPair
    places: np.ndarray
    tokens: np.ndarray


class MaskedTeacher:
    """Rows in their pattern, a lesson each."""

    candidates = 1
    random_share: ClassVar[float] = RANDOM_SHARE

    def __init__(
        self,
        recipe: Recipe,
        lessons: list[Lesson],
        mask_id: int,
        vocabulary: int,
        soft: SoftPromptSettings | None = None,
    ):
        """`vocabulary` is the number of tokens that a random one is drawn from; behind them are the `soft` ones."""
        self._recipe, self._lessons = recipe, lessons
        self._mask_id, self._vocabulary, self._soft = mask_id, vocabulary, soft
        self.rows = len(lessons)

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights."""
        from nsp_bert.training.objectives import MaskedTraining

        return make_training(MaskedTraining, checkpoint, self._recipe, self._soft)

    def parts(self, rows: Sequence[int], rng: np.random.Generator) -> Iterator[Arrays]:
        """Yield token_ids, segment_ids, position_ids (B, T), places, tokens and weights (P,), which add up to 1."""
        asked = [self._asked(self._lessons[row], rng) for row in rows]
        weight = 1 / sum(len(one.places) for one in asked)
        for part in in_parts([len(one.pair.token_ids) for one in asked], 1, self._recipe.part_tokens):
            yield self._part([asked[place] for place in part], weight)

    def _part(self, asked: list[Asked], weight: float) -> Arrays:
        """Return the arrays of some rows, each place with the same weight."""
        inputs = inputs_of([one.pair for one in asked])
        longest = inputs[0].shape[1]
        places = np.concatenate([number * longest + one.places for number, one in enumerate(asked)]).astype(np.int32)
        tokens = np.concatenate([one.tokens for one in asked]).astype(np.int32)
        return [*inputs, places, tokens, np.full(len(places), weight, np.float32)]

    def _asked(self, lesson: Lesson, rng: np.random.Generator) -> Asked:
        """Return a lesson with random places beside the label's, 80 % of them masked, 10 % kept, 10 % replaced.

        Soft tokens are neither asked for nor replaced.
        """
        token_ids = np.array(lesson.pair.token_ids)
        label = np.array(lesson.pair.reads.places if lesson.pair.reads else [], np.int64)
        others = np.setdiff1d(np.flatnonzero(token_ids < self._vocabulary), label)
        chosen = rng.choice(others, min(int(self.random_share * len(token_ids)), len(others)), replace=False)
        true, fate = token_ids[chosen], rng.random(len(chosen))
        random = rng.integers(self._vocabulary, size=len(chosen))
        token_ids[chosen] = np.where(fate < MASKED, self._mask_id, np.where(fate < MASKED + KEPT, true, random))
        pair = EncodedPair(token_ids.tolist(), lesson.pair.first_length, lesson.pair.position_ids)
        return Asked(pair, np.concatenate([label, chosen]), np.concatenate([lesson.word, true]))


class CausalTeacher(MaskedTeacher):
    """Rows with their true word, for a model that sees what is before a place alone: nothing else is asked for."""

    random_share = 0.0

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights."""
        from nsp_bert.training.objectives import CausalTraining

        return make_training(CausalTraining, checkpoint, self._recipe, self._soft)


@dataclass(frozen=True)
class MaskedFewShot:
    """PET as a few-shot method."""

    kind: ClassVar[type[LanguageTask[Any]]] = MaskedTask
    taught_by: ClassVar[type[MaskedTeacher]] = MaskedTeacher

    def task(self, session: Session[Any, Any], rows: Rows[Any], _training: list[Example[Any]]) -> LanguageTask[Any]:
        """Return the task of rows that are asked for, nothing random masked."""
        return make_task(self.kind, session, rows)

    def teacher(self, session: Session[Any, Any], recipe: Recipe, training: list[Example[Any]]) -> MaskedTeacher:
        """Return the training rows in their pattern."""
        task = make_task(self.kind, session, Rows(training, "training"))
        lessons = []
        for example, labels in zip(training, task.candidates, strict=True):
            word = task.words_of(example.content)[labels.index(str(example.label))]
            (pair,) = task.with_words(example.content, [word])
            lessons.append(Lesson(pair, [token for (token,) in pair.reads.tokens] if pair.reads else []))
        config = session.checkpoint.config
        mask_id = load_vocabulary(session.checkpoint.vocab_path)["[MASK]"]
        soft = soft_settings(recipe, task.patterns.pattern.soft_tokens)
        return self.taught_by(recipe, lessons, mask_id, config["vocab_size"], soft)


@dataclass(frozen=True)
class CausalFewShot(MaskedFewShot):
    """The same with a causal language model, which goes on with the label's word."""

    kind = CausalTask
    taught_by = CausalTeacher
