"""The kinds of tasks: a dataset's rows under one prompt, which encode their pairs and map the scores to answers.

A dataset is described by one card, `datasets/cards/NAME.yaml`; nothing here knows a dataset by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from nsp_bert.answer_mapping import (
    Predictions,
    apply_thresholds,
    best_undecided,
    candidates_contrast,
    learn_thresholds,
    thresholds_undecided,
)
from nsp_bert.cards import CardT, ClassificationCard, ClozeCard, CoreferenceCard, EntityLinkingCard, SentencePairCard
from nsp_bert.contents import Cloze, Mention, Question, SentencePair, Text
from nsp_bert.encoding import (
    encode_clozes,
    encode_entity_mentions,
    encode_label_pairs,
    encode_mentions,
    encode_sentence_pairs,
)
from nsp_bert.method_prompts import PromptT
from nsp_bert.prompts import Prompt, Template
from nsp_bert.rows import ContentT, Example, Rows
from nsp_bert.tokenization import EncodedPair, PairEncoder

TaskT = TypeVar("TaskT", bound="Task[Any, Any, Prompt]")


@dataclass(frozen=True)
class Task(Generic[CardT, ContentT, PromptT]):
    """What all tasks share: the card, the prompt, the encoder of pairs (nsp_bert.session.Task says what is asked)."""

    card: CardT
    prompt: PromptT
    encoder: PairEncoder

    @abstractmethod
    def pairs(self, contents: Iterable[ContentT]) -> Iterable[EncodedPair]:
        """Return the encoded pairs of each content in turn, one a candidate."""

    @property
    def part(self) -> str:
        """Nothing: the dataset gives one run."""
        return ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The card's labels, none where candidates differ."""
        return self.card.label_values

    @property
    def mapping(self) -> str:
        """The card's."""
        return self.card.mapping

    @property
    def width(self) -> int:
        """One: a pair has one score."""
        return 1

    def more(self, place: int) -> dict[str, object]:
        """Return nothing: scores and text say all."""
        return {}

    def with_template(self: TaskT, number: int, template: Template) -> TaskT:
        """Return the same task under another of the card's templates."""
        return replace(self, prompt=replace(self.prompt, number=number, template=template))


@dataclass(frozen=True)
class CandidatesTask(Task[CardT, ContentT, PromptT]):
    """Examples with candidates that are scored one by one; the best answers (candidates-contrast, section 3.3.1)."""

    rows: Rows[ContentT]

    @property
    @abstractmethod
    def candidates(self) -> Sequence[Sequence[str]]:
        """The label values that each example is offered, in the order of its scores."""

    @property
    def examples(self) -> list[Example[ContentT]]:
        """The rows that are asked for."""
        return self.rows.examples

    @property
    def contents(self) -> list[ContentT]:
        """What is scored, in the order of the scores."""
        return [example.content for example in self.examples]

    @property
    def sizes(self) -> list[int]:
        """How many scores each content has."""
        return [len(names) for names in self.candidates]

    @property
    def size(self) -> str:
        """How many rows are scored with what, in words."""
        offered = f"{len(self.labels)} labels" if self.labels else "their candidates"
        return f"{self.rows.number} x {offered}"

    def scores_of(self, scores: list[np.ndarray]) -> list[np.ndarray]:
        """Return the scores: each content is an example's."""
        return scores

    def predict(self, scores: list[np.ndarray]) -> Predictions:
        """Return the best-scored label of each example; None where a score is not there (NaN)."""
        rows = zip(self.candidates, scores, candidates_contrast(scores), strict=True)
        return Predictions([None if np.isnan(row).any() else names[place] for names, row, place in rows])

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return which candidates may be the best of their example, where several may."""
        return best_undecided(low, high, self.sizes)


@dataclass(frozen=True)
class ClassificationTask(CandidatesTask[ClassificationCard, Text]):
    """A text and a prompt for each label."""

    @property
    def candidates(self) -> Sequence[Sequence[str]]:
        """The card's labels, for every example."""
        return [self.labels] * len(self.examples)

    @property
    def prompts(self) -> list[str]:
        """One prompt per label, in card order."""
        return self.card.prompts(self.prompt.template or self.card.templates[-1])

    def pairs(self, contents: Iterable[Text]) -> Iterable[EncodedPair]:
        """Return the pairs of each text with every label's prompt."""
        return encode_label_pairs(
            self.encoder, (content.text for content in contents), self.prompts, self.prompt.position
        )


@dataclass(frozen=True)
class ClozeTask(CandidatesTask[ClozeCard, Cloze]):
    """A blank and its candidates; a label is a candidate's index."""

    @property
    def candidates(self) -> Sequence[Sequence[str]]:
        """The indices of each example's candidates."""
        return [[str(place) for place in range(len(example.content.candidates))] for example in self.examples]

    def pairs(self, contents: Iterable[Cloze]) -> Iterator[EncodedPair]:
        """Yield the pairs of each text with every candidate."""
        soft = self.prompt.positions == "soft"
        return encode_clozes(self.encoder, contents, self.card.blank, self.prompt.position, soft)


