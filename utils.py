"""Shared tokenization and data loaders: files -> examples -> encoded pairs.

A dataset is described by one card, `datasets/cards/NAME.yaml`; nothing here knows a dataset by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nsp_bert.cards import ClozeCard, CoreferenceCard, EntityLinkingCard, Position, SentencePairCard
from nsp_bert.checkpoint import SPECIALS_PER_PAIR
from nsp_bert.errors import UserError
from nsp_bert.rows import read_json_lines, read_table
from nsp_bert.scorer import EncodedPair
from nsp_bert.tokenization import PairEncoder, Part, load_tokenizer, make_pair_encoder  # noqa: F401


@dataclass(frozen=True, slots=True)  # there are as many as rows
class Example:
    """One row of a split: `index` counts from 0 in file order; `label` is a label value as text, or None.

    `content` is what the task scores: a text, a SentencePair, a Mention, a Cloze or an EntityMention. Examples of
    the same `cluster` are not independent.
    """

    index: int
    id: Any
    content: Any
    label: str | None
    cluster: Any = None

    @property
    def shown(self) -> dict[str, Any]:
        """Return the content as a reader of the results wants to see it."""
        return {"text": self.content} if isinstance(self.content, str) else asdict(self.content)


@dataclass(frozen=True)
class SentencePair:
    """The sentence in the prompt's place, and the other."""

    prompt: str
    text: str

    def with_text(self, text: str) -> SentencePair:
        """Return the same prompt with another text."""
        return replace(self, text=text)


@dataclass(frozen=True)
class Mention:
    """A pronoun and a span of a text, with the character offsets of both."""

    text: str
    span: str
    span_offset: int
    pronoun: str
    pronoun_offset: int

    def with_text(self, text: str) -> Mention:
        """Return the same prompt with another text, in which the span and the pronoun have no place of their own."""
        return replace(self, text=text, span_offset=0, pronoun_offset=0)


@dataclass(frozen=True)
class EntityMention:
    """A name in a text, with its character offset."""

    text: str
    name: str
    offset: int

    def with_text(self, text: str) -> EntityMention:
        """Return the same prompt with another text, in which the name has no place of its own."""
        return replace(self, text=text, offset=0)


@dataclass(frozen=True)
class Cloze:
    """What stands before and after the blank, and the candidates for it."""

    before: str
    after: str
    candidates: tuple[str, ...]

    def with_text(self, text: str) -> Cloze:
        """Return the same candidates with another text before the blank and nothing after it."""
        return replace(self, before=text, after="")


