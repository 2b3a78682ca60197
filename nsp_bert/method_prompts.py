"""Prompts of the other methods: one choice of a card's pattern and words, and which choices are to be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, Protocol

from typing_extensions import Self, TypeVar

from nsp_bert.errors import UnsuitableError, UserError
from nsp_bert.patterns import LABEL, MethodFacts, Methods, PatternKind, parse_plain
from nsp_bert.prompts import PlainPrompt, Prompt

Reference = Literal["nearest", "mean"]
Predict = Literal["masks", "linear"]
SoftHead = Literal["masked", "causal", "nsp"]
MethodCardT = TypeVar("MethodCardT", bound="MethodCard")


class MethodCard(Protocol):
    """A card with facts for other methods."""

    name: str
    title: str
    methods: Methods
    plain_pattern: ClassVar[str]

    def word_set(self, name: str) -> dict[str, str]:
        """Return label value -> word of a set. Raises ValueError where there is none."""

    def model_copy(self, *, update: dict[str, object]) -> Self:
        """Return a copy with other values."""


@dataclass(frozen=True)
class PatternPrompt:
    """One choice of a pattern and of the words: `kind` is its key in the card, `words` is empty without {label}."""

    kind: PatternKind
    pattern: str
    words: str

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it."""
        return {"pattern": self.pattern, "words": self.words or None}

    @property
    def shown(self) -> str:
        """The prompt in words."""
        return ", ".join(filter(None, [self.pattern, self.words and f"words {self.words}"]))

    def is_default(self, card: MethodFacts) -> bool:
        """Return whether it is the card's own."""
        facts = card.methods.of_kind(self.kind)
        return facts is not None and (self.pattern, self.words or facts.words) == (facts.pattern, facts.words)

    def is_comparable(self, card: MethodFacts) -> bool:
        """Return whether a published number may be beside it: one is known for the card's own alone."""
        return self.is_default(card)


@dataclass(frozen=True)
class PatternChoice:
    """The pattern of a kind in the card, with the words of the user's choice or the card's."""

    kind: PatternKind
    words: str | None = None

    def prompts(self, card: MethodCard) -> Iterator[PatternPrompt]:
        """Yield one prompt. Raises UserError where the card has no such pattern, or no such words."""
        facts = card.methods.of_kind(self.kind)
        if not facts:
            raise UnsuitableError(self.missing(card))
        if LABEL not in parse_plain(facts.pattern).slots:
            yield PatternPrompt(self.kind, facts.pattern, "")
            return
        words = self.words or facts.words
        try:
            card.word_set(words)
        except ValueError as error:
            raise UserError(f"--words {words}: {card.title}: {error}") from error
        yield PatternPrompt(self.kind, facts.pattern, words)

    def missing(self, card: MethodCard) -> str:
        """Return what the card lacks, in a line; empty where nothing."""
        return "" if card.methods.of_kind(self.kind) else no_pattern(card, self.kind)

    def card(self, card: MethodCardT) -> MethodCardT:
        """Return a card with the joiner and the length that the pattern was published with."""
        facts = card.methods.of_kind(self.kind)
        return card.model_copy(update=facts.replaced if facts else {})

    def folder(self, _prompt: PatternPrompt) -> str:
        """Return no folder: there is one prompt."""
        return ""


@dataclass(frozen=True)
class TopicPrompt:
    """One choice of a sentence about a topic that rows are put into.

    `number` counts the card's patterns from 1 and is None for the text alone.
    """

    number: int | None
    pattern: str
    words: str

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it."""
        return {"pattern": self.pattern, "words": self.words}

    def is_default(self, _card: MethodFacts) -> bool:
        """Return whether it is the card's first pattern."""
        return self.number == 1

    def is_comparable(self, _card: MethodFacts) -> bool:
        """Return that no published number may be beside it: which rows those were made with is not said."""
        return False


@dataclass(frozen=True)
class SimilarityPrompt(TopicPrompt):
    """The same with how the rows' vectors are compared; `whitening` is the number of components."""

    reference: Reference = "nearest"
    whitening: int | None = None

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it."""
        return super().settings | {"reference": self.reference, "whitening": self.whitening}

    @property
    def shown(self) -> str:
        """The prompt in words."""
        whitened = f", at most {self.whitening} whitened components" if self.whitening else ""
        return f"{self.pattern}, {self.reference} of the training rows{whitened}"

    def is_default(self, card: MethodFacts) -> bool:
        """Return whether it is the card's first pattern, compared in the plain way."""
        return super().is_default(card) and (self.reference, self.whitening) == ("nearest", None)


@dataclass(frozen=True)
class FilledTopicPrompt(TopicPrompt):
    """The same with what predicts: the words at the masks, or a linear layer on [CLS]."""

    predict: Predict = "masks"

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it."""
        return super().settings | {"predict": self.predict}

    @property
    def shown(self) -> str:
        """The prompt in words."""
        return f"{self.pattern}, words {self.words}, predicted by {self.predict}"

    def is_default(self, card: MethodFacts) -> bool:
        """Return whether it is the card's first pattern, whose masks predict."""
        return super().is_default(card) and self.predict == "masks"


TopicPromptT = TypeVar("TopicPromptT", bound=TopicPrompt)


@dataclass(frozen=True)
class TopicChoice(Generic[TopicPromptT]):
    """The number of a card's pattern about a topic, None for the text alone; `make` is what makes a prompt of it."""

    number: int | None
    make: Callable[[int | None, str, str], TopicPromptT]

    def prompts(self, card: MethodCard) -> Iterator[TopicPromptT]:
        """Yield one prompt. Raises UserError where the card has no such pattern."""
        facts = card.methods.topic
        if not facts:
            raise UnsuitableError(self.missing(card))
        if self.number and self.number > len(facts.patterns):
            raise UserError(f"--prompt {self.number}: {card.title} has {len(facts.patterns)} patterns about a topic")
        pattern = facts.patterns[self.number - 1] if self.number else "{text}"
        yield self.make(self.number, pattern, facts.words)

    def missing(self, card: MethodCard) -> str:
        """Return what the card lacks, in a line; empty where nothing."""
        return "" if card.methods.topic else no_pattern(card, "topic")

    def card(self, card: MethodCardT) -> MethodCardT:
        """Return the card as it is."""
        return card

    def folder(self, _prompt: TopicPromptT) -> str:
        """Return no folder: there is one prompt."""
        return ""


class PlainChoice:
    """Rows without a prompt, read as the card says or, where it says nothing, as all of its task."""

    def prompts(self, card: MethodCard) -> Iterator[PlainPrompt]:
        """Yield the one prompt."""
        facts = card.methods.plain
        yield PlainPrompt(facts.pattern if facts else card.plain_pattern)

    def missing(self, _card: MethodCard) -> str:
        """Return nothing: no card has to say anything."""
        return ""

    def card(self, card: MethodCardT) -> MethodCardT:
        """Return a card with what it says of rows without a prompt."""
        facts = card.methods.plain
        return card.model_copy(update=facts.replaced if facts else {})

    def folder(self, _prompt: PlainPrompt) -> str:
        """Return no folder: there is one prompt."""
        return ""


def no_pattern(card: MethodCard, kind: str) -> str:
    """Return that a card lacks the pattern of a method, in a line."""
    return (
        f"datasets/cards/{card.name}.yaml has no {kind} under methods, a pattern with {{{LABEL}}}; datasets/README.md"
        " has an example"
    )


AnyPrompt = Prompt | PatternPrompt | SimilarityPrompt | FilledTopicPrompt | PlainPrompt
PromptT = TypeVar("PromptT", bound=AnyPrompt, default=Prompt)
