"""What a task scores -> encoded pairs: prompt and text, in the order of the candidates (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from nsp_bert.checkpoints.checkpoint import SPECIALS_PER_PAIR
from nsp_bert.contents import Cloze, Mention, Question, SentencePair
from nsp_bert.prompts import Position
from nsp_bert.tokenization import EncodedPair, Inputs, PairEncoder, Part


def encode_label_pairs(
    encoder: PairEncoder, texts: Iterable[str], prompts: Sequence[str], position: Position
) -> LabelPairs:
    """Return len(texts) * len(prompts) pairs, all prompts of a text in turn.

    `prefix` puts the prompt first, `suffix` the text (paper, section 3). A text may be cut at its right end. Raises
    UserError where a prompt alone is too long.
    """
    parts = [encoder.part(prompt) for prompt in prompts]
    for part in parts:
        encoder.room(len(part.token_ids))
    return LabelPairs(encoder, list(texts), parts, position)


@dataclass(frozen=True, eq=False)
class LabelPairs:
    """Texts, each with every prompt, or some of these pairs: `chosen` int64 (n,) are their places among all.

    To iterate over, they are pairs like any others. What scores them takes `stretches`: a text is tokenised once in
    each, and there is no object a pair.
    """

    encoder: PairEncoder
    texts: Sequence[str]
    prompts: Sequence[Part]
    position: Position
    chosen: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts) * len(self.prompts) if self.chosen is None else len(self.chosen)

    def __iter__(self) -> Iterator[EncodedPair]:
        places = range(len(self)) if self.chosen is None else self.chosen.tolist()
        for place, same in groupby((divmod(place, len(self.prompts)) for place in places), itemgetter(0)):
            text = [self.encoder.part(self.texts[place], "right")]
            for _, prompt in same:
                yield self.encoder.encode(*_in_order([self.prompts[prompt]], text, self.position))

    def at(self, places: np.ndarray) -> LabelPairs:
        """Return the pairs at places int64 (n,), in that order."""
        return replace(self, chosen=places if self.chosen is None else self.chosen[places])

    def stretches(self, size: int) -> Iterator[LabelStretch]:
        """Yield the pairs, `size` at a time."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            places = np.arange(start, stop) if self.chosen is None else self.chosen[start:stop]
            texts, prompt_of = np.divmod(places, len(self.prompts))
            needed, text_of = np.unique(texts, return_inverse=True)
            of_them = [self.texts[place] for place in needed]
            yield LabelStretch(self.encoder, of_them, self.prompts, self.position, text_of, prompt_of)


class TokenTable(NamedTuple):
    """Runs of token ids behind each other: ids int32 (total + 1,), starts and lengths int64 (n,)."""

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, runs: Sequence[Sequence[int]]) -> TokenTable:
        """Return the table of some runs."""
        lengths = np.array([len(run) for run in runs], np.int64)
        ids = np.fromiter(chain(*runs, [0]), np.int32)  # never empty
        return cls(ids, np.cumsum(lengths) - lengths, lengths)

    def firsts(self, length: int) -> np.ndarray:
        """Return for each run the place int64 (n,) of the first whose first `length` ids are the same."""
        data, width = self.ids.tobytes(), self.ids.itemsize
        starts, stops = width * self.starts, width * (self.starts + np.minimum(self.lengths, length))
        seen: dict[bytes, int] = {}
        keys = (data[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True))
        return np.array([seen.setdefault(key, place) for place, key in enumerate(keys)], np.int64)


