"""Prompts of the other methods: patterns with slots, and named words for the labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self, TypeVar

from nsp_bert.errors import UserError
from nsp_bert.prompts import PlainPrompt, Prompt, Strict

LABEL = "label"
CARD_WORDS = "card"  # the name of the label words that NSP prompts have
BETWEEN_SEGMENTS = "||"
Reference = Literal["nearest", "mean"]
MethodCardT = TypeVar("MethodCardT", bound="MethodCard")
SLOT = re.compile(r"\{(\w*)\}")


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


class Slot(NamedTuple):
    """A place in a pattern that a row or a label fills."""

    name: str


@dataclass(frozen=True)
class Pattern:
    """A template for any method: one or two segments of texts and slots."""

    segments: tuple[tuple[str | Slot, ...], ...]

    @property
    def slots(self) -> list[str]:
        """The names of the slots, in order."""
        return [piece.name for segment in self.segments for piece in segment if isinstance(piece, Slot)]

    @property
    def ends_with_label(self) -> bool:
        """Whether nothing comes after the label."""
        return self.segments[-1][-1:] == (Slot(LABEL),)


def parse_pattern(text: str) -> Pattern:
    """Return a pattern from its text: {text}, {other}, {label} … are slots, || is between two segments.

    Raises ValueError for a pattern without one {label}, with a slot twice, or with more than two segments.
    """
    pattern = parse_plain(text)
    if LABEL not in pattern.slots:
        raise ValueError(f"{text!r} must hold {{{LABEL}}}")
    return pattern


def parse_plain(text: str) -> Pattern:
    """Return a pattern that needs no {label}. Raises ValueError for a slot twice, or for more than two segments."""
    segments = text.split(BETWEEN_SEGMENTS)
    pattern = Pattern(tuple(_pieces(segment) for segment in segments))
    if len(set(pattern.slots)) < len(pattern.slots) or len(segments) > 2:
        raise ValueError(f"{text!r} must hold no slot twice, and at most one {BETWEEN_SEGMENTS}")
    return pattern


TEXT_ALONE = Pattern(((Slot("text"),),))  # a row that is put into no pattern


def _pieces(segment: str) -> tuple[str | Slot, ...]:
    """Return texts and slots in turn; `split` puts the slots' names at odd places."""
    parts = SLOT.split(segment)
    return tuple(Slot(part) if place % 2 else part for place, part in enumerate(parts) if part or place % 2)


def _valid(text: str) -> str:
    parse_pattern(text)
    return text


def _valid_plain(text: str) -> str:
    parse_plain(text)
    return text


PatternText = Annotated[str, AfterValidator(_valid)]
PlainText = Annotated[str, AfterValidator(_valid_plain)]


class WordSet(Strict):
    """Label value -> word. Labels that are left out have the word of the set `like`; `card` are the card's own words.

    `shared`: published with one word for several labels, so that these cannot be told apart.
    """

    like: str | None = None
    words: dict[str, str] = Field(default={})
    shared: bool = False


class OtherFacts(Strict):
    """What a method has otherwise than the card."""

    joiner: str | None = None
    max_length: int | None = None

    @property
    def replaced(self) -> dict[str, object]:
        """The values that replace the card's own."""
        return self.model_dump(include={"joiner", "max_length"}, exclude_none=True)


class LanguageFacts(OtherFacts):
    """A pattern with {label} for a language model, the set of words, and what replaces the card's own."""

    pattern: PatternText
    words: str = CARD_WORDS


class PlainFacts(OtherFacts):
    """In what order a row is read without a prompt, and what replaces the card's own."""

    pattern: PlainText


class TopicFacts(Strict):
    """Patterns of a sentence about a topic, which are numbered from 1, and the set of words."""

    patterns: list[PatternText] = Field(min_length=1)
    words: str = CARD_WORDS