@dataclass(frozen=True)
class EntityTask(CandidatesTask[EntityLinkingCard, Question]):
    """A mention and what it may be: an entity (linking) or a type (typing).

    `offered` names the ids or types of each mention, in the order of its question's descriptions.
    """

    kind: Literal["linking", "typing"]
    offered: Sequence[Sequence[str]]

    @property
    def part(self) -> str:
        """Linking or typing: the dataset gives both."""
        return self.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """The types; none for linking."""
        return tuple(self.card.types) if self.kind == "typing" else ()

    @property
    def candidates(self) -> Sequence[Sequence[str]]:
        """The ids or types that each mention is offered."""
        return self.offered

    @property
    def size(self) -> str:
        """How many mentions are scored with what, in words."""
        return f"{self.kind}: {len(self.examples):,} of {self.rows.number} x their candidates"

    def more(self, place: int) -> dict[str, object]:
        """Return the mention's name and what it was offered."""
        return {"mention": self.examples[place].content.mention.name, "candidates": list(self.offered[place])}

    def pairs(self, contents: Iterable[Question]) -> Iterator[EncodedPair]:
        """Yield the pairs of each mention's text with every description."""
        stages = self.prompt.stages or 2
        return encode_entity_mentions(self.encoder, contents, self.prompt.text, self.prompt.position, stages)


@dataclass(frozen=True)
class DevAndTest(Generic[ContentT]):
    """The rows that teach thresholds and those that are asked for; `same` where those are of dev, scored once then."""

    dev: list[Example[ContentT]]
    test: Rows[ContentT]
    same: bool

    @property
    def scored(self) -> list[Example[ContentT]]:
        """What is scored: dev, then test."""
        return self.dev if self.same else self.dev + self.test.examples

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Where in `scored` dev and test are, int64 each."""
        dev, test = np.arange(len(self.dev)), np.arange(len(self.test.examples))
        in_dev = np.array([example.index for example in self.test.examples], np.int64)
        return dev, in_dev if self.same else len(dev) + test


@dataclass(frozen=True)
class SamplesTask(Task[CardT, ContentT]):
    """Examples with one score each; thresholds that cut dev's scores make labels of them (samples-contrast, 3.3.2).

    The card's labels ascend from the least to the most likely next sentence.
    """

    rows: DevAndTest[ContentT]

    @property
    def examples(self) -> list[Example[ContentT]]:
        """The rows that are asked for."""
        return self.rows.test.examples

    @property
    def contents(self) -> list[ContentT]:
        """What is scored, in the order of the scores."""
        return [example.content for example in self.rows.scored]

    @property
    def sizes(self) -> list[int]:
        """One score each."""
        return [1] * len(self.rows.scored)

    @property
    def size(self) -> str:
        """How many rows are scored, in words."""
        return self.rows.test.number + ("" if self.rows.same else f" + {len(self.rows.dev)} dev rows")

    def scores_of(self, scores: list[np.ndarray]) -> list[np.ndarray]:
        """Return the test rows' scores."""
        return [scores[place] for place in self.rows.places[1]]

    def predict(self, scores: list[np.ndarray]) -> Predictions:
        """Return the labels of the test rows that are scored, by dev's thresholds; none unless all of dev is scored."""
        dev, test = (np.concatenate(scores)[places] for places in self.rows.places)
        if np.isnan(dev).any():
            return Predictions([None] * len(test))
        thresholds = self.thresholds(dev)
        guesses = zip(test, apply_thresholds(test, thresholds), strict=True)
        return Predictions([None if np.isnan(score) else self.labels[place] for score, place in guesses], thresholds)

    def thresholds(self, dev: np.ndarray) -> np.ndarray:
        """Return what cuts the scores float32 (n,) of dev's rows into equal parts."""
        return learn_thresholds(dev, len(self.labels))

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return which scores of dev may make a threshold, and which of test may be on either side of one."""
        undecided = np.zeros(len(low), bool)
        dev, test = self.rows.places
        of_dev, of_test = thresholds_undecided((low[dev], high[dev]), (low[test], high[test]), len(self.labels))
        undecided[dev] = of_dev
        undecided[test] |= of_test
        return undecided


@dataclass(frozen=True)
class SentencePairTask(SamplesTask[SentencePairCard, SentencePair]):
    """Two sentences: is one the next of the other?"""

    def pairs(self, contents: Iterable[SentencePair]) -> Iterator[EncodedPair]:
        """Yield a pair each."""
        return encode_sentence_pairs(self.encoder, contents, self.prompt.position, self.card.protect_prompt)


@dataclass(frozen=True)
class CoreferenceTask(SamplesTask[CoreferenceCard, Mention]):
    """A pronoun and a span: does one mean the other?"""

    def pairs(self, contents: Iterable[Mention]) -> Iterator[EncodedPair]:
        """Yield a pair each."""
        stages = self.prompt.stages or 2
        return encode_mentions(self.encoder, contents, self.prompt.text, self.prompt.position, stages)