@dataclass(frozen=True, eq=False)
class LabelStretch:
    """n pairs, `text_of` and `prompt_of` int64 (n,) say of what; tokens are made when they are first asked for.

    Until then it is small, and can be sent to where it is scored.
    """

    encoder: PairEncoder
    texts: Sequence[str]
    prompts: Sequence[Part]
    position: Position
    text_of: np.ndarray
    prompt_of: np.ndarray

    def __len__(self) -> int:
        return len(self.text_of)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each pair, int64 (n,)."""
        return self._prompt_lengths[self.prompt_of] + self._kept + SPECIALS_PER_PAIR

    @property
    def originals(self) -> np.ndarray:
        """For each pair the place int64 (n,) of the first that equals it: with an equal prompt, and equal text kept."""
        table, text_of = self._tokens, len(self.prompts) + self.text_of
        rooms, room_of = np.unique(np.minimum(self._rooms, table.lengths.max()), return_inverse=True)
        alike = np.stack([table.firsts(room) for room in rooms])
        prompts = table.firsts(self.encoder.max_length)
        keys = alike[room_of[self.prompt_of], text_of] * len(prompts) + prompts[self.prompt_of]
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        return first[inverse]

    def inputs(self, rows: np.ndarray) -> Inputs:
        """Return token_ids, segment_ids, position_ids int32 (B, T) of pairs int64 (B,), filled up with 0."""
        starts, prompt_of = self._tokens.starts, self.prompt_of[rows]
        prompt = starts[prompt_of], self._prompt_lengths[prompt_of]
        text = starts[len(self.prompts) + self.text_of[rows]], self._kept[rows]
        (first, first_length), (second, _) = (prompt, text) if self.position == "prefix" else (text, prompt)
        split, stop = first_length + 2, self.lengths[rows]  # the second segment begins after [CLS] and [SEP]
        columns = np.arange(stop.max(), dtype=np.int32)
        in_second, inside = columns >= split[:, None], columns < stop[:, None]
        token_ids = self._tokens.ids.take(
            columns + np.where(in_second, (second - split)[:, None], (first - 1)[:, None]), mode="clip"
        )
        each = np.arange(len(rows))
        token_ids[:, 0] = self.encoder.cls_id
        token_ids[each, split - 1] = token_ids[each, stop - 1] = self.encoder.sep_id
        return token_ids * inside, (in_second & inside).astype(np.int32), columns * inside

    @cached_property
    def _tokens(self) -> TokenTable:
        """The prompts, then the texts."""
        longest = self.encoder.max_length
        texts = (self.encoder.tokenize(text)[:longest] for text in self.texts)
        return TokenTable.of([*(prompt.token_ids for prompt in self.prompts), *texts])

    @property
    def _prompt_lengths(self) -> np.ndarray:
        return self._tokens.lengths[: len(self.prompts)]

    @property
    def _rooms(self) -> np.ndarray:
        """Tokens that a text may have beside each prompt, int64 (prompts,)."""
        return self.encoder.max_length - SPECIALS_PER_PAIR - self._prompt_lengths

    @cached_property
    def _kept(self) -> np.ndarray:
        """Tokens that each pair keeps of its text, int64 (n,)."""
        text_lengths = self._tokens.lengths[len(self.prompts) :]
        return np.minimum(text_lengths[self.text_of], self._rooms[self.prompt_of])


def encode_sentence_pairs(
    encoder: PairEncoder, pairs: Iterable[SentencePair], position: Position, protect_prompt: bool
) -> Iterator[EncodedPair]:
    """Yield a pair each; both sentences may be cut at their right end, the longer first, a protected prompt never."""
    for pair in pairs:
        prompt = [encoder.part(pair.prompt, None if protect_prompt else "right")]
        yield encoder.encode(*_in_order(prompt, [encoder.part(pair.text, "right")], position))


def encode_mentions(
    encoder: PairEncoder, mentions: Iterable[Mention], template: str, position: Position, stages: int
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
    encoder: PairEncoder, questions: Iterable[Question], template: str, position: Position, stages: int
) -> Iterator[EncodedPair]:
    """Yield a pair per candidate, all candidates of a mention in turn (paper, section 3.2.2).

    A description is a prompt with `{}` and what stands in it, which may be cut at its right end. Two stages: the
    text with the first prompt about the mention is one segment, the description the other. One stage leaves that
    prompt out, as the authors' release does.
    """
    for question in questions:
        mention = question.mention
        end = mention.offset + len(mention.name)
        text = _around(encoder, mention.text, mention.offset, end, encoder.max_length // 2)
        if stages == 2:
            text = [*text, encoder.part(template.replace("{}", mention.name))]
        for prompt, filler in question.descriptions:
            head, tail = prompt.split("{}")
            description = [encoder.part(head), encoder.part(filler, "right"), encoder.part(tail)]
            yield encoder.encode(*_in_order(description, text, position))


def encode_clozes(
    encoder: PairEncoder, clozes: Iterable[Cloze], blank: str, position: Position, soft: bool
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
    """Return the pair whose candidate has the position ids that the blank would have had.

    For the text a _ b (one token each), the candidate c and a suffix: the tokens [CLS] a b [SEP] c [SEP] have the
    positions 0 1 3 4 2 5; c reads as if it stood between a and b. With a prefix, [CLS] c [SEP] a b [SEP] have
    0 3 1 2 4 5: the first [SEP] takes position 1, and the text goes on from there.
    """
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