class Methods(Strict):
    """What the methods take that are not NSP-BERT.

    `cloze` masked, `causal` language models, `topic` similarity, `plain` a classifier, which takes no prompt.
    """

    cloze: LanguageFacts | None = None
    causal: LanguageFacts | None = None
    topic: TopicFacts | None = None
    plain: PlainFacts | None = None

    @property
    def word_sets(self) -> set[str]:
        """The names of the sets of words."""
        return {facts.words for facts in (self.cloze, self.causal, self.topic) if facts}

    @property
    def patterns(self) -> list[str]:
        """Every pattern with {label}."""
        own = [facts.pattern for facts in (self.cloze, self.causal) if facts]
        return [*own, *(self.topic.patterns if self.topic else ())]


@dataclass(frozen=True)
class PatternPrompt:
    """One choice of a pattern and of the words, for a language model: `kind` is its key in the card."""

    kind: Literal["cloze", "causal"]
    pattern: str
    words: str

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it."""
        return {"pattern": self.pattern, "words": self.words}

    @property
    def shown(self) -> str:
        """The prompt in words."""
        return f"{self.pattern}, words {self.words}"

    def is_default(self, card: MethodFacts) -> bool:
        """Return whether it is the card's own."""
        facts = card.methods.cloze if self.kind == "cloze" else card.methods.causal
        return facts is not None and (self.pattern, self.words) == (facts.pattern, facts.words)

    def is_comparable(self, card: MethodFacts) -> bool:
        """Return whether a published number may be beside it: one is known for the card's own alone."""
        return self.is_default(card)


@dataclass(frozen=True)
class PatternChoice:
    """The pattern of a kind in the card, with the words of the user's choice or the card's."""

    kind: Literal["cloze", "causal"]
    words: str | None = None

    def prompts(self, card: MethodCard) -> Iterator[PatternPrompt]:
        """Yield one prompt. Raises UserError where the card has no such pattern, or no such words."""
        facts = self._facts(card)
        if not facts:
            raise UserError(self.missing(card))
        words = self.words or facts.words
        try:
            card.word_set(words)
        except ValueError as error:
            raise UserError(f"--words {words}: {card.title}: {error}") from error
        yield PatternPrompt(self.kind, facts.pattern, words)

    def missing(self, card: MethodCard) -> str:
        """Return what the card lacks, in a line; empty where nothing."""
        return "" if self._facts(card) else no_pattern(card, self.kind)

    def card(self, card: MethodCardT) -> MethodCardT:
        """Return a card with the joiner and the length that the pattern was published with."""
        facts = self._facts(card)
        return card.model_copy(update=facts.replaced if facts else {})

    def folder(self, _prompt: PatternPrompt) -> str:
        """Return no folder: there is one prompt."""
        return ""

    def _facts(self, card: MethodCard) -> LanguageFacts | None:
        return card.methods.cloze if self.kind == "cloze" else card.methods.causal


@dataclass(frozen=True)
class TopicPrompt:
    """One choice of a sentence about a topic that rows are put into, and of how their vectors are compared.

    `number` counts the card's patterns from 1 and is None for the text alone; `whitening` is the number of components.
    """

    number: int | None
    pattern: str
    words: str
    reference: Reference = "nearest"
    whitening: int | None = None

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it."""
        compared = {"reference": self.reference, "whitening": self.whitening}
        return {"pattern": self.pattern, "words": self.words} | compared

    @property
    def shown(self) -> str:
        """The prompt in words."""
        whitened = f", at most {self.whitening} whitened components" if self.whitening else ""
        return f"{self.pattern}, {self.reference} of the training rows{whitened}"

    def is_default(self, _card: MethodFacts) -> bool:
        """Return whether it is the card's first pattern, compared in the plain way."""
        return (self.number, self.reference, self.whitening) == (1, "nearest", None)

    def is_comparable(self, _card: MethodFacts) -> bool:
        """Return that no published number may be beside it: which rows those were made with is not said."""
        return False


