"""A new layer on the pooled [CLS] tells the label of a row (BERT, section 4.1): plain fine-tuning, without a prompt.

A classification row is its text, a sentence pair its two sentences, and coreference the text with its span and pronoun
marked: a class each label. Of a cloze there is one sequence a candidate, which is in the blank's place; the layer
has one class, and the candidates of a row compete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nsp_bert.cards import CANDIDATES_CONTRAST, CardT
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.contents import Cloze
from nsp_bert.method_prompts import PatternPrompt
from nsp_bert.methods.few_shot import lessons_of
from nsp_bert.methods.fitting import Arrays, in_parts, inputs_of, make_training
from nsp_bert.methods.language import LanguageContent
from nsp_bert.options import Recipe
from nsp_bert.pattern_encoding import PatternEncoder
from nsp_bert.patterns import parse_plain
from nsp_bert.prompts import PlainPrompt
from nsp_bert.rows import Example, Rows
from nsp_bert.session import Session
from nsp_bert.tasks import CandidatesTask
from nsp_bert.tokenization import EncodedPair

if TYPE_CHECKING:
    from nsp_bert.training.loop import Training


@dataclass(frozen=True)
class ClassifierTask(CandidatesTask[CardT, LanguageContent, PlainPrompt | PatternPrompt]):
    """Rows whose classes, or whose candidates' one class each, a trained layer scores."""

    patterns: PatternEncoder
    words: Sequence[str] = ()  # of the labels, where each has a sequence of its own

    @property
    def mapping(self) -> str:
        """The best logit answers, in every task."""
        return CANDIDATES_CONTRAST

    @property
    def candidates(self) -> Sequence[Sequence[str]]:
        """The labels, or the places of a row's candidates."""
        return [self.labels or [str(place) for place in range(len(self.fillings(one)))] for one in self.contents]

    @property
    def width(self) -> int:
        """All labels of a row, or one candidate."""
        return 1 if self.words else len(self.labels) or 1

    def pairs(self, contents: Iterable[LanguageContent]) -> Iterator[EncodedPair]:
        """Yield one sequence a content, or one for each of its candidates."""
        for content in contents:
            for text in self.fillings(content):
                yield self.sequence(content, text)

    def fillings(self, content: LanguageContent) -> Sequence[str]:
        """Return what is in the label's place in turn: nothing, once, where the pattern has none."""
        return content.candidates if isinstance(content, Cloze) else self.words or ("",)

    def sequence(self, content: LanguageContent, filling: str) -> EncodedPair:
        """Return a row with this in the label's place."""
        return self.patterns.plain(content.slots, self.encoder.tokenize(filling))


class ClassifierTeacher:
    """The sequences of training rows with the place of their label, a lesson a row; all rows have as many sequences."""

    def __init__(self, recipe: Recipe, lessons: list[list[EncodedPair]], places: Sequence[int], classes: int):
        """`places` are those of a row's label among `classes`, or of its candidate where there is one class.

        Where there is one of both, they say whether it is right (1) or not (0).
        """
        self._recipe, self._lessons, self._classes = recipe, lessons, classes
        self._places = np.array(places, np.int32)
        self.rows, self.candidates = len(lessons), len(lessons[0])

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights and a new layer."""
        from nsp_bert.training.objectives import ClassifierTraining

        return make_training(ClassifierTraining, checkpoint, self._recipe, self._classes, self.candidates)

    def parts(self, rows: Sequence[int], _rng: np.random.Generator) -> Iterator[Arrays]:
        """Yield token_ids, segment_ids, position_ids int32 (B, T), places int32 (R,) and weights float32 (R,).

        The B sequences are all those of R rows. The weights of a step add up to 1.
        """
        longest = [max(len(pair.token_ids) for pair in self._lessons[row]) for row in rows]
        for part in in_parts(longest, self.candidates, self._recipe.part_tokens):
            chosen = [rows[place] for place in part]
            pairs = [pair for row in chosen for pair in self._lessons[row]]
            weights = np.full(len(chosen), 1 / len(rows), np.float32)
            yield [*inputs_of(pairs), self._places[chosen], weights]


@dataclass(frozen=True)
class FineTuning:
    """Plain fine-tuning as a few-shot method."""

    def task(
        self, session: Session[CardT, PlainPrompt], rows: Rows[LanguageContent], _training: Sequence[Example[Any]] = ()
    ) -> ClassifierTask[CardT]:
        """Return the task of rows that are asked for."""
        return make_classifier_task(session, rows)

    def teacher(
        self, session: Session[CardT, PlainPrompt], recipe: Recipe, training: list[Example[Any]]
    ) -> ClassifierTeacher:
        """Return the sequences of training rows. Raises UserError where rows have not as many candidates."""
        return teach_classes(self.task(session, Rows(training, "training")), session.title, recipe)


def make_classifier_task(
    session: Session[CardT, Any], rows: Rows[LanguageContent], words: Sequence[str] = ()
) -> ClassifierTask[CardT]:
    """Return the task of rows in the pattern of a session's prompt."""
    mask_id = load_vocabulary(session.checkpoint.vocab_path)["[MASK]"]
    patterns = PatternEncoder(session.encoder, parse_plain(session.prompt.pattern), mask_id)
    return ClassifierTask(session.card, session.prompt, session.encoder, rows, patterns, words)


def teach_classes(task: ClassifierTask[CardT], title: str, recipe: Recipe) -> ClassifierTeacher:
    """Return the sequences of a task's rows. Raises UserError where rows have not as many candidates."""
    return ClassifierTeacher(recipe, lessons_of(task, title), places_of(task), task.width)


def places_of(task: ClassifierTask[CardT]) -> list[int]:
    """Return the place of each row's label among its candidates."""
    rows = zip(task.candidates, task.examples, strict=True)
    return [names.index(str(example.label)) for names, example in rows]
