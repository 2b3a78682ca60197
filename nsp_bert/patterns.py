"""What a card says for the other methods: patterns with slots, and named words for the labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from nsp_bert.prompts import Strict

LABEL = "label"
CARD_WORDS = "card"  # the name of the label words that NSP prompts have
BETWEEN_SEGMENTS = "||"
PatternKind = Literal["cloze", "soft_cloze", "soft_causal", "soft_nsp", "causal", "lm_bff", "adapet", "entailment"]
SOFT = "soft:"  # before a number of soft tokens
MOST_SOFT = 100  # tokens in a place: more is a slip of the pen
SLOT = re.compile(rf"\{{({SOFT}[^{{}}]*|\w*)\}}")


class Slot(NamedTuple):
    """A place in a pattern that a row or a label fills."""

    name: str


class SoftTokens(NamedTuple):
    """So many soft tokens, whose embeddings are trained, in a place of a pattern."""

    number: int


Fragment = str | Slot | SoftTokens


@dataclass(frozen=True)
class Pattern:
    """A template for any method: one or two segments of texts, slots and soft tokens."""

    segments: tuple[tuple[Fragment, ...], ...]

    @property
    def slots(self) -> list[str]:
        """The names of the slots, in order."""
        return [piece.name for segment in self.segments for piece in segment if isinstance(piece, Slot)]

    @property
    def soft_tokens(self) -> int:
        """Number of soft tokens, which are numbered through."""
        return sum(piece.number for segment in self.segments for piece in segment if isinstance(piece, SoftTokens))

    @property
    def ends_with_label(self) -> bool:
        """Whether nothing comes after the label."""
        return self.segments[-1][-1:] == (Slot(LABEL),)


def parse_pattern(text: str) -> Pattern:
    """Return a pattern from its text: {text}, {other}, {label} … are slots, || is between two segments.

    {soft:8} are eight soft tokens. Raises ValueError for a pattern without one {label}, with a slot twice, or with more
    than two segments.
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


def _pieces(segment: str) -> tuple[Fragment, ...]:
    """Return texts and slots in turn; `split` puts the slots' names at odd places."""
    parts = SLOT.split(segment)
    return tuple(_slot(part) if place % 2 else part for place, part in enumerate(parts) if part or place % 2)


def _slot(name: str) -> Slot | SoftTokens:
    if not name.startswith(SOFT):
        return Slot(name)
    count = name.removeprefix(SOFT)
    if not (count.isascii() and count.isdecimal() and 1 <= int(count) <= MOST_SOFT):
        raise ValueError(f"{{{name}}} must hold a number of soft tokens from 1 to {MOST_SOFT}")
    return SoftTokens(int(count))


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


class DescriptionFacts(OtherFacts):
    """A text, `||` and what is said of it, with {label} where a label's word or a candidate is part of that."""

    pattern: PlainText
    words: str = CARD_WORDS

    @property
    def describes(self) -> bool:
        """Whether each label has a description of its own."""
        return LABEL in parse_plain(self.pattern).slots


class PlainFacts(OtherFacts):
    """In what order a row is read without a prompt, and what replaces the card's own."""

    pattern: PlainText


class TopicFacts(Strict):
    """Patterns of a sentence about a topic, which are numbered from 1, and the set of words."""

    patterns: list[PatternText] = Field(min_length=1)
    words: str = CARD_WORDS


class Methods(Strict):
    """What the methods take that are not NSP-BERT.

    `cloze`, `lm_bff` and `adapet` are for masked, `causal` for causal language models, `entailment` for a classifier of
    a text with a description, `topic` for similarity and TCBert, `plain` for a classifier without a prompt.
    `soft_cloze`, `soft_causal` and `soft_nsp` have soft tokens: in a cloze, for a causal model, in an NSP prompt.
    """

    cloze: LanguageFacts | None = None
    soft_cloze: LanguageFacts | None = None
    soft_causal: LanguageFacts | None = None
    soft_nsp: LanguageFacts | None = None
    causal: LanguageFacts | None = None
    lm_bff: LanguageFacts | None = None
    adapet: LanguageFacts | None = None
    entailment: DescriptionFacts | None = None
    topic: TopicFacts | None = None
    plain: PlainFacts | None = None

    def of_kind(self, kind: PatternKind) -> LanguageFacts | DescriptionFacts | None:
        """Return the pattern of a kind, None where the card has none."""
        facts: LanguageFacts | DescriptionFacts | None = getattr(self, kind)
        return facts

    @property
    def word_sets(self) -> set[str]:
        """The names of the sets of words."""
        own = {facts.words for facts in (*self._language, self.topic) if facts}
        return own | ({self.entailment.words} if self.entailment and self.entailment.describes else set())

    @property
    def patterns(self) -> list[str]:
        """Every pattern of a language model, and about a topic."""
        return [*(facts.pattern for facts in self._language), *(self.topic.patterns if self.topic else ())]

    @property
    def _language(self) -> list[LanguageFacts]:
        soft = (self.soft_cloze, self.soft_causal, self.soft_nsp)
        return [facts for facts in (self.cloze, *soft, self.causal, self.lm_bff, self.adapet) if facts]

    @model_validator(mode="after")
    def _check_soft_tokens(self) -> Self:
        for kind, facts in self:
            for text in facts.patterns if isinstance(facts, TopicFacts) else [facts.pattern] if facts else []:
                if bool(parse_plain(text).soft_tokens) != kind.startswith("soft_"):
                    raise ValueError(f"{kind}: {text!r}: {{soft:N}} must be in the soft_ patterns, and in no other")
        return self


class MethodFacts(Strict):
    """The part of a card that is about other methods; it may be left out."""

    slots: ClassVar[frozenset[str]] = frozenset()  # that a pattern fills from a row of the task, all of them
    plain_pattern: ClassVar[str] = ""  # of a row of the task without a prompt
    described_slots: ClassVar[frozenset[str]] = frozenset()  # of a row of the task with a description

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
            if slots not in (self.slots, self.described_slots - {LABEL}):
                wanted = ", ".join(f"{{{slot}}}" for slot in sorted(self.slots))
                raise ValueError(f"methods: {text!r} must hold {wanted} and no other slot beside {{{LABEL}}}")
        plain, own = self.methods.plain, parse_plain(self.plain_pattern)
        if plain and set(parse_plain(plain.pattern).slots) != set(own.slots):
            raise ValueError(f"methods: {plain.pattern!r} must hold the slots of {self.plain_pattern!r} and no other")
        described = self.methods.entailment
        if described and set(parse_plain(described.pattern).slots) != self.described_slots:
            wanted = ", ".join(f"{{{slot}}}" for slot in sorted(self.described_slots))
            raise ValueError(f"methods: {described.pattern!r} must hold {wanted} and no other slot")
        return self