@dataclass(frozen=True)
class TopicChoice:
    """The number of a card's pattern about a topic, None for the text alone, and how vectors are compared."""

    number: int | None
    reference: Reference = "nearest"
    whitening: int | None = None

    def prompts(self, card: MethodCard) -> Iterator[TopicPrompt]:
        """Yield one prompt. Raises UserError where the card has no such pattern."""
        facts = card.methods.topic
        if not facts:
            raise UserError(self.missing(card))
        if self.number and self.number > len(facts.patterns):
            raise UserError(f"--prompt {self.number}: {card.title} has {len(facts.patterns)} patterns about a topic")
        pattern = facts.patterns[self.number - 1] if self.number else "{text}"
        yield TopicPrompt(self.number, pattern, facts.words, self.reference, self.whitening)

    def missing(self, card: MethodCard) -> str:
        """Return what the card lacks, in a line; empty where nothing."""
        return "" if card.methods.topic else no_pattern(card, "topic")

    def card(self, card: MethodCardT) -> MethodCardT:
        """Return the card as it is."""
        return card

    def folder(self, _prompt: TopicPrompt) -> str:
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


AnyPrompt = Prompt | PatternPrompt | TopicPrompt | PlainPrompt
PromptT = TypeVar("PromptT", bound=AnyPrompt, default=Prompt)


class MethodFacts(Strict):
    """The part of a card that is about other methods; it may be left out."""

    slots: ClassVar[frozenset[str]] = frozenset()  # that a pattern fills from a row of the task, all of them
    plain_pattern: ClassVar[str] = ""  # of a row of the task without a prompt

    words: dict[str, WordSet] = Field(default={}, description="named words of the labels, beside the card's own")
    methods: Methods = Methods()

    @property
    def label_values(self) -> tuple[str, ...]:
        """The labels that every row is offered, in the order of its scores; none where rows differ."""
        return ()

    @property
    def own_words(self) -> Mapping[str, str]:
        """The label words of NSP prompts, none for a task whose labels have no words."""
        return {}

    def word_set(self, name: str) -> dict[str, str]:
        """Return label value -> word of a set. Raises ValueError where a label has none, or a set is not there."""
        chosen = self._words_of(name)
        if strange := [label for label in chosen if label not in self.label_values]:
            raise ValueError(f"words: {name}: {strange[0]!r} is no label")
        if missing := [label for label in self.label_values if label not in chosen]:
            raise ValueError(f"words: {name}: no word for the label {missing[0]!r}")
        return {label: chosen[label] for label in self.label_values}

    def _words_of(self, name: str, above: tuple[str, ...] = ()) -> dict[str, str]:
        """Return the words of a set and of those that it is like; `above` are the sets that are like this one."""
        if name == CARD_WORDS:
            return dict(self.own_words)
        if name not in self.words or name in above:
            raise ValueError(f"words: {name!r} is no set, or like itself; there are {', '.join(self.words) or 'none'}")
        chosen = self.words[name]
        return (self._words_of(chosen.like, (*above, name)) if chosen.like else {}) | chosen.words

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        for name in (*self.words, *self.methods.word_sets):
            counts = Counter(self.word_set(name).values())
            alike = [word for word, count in counts.items() if count > 1]
            if alike and not (name in self.words and self.words[name].shared):
                raise ValueError(f"words: {name}: {alike[0]!r} is the word of several labels; shared: true allows that")
        return self

    @model_validator(mode="after")
    def _check_patterns(self) -> Self:
        for text in self.methods.patterns:
            slots = set(parse_pattern(text).slots) - {LABEL}
            if slots != self.slots:
                wanted = ", ".join(f"{{{slot}}}" for slot in sorted(self.slots))
                raise ValueError(f"methods: {text!r} must hold {wanted} and no other slot beside {{{LABEL}}}")
        plain, own = self.methods.plain, parse_plain(self.plain_pattern)
        if plain and set(parse_plain(plain.pattern).slots) != set(own.slots):
            raise ValueError(f"methods: {plain.pattern!r} must hold the slots of {self.plain_pattern!r} and no other")
        return self