def read_rows(card: Any, path: Path, limit: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of a file in the format that the card names."""
    if card.format == "json-lines":
        return read_json_lines(path, limit)
    return read_table(path, card.columns, "\t" if card.format == "tsv" else ",", limit)


def load_examples(card: Any, data_dir: Path, split: str, limit: int | None = None) -> list[Example]:
    """Return the first `limit` rows of a split in file order. Raises UserError naming file and line."""
    path = split_path(card, data_dir, split)
    parse = PARSERS[card.task]
    examples: list[Example] = []
    for index, (place, row) in enumerate(read_rows(card, path, limit)):
        content, labels = parse(card, place, row)
        label = row.get(card.fields.label)
        if label is not None and str(label) not in labels:
            raise UserError(f"{place}: unknown label {label!r}; {card.title} has {_some(list(labels))}")
        if examples and (label is None) != (examples[0].label is None):
            raise UserError(f'{place}: "{card.fields.label}" must stand in every row or in none')
        row_id = row.get(card.fields.id, row.get("id"))
        cluster = row.get(card.clusters) if card.clusters else None
        examples.append(Example(index, row_id, content, None if label is None else str(label), cluster))
    if not examples:
        raise UserError(f"{path}: holds no rows")
    return examples


def load_entity_mentions(
    card: EntityLinkingCard, data_dir: Path, split: str, limit: int | None = None
) -> list[Example]:
    """Return the mentions of the first `limit` texts, an example each, in file order; the id is the text's.

    A label is an entity's id or one of the card's types. An offset that is not the name's is mended: it only decides
    what a long text keeps. Raises UserError naming file and line.
    """
    path, fields = split_path(card, data_dir, split), card.fields
    examples: list[Example] = []
    for place, row in read_json_lines(path, limit):
        text, mentions = _text(card, place, row, fields.text), row.get(fields.mentions)
        if not isinstance(mentions, list) or not all(isinstance(mention, dict) for mention in mentions):
            raise UserError(f'{place}: no "{fields.mentions}" with the mentions; is this a file of {card.title}?')
        for mention in mentions:
            name, label = _text(card, place, mention, fields.name), mention.get(fields.label)
            offset = str(mention.get(fields.offset))
            if not name or not offset.isdecimal():
                raise UserError(f'{place}: the mention {name!r} has no name or no "{fields.offset}" (found {offset})')
            if isinstance(label, str) and label.startswith(card.nil_prefix) and label not in card.types:
                raise UserError(f"{place}: unknown type {label!r}; {card.title} has {_some(list(card.types))}")
            if examples and (label is None) != (examples[0].label is None):
                raise UserError(f'{place}: "{fields.label}" must stand with every mention or with none')
            found = text.startswith(name, int(offset))
            content = EntityMention(text, name, int(offset) if found else max(text.find(name), 0))
            examples.append(Example(len(examples), row.get(fields.id), content, None if label is None else str(label)))
    if not examples:
        raise UserError(f"{path}: holds no mentions")
    return examples


def _text(card: Any, place: str, row: dict[str, Any], key: str) -> str:
    text = row.get(key)
    if not isinstance(text, str):
        raise UserError(f'{place}: no "{key}" with a text; is this a file of {card.title}?')
    return text


def _parse_text(card: Any, place: str, row: dict[str, Any]) -> tuple[str, Any]:
    keys = card.fields.text
    texts = [_text(card, place, row, key) for key in ([keys] if isinstance(keys, str) else keys)]
    return card.joiner.join(texts), card.labels


def _parse_pair(card: SentencePairCard, place: str, row: dict[str, Any]) -> tuple[SentencePair, Any]:
    prompt = row.get(card.fields.prompt)
    if isinstance(prompt, list) and prompt and all(isinstance(part, str) for part in prompt):
        prompt = card.joiner.join(prompt)
    if not isinstance(prompt, str):
        raise UserError(f'{place}: no "{card.fields.prompt}" with a text or a list of texts; is this {card.title}?')
    return SentencePair(prompt, _text(card, place, row, card.fields.text)), card.labels


def _parse_mention(card: CoreferenceCard, place: str, row: dict[str, Any]) -> tuple[Mention, Any]:
    fields = card.fields
    text, target = _text(card, place, row, fields.text), row.get(fields.target)
    if not isinstance(target, dict):
        raise UserError(f'{place}: no "{fields.target}" with the spans; is this a file of {card.title}?')
    found: list[Any] = []
    for key, offset_key in ((fields.span, fields.span_offset), (fields.pronoun, fields.pronoun_offset)):
        span, offset = _text(card, place, target, key), target.get(offset_key)
        if not isinstance(offset, int) or not text.startswith(span, offset):
            raise UserError(f'{place}: "{key}" {span!r} does not stand at "{offset_key}" {offset!r} of the text')
        found += [span, offset]
    return Mention(text, *found), card.labels


def _parse_cloze(card: ClozeCard, place: str, row: dict[str, Any]) -> tuple[Cloze, Any]:
    text, candidates = _text(card, place, row, card.fields.text), row.get(card.fields.candidates)
    if text.count(card.blank) != 1:
        raise UserError(f"{place}: the blank {card.blank} stands {text.count(card.blank)} times in the text, not once")
    if not isinstance(candidates, list) or not candidates or not all(isinstance(c, str) and c for c in candidates):
        raise UserError(f'{place}: "{card.fields.candidates}" is not a list of texts, none of them empty')
    before, after = text.split(card.blank)
    return Cloze(before, after, tuple(candidates)), [str(index) for index in range(len(candidates))]


PARSERS: dict[str, Callable[[Any, str, dict[str, Any]], tuple[Any, Any]]] = {
    "classification": _parse_text,
    "sentence-pair": _parse_pair,
    "coreference": _parse_mention,
    "cloze": _parse_cloze,
}


def read_texts(source: str) -> list[str]:
    """Return the non-blank lines of a UTF-8 file, or of standard input for `-`. Raises UserError with the line."""
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise UserError(f"--input {source}: cannot be read ({error.strerror})") from error
    texts = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise UserError(f"--input {source}:{number}: not UTF-8 ({error.reason}); convert the file") from error
        if text:
            texts.append(text)
    return texts


def split_path(card: Any, data_dir: Path, split: str) -> Path:
    """Return a split's file. Raises UserError when the folder, the dataset or the split is not there."""
    path = data_dir / card.path.format(split=split)
    if not data_dir.is_dir():
        raise UserError(f"{data_dir}: no such data folder; datasets/README.md tells how to fill one")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder, so no {card.title}; {card.source}")
    if not path.is_file():
        there = sorted(one.stem for one in path.parent.glob(f"*{path.suffix}"))
        raise UserError(f"{path}: no such file; --split can be {', '.join(there) or 'nothing: the folder is empty'}")
    return path


def _some(values: list[str]) -> str:
    return ", ".join(values[:8]) + (f" … ({len(values)} labels)" if len(values) > 8 else "")


def encode_label_pairs(
    encoder: PairEncoder, texts: list[str], prompts: list[str], position: Position
) -> Iterator[EncodedPair]:
    """Yield len(texts) * len(prompts) pairs, all prompts of a text in turn; each text and prompt is tokenised once.

    `prefix` puts the prompt first, `suffix` the text (paper, section 3). A text may be cut at its right end.
    """
    prompt_parts = [[encoder.part(prompt)] for prompt in prompts]
    for text in texts:
        text_part = [encoder.part(text, "right")]
        for prompt_part in prompt_parts:
            yield encoder.encode(*_in_order(prompt_part, text_part, position))


def encode_sentence_pairs(
    encoder: PairEncoder, pairs: list[SentencePair], position: Position, protect_prompt: bool
) -> Iterator[EncodedPair]:
    """Yield a pair each; both sentences may be cut at their right end, the longer first, a protected prompt never."""
    for pair in pairs:
        prompt = [encoder.part(pair.prompt, None if protect_prompt else "right")]
        yield encoder.encode(*_in_order(prompt, [encoder.part(pair.text, "right")], position))


def encode_mentions(
    encoder: PairEncoder, mentions: list[Mention], template: str, position: Position, stages: int
) -> Iterator[EncodedPair]:
    """Yield a pair each: does the pronoun mean the span (paper, section 3.2.2)?

    Two stages: the text with the first prompt about the pronoun is one segment, the span the other. One stage: the
    text is one segment, prompt and span the other. Of a long text the stretch between pronoun and span stays longest.
    """
    for mention in mentions:
        question, span = encoder.part(template.replace("{}", mention.pronoun)), encoder.part(mention.span)
        start = min(mention.span_offset, mention.pronoun_offset)
        end = max(mention.span_offset + len(mention.span), mention.pronoun_offset + len(mention.pronoun))
        room = encoder.max_length - SPECIALS_PER_PAIR - len(question.token_ids) - len(span.token_ids)
        text = _around(encoder, mention.text, start, end, room)
        first, second = ([*text, question], [span]) if stages == 2 else (text, [question, span])
        yield encoder.encode(*_in_order(second, first, position))


def _around(encoder: PairEncoder, text: str, start: int, end: int, room: int) -> list[Part]:
    """Return a text whole where it fits into `room` tokens; else what stands before, between and after two offsets.

    The middle is protected unless it alone takes more than half of the room.
    """
    whole = encoder.part(text)
    if len(whole.token_ids) <= room:
        return [whole]
    middle = encoder.part(text[start:end])
    cut = Part(middle.token_ids, "left") if len(middle.token_ids) > room // 2 else middle
    return [encoder.part(text[:start], "left"), cut, encoder.part(text[end:], "right")]


def encode_entity_mentions(
    encoder: PairEncoder,
    mentions: list[EntityMention],
    descriptions: Sequence[Sequence[tuple[str, str]]],
    template: str,
    position: Position,
    stages: int,
) -> Iterator[EncodedPair]:
    """Yield a pair per candidate, all candidates of a mention in turn (paper, section 3.2.2).

    A description is a prompt with `{}` and what stands in it, which may be cut at its right end. Two stages: the
    text with the first prompt about the mention is one segment, the description the other. One stage leaves that
    prompt out, as the authors' release does.
    """
    for mention, candidates in zip(mentions, descriptions, strict=True):
        end = mention.offset + len(mention.name)
        text = _around(encoder, mention.text, mention.offset, end, encoder.max_length // 2)
        if stages == 2:
            text = [*text, encoder.part(template.replace("{}", mention.name))]
        for prompt, filler in candidates:
            head, tail = prompt.split("{}")
            description = [encoder.part(head), encoder.part(filler, "right"), encoder.part(tail)]
            yield encoder.encode(*_in_order(description, text, position))


def encode_clozes(
    encoder: PairEncoder, clozes: list[Cloze], blank: str, position: Position, soft: bool
) -> Iterator[EncodedPair]:
    """Yield a pair per candidate, all candidates of a text in turn; a long text keeps a window around the blank.

    Soft positions: the blank leaves the text and the candidate takes its position ids (paper, section 3.2.3). Hard
    positions: the blank stays as the data spell it and positions count on.
    """
    mark = encoder.part(blank)
    for cloze in clozes:
        before, after = encoder.part(cloze.before, "left"), encoder.part(cloze.after, "right")
        for word in cloze.candidates:
            candidate = encoder.part(word)
            if soft:
                yield _soft_cloze(encoder, before, after, candidate, position)
            else:
                yield encoder.encode(*_in_order([candidate], [before, mark, after], position))


def _soft_cloze(encoder: PairEncoder, before: Part, after: Part, candidate: Part, position: Position) -> EncodedPair:
    left, word, right = encoder.fit([before, candidate, after])
    start = 1 if position == "suffix" else 2  # with a prefix, the candidate's [SEP] has position 1
    places = range(start, start + len(left) + len(word) + len(right))
    blank = places[len(left) : len(left) + len(word)]
    text_places = [*places[: len(left)], *places[len(left) + len(word) :]]
    end = places.stop
    if position == "suffix":
        token_ids = [encoder.cls_id, *left, *right, encoder.sep_id, *word, encoder.sep_id]
        return EncodedPair(token_ids, len(left) + len(right) + 2, [0, *text_places, end, *blank, end + 1])
    token_ids = [encoder.cls_id, *word, encoder.sep_id, *left, *right, encoder.sep_id]
    return EncodedPair(token_ids, len(word) + 2, [0, *blank, 1, *text_places, end])


def _in_order(prompt: list[Part], text: list[Part], position: Position) -> tuple[list[Part], list[Part]]:
    return (prompt, text) if position == "prefix" else (text, prompt)
