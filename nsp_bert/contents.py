"""What a task scores of a row: a text, two sentences, a mention, a blank; and how a row becomes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import pairwise
from typing import NamedTuple

from nsp_bert.cards import Card, ClassificationCard, ClozeCard, CoreferenceCard, SentencePairCard
from nsp_bert.errors import UserError
from nsp_bert.files import Row
from nsp_bert.rows import Content
from nsp_bert.tokenization import Cut


class Piece(NamedTuple):
    """A stretch of a text; `cut` names the end it may be shortened from, None protects it."""

    text: str
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class Text(Content):
    """A text to classify."""

    text: str

    @property
    def slots(self) -> dict[str, str]:
        """What fills a pattern."""
        return {"text": self.text}

    def with_text(self, text: str) -> Text:
        """Return another text."""
        return Text(text)


@dataclass(frozen=True)
class SentencePair(Content):
    """The sentence in the prompt's place, and the other."""

    prompt: str
    text: str

    @property
    def slots(self) -> dict[str, str]:
        """What fills a pattern; {other} is the sentence in the prompt's place."""
        return {"text": self.text, "other": self.prompt}

    def with_text(self, text: str) -> SentencePair:
        """Return the same prompt with another text."""
        return replace(self, text=text)


@dataclass(frozen=True)
class Mention(Content):
    """A pronoun and a span of a text, with the character offsets of both."""

    text: str
    span: str
    span_offset: int
    pronoun: str
    pronoun_offset: int

    @property
    def slots(self) -> dict[str, str | list[Piece]]:
        """What fills a pattern; {marked} is the text with marks."""
        return {"text": self.text, "pronoun": self.pronoun, "span": self.span, "marked": self.marked}

    @property
    def marked(self) -> list[Piece]:
        """The text with the span as _span_ and the pronoun as [pronoun]; both stay whole where the rest is cut."""
        ends = [(self.span_offset + len(self.span), 0, "_"), (self.pronoun_offset + len(self.pronoun), 0, "]")]
        starts = [(self.span_offset, 1, "_"), (self.pronoun_offset, 1, "[")]
        marks = sorted(ends + starts)  # where one ends and the other starts, the end comes first
        apart = marks[1] in ends  # else they overlap, and nothing is between them
        cuts: tuple[Cut | None, ...] = ("left", None, "right" if apart else None, None, "right")
        places = pairwise([0, *(place for place, _, _ in marks), len(self.text)])
        stretches = [Piece(self.text[start:stop], cut) for (start, stop), cut in zip(places, cuts, strict=True)]
        marked = zip(stretches, (Piece(mark) for _, _, mark in marks), strict=False)
        return [*(piece for both in marked for piece in both), stretches[-1]]

    def with_text(self, text: str) -> Mention:
        """Return the same prompt with another text, in which the span and the pronoun have no place of their own."""
        return replace(self, text=text, span_offset=0, pronoun_offset=0)


@dataclass(frozen=True)
class EntityMention(Content):
    """A name in a text, with its character offset."""

    text: str
    name: str
    offset: int

    def with_text(self, text: str) -> EntityMention:
        """Return the same prompt with another text, in which the name has no place of its own."""
        return replace(self, text=text, offset=0)


@dataclass(frozen=True)
class Question(Content):
    """A mention with the descriptions that it is scored with: a prompt with `{}` and what fills it."""

    mention: EntityMention
    descriptions: tuple[tuple[str, str], ...]

    @property
    def shown(self) -> dict[str, object]:
        """The mention; what its candidates read would be too much."""
        return self.mention.shown

    def with_text(self, text: str) -> Question:
        """Return the same mention and descriptions with another text."""
        return replace(self, mention=self.mention.with_text(text))


@dataclass(frozen=True)
class Cloze(Content):
    """What is before and after the blank, and the candidates for it."""

    before: str
    after: str
    candidates: tuple[str, ...]

    @property
    def slots(self) -> dict[str, str]:
        """What fills a pattern; {label} between them is the blank."""
        return {"before": self.before, "after": self.after}

    def with_text(self, text: str) -> Cloze:
        """Return the same candidates with another text before the blank and nothing after it."""
        return replace(self, before=text, after="")


@singledispatch
def parse_row(card: Card, place: str, row: Row) -> tuple[Content, Sequence[str]]:
    """Return what a row of a card's task asks, and the labels it may have. Raises UserError with the place."""
    raise TypeError(f"rows of {card.title} are read by a loader of its own")


@parse_row.register
def _(card: ClassificationCard, place: str, row: Row) -> tuple[Content, Sequence[str]]:
    keys = card.fields.text
    texts = [text_of(card, place, row, key) for key in ([keys] if isinstance(keys, str) else keys)]
    return Text(card.joiner.join(texts)), card.label_values


@parse_row.register
def _(card: SentencePairCard, place: str, row: Row) -> tuple[Content, Sequence[str]]:
    prompt = row.get(card.fields.prompt)
    if isinstance(prompt, list) and prompt and all(isinstance(part, str) for part in prompt):
        prompt = card.joiner.join(prompt)
    if not isinstance(prompt, str):
        raise UserError(f'{place}: no "{card.fields.prompt}" with a text or a list of texts; is this {card.title}?')
    return SentencePair(prompt, text_of(card, place, row, card.fields.text)), card.label_values


@parse_row.register
def _(card: CoreferenceCard, place: str, row: Row) -> tuple[Content, Sequence[str]]:
    fields = card.fields
    text, target = text_of(card, place, row, fields.text), row.get(fields.target)
    if not isinstance(target, dict):
        raise UserError(f'{place}: no "{fields.target}" with the spans; is this a file of {card.title}?')
    span = _span(card, place, text, target, fields.span, fields.span_offset)
    pronoun = _span(card, place, text, target, fields.pronoun, fields.pronoun_offset)
    return Mention(text, *span, *pronoun), card.label_values


@parse_row.register
def _(card: ClozeCard, place: str, row: Row) -> tuple[Content, Sequence[str]]:
    text, candidates = text_of(card, place, row, card.fields.text), row.get(card.fields.candidates)
    if text.count(card.blank) != 1:
        raise UserError(f"{place}: the blank {card.blank} is {text.count(card.blank)} times in the text, not once")
    if not isinstance(candidates, list) or not candidates or not all(isinstance(c, str) and c for c in candidates):
        raise UserError(f'{place}: "{card.fields.candidates}" is not a list of texts, none of them empty')
    before, after = text.split(card.blank)
    return Cloze(before, after, tuple(candidates)), [str(index) for index in range(len(candidates))]


def _span(card: Card, place: str, text: str, target: Row, key: str, offset_key: str) -> tuple[str, int]:
    """Return a span of a text and its character offset."""
    span, offset = text_of(card, place, target, key), target.get(offset_key)
    if not isinstance(offset, int) or not text.startswith(span, offset):
        raise UserError(f'{place}: "{key}" {span!r} is not at "{offset_key}" {offset!r} of the text')
    return span, offset


def text_of(card: Card, place: str, row: Row, key: str) -> str:
    """Return the text under a key of a row. Raises UserError with the place where there is none."""
    text = row.get(key)
    if not isinstance(text, str):
        raise UserError(f'{place}: no "{key}" with a text; is this a file of {card.title}?')
    return text


def some(values: Sequence[str]) -> str:
    """Return the first labels, and how many there are."""
    return ", ".join(values[:8]) + (f" … ({len(values)} labels)" if len(values) > 8 else "")
