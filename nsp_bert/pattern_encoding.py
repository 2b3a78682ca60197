"""A row in a pattern -> the tokens that a language model sees, and those that it is asked for in the label's place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

from nsp_bert.contents import Piece
from nsp_bert.patterns import LABEL, Fragment, Pattern, Slot, SoftTokens
from nsp_bert.tokenization import Cut, EncodedPair, PairEncoder, Part, Reads

Slots = Mapping[str, str | list[Piece]]
"""What fills a pattern: a text, which CUTS says whether it may be cut, or one in pieces, each of which says so."""
CUTS: dict[str, Cut] = {"text": "right", "other": "right", "before": "left", "after": "right"}  # other slots stay whole


@dataclass(frozen=True)
class Filled:
    """[CLS] and one or two segments, each with its [SEP]; the label begins at `start`."""

    token_ids: list[int]
    first_length: int
    start: int


@dataclass(frozen=True)
class PatternEncoder:
    """Puts rows into a pattern. Texts are cut, the longest first; the pattern and the label never are.

    `soft_id` is the first of the ids of soft tokens.
    """

    encoder: PairEncoder
    pattern: Pattern
    mask_id: int
    soft_id: int = 0

    def masked(self, slots: Slots, words: Sequence[Sequence[int]]) -> EncodedPair:
        """Return a row with [MASK] in the label's place, asked for the tokens of words that are all as long.

        Raises UserError where the pattern alone is too long.
        """
        length = len(words[0])
        filled = self._fill(slots, [self.mask_id] * length)
        places = list(range(filled.start, filled.start + length))
        tokens = [[word[place] for word in words] for place in range(length)]
        return EncodedPair(filled.token_ids, filled.first_length, reads=Reads(places, tokens))

    def causal(self, slots: Slots, words: Sequence[Sequence[int]]) -> Iterator[EncodedPair]:
        """Yield a row with each word in the label's place, asked for every token from there on.

        There is no [SEP] after a word that ends the pattern, and soft tokens are not asked for. Raises UserError where
        the pattern alone is too long.
        """
        soft = range(self.soft_id, self.soft_id + self.pattern.soft_tokens)
        for word in words:
            filled = self._fill(slots, word)
            token_ids = filled.token_ids[:-1] if self.pattern.ends_with_label else filled.token_ids
            asked = [place for place in range(filled.start, len(token_ids)) if token_ids[place] not in soft]
            reads = Reads([place - 1 for place in asked], [[token_ids[place]] for place in asked])
            yield EncodedPair(token_ids, min(filled.first_length, len(token_ids)), reads=reads)

    def sentence(self, slots: Slots, masks: int) -> EncodedPair:
        """Return a row with so many [MASK] in the label's place, asked for nothing.

        Raises UserError where the pattern alone is too long.
        """
        return self.plain(slots, [self.mask_id] * masks)

    def plain(self, slots: Slots, word: Sequence[int] = ()) -> EncodedPair:
        """Return a row with a word in the label's place, where the pattern has one, asked for nothing.

        Raises UserError where the pattern alone is too long.
        """
        filled = self._fill(slots, word)
        return EncodedPair(filled.token_ids, filled.first_length)

    def _fill(self, slots: Slots, label: Sequence[int]) -> Filled:
        soft = count(self.soft_id)
        segments = [
            [(piece, self._parts(piece, slots, label, soft)) for piece in segment] for segment in self.pattern.segments
        ]
        parts = [part for segment in segments for _, own in segment for part in own]
        kept = iter(self.encoder.fit(parts, specials=1 + len(segments)))
        token_ids, start, ends = [self.encoder.cls_id], 0, []
        for segment in segments:
            for piece, own in segment:
                if piece == Slot(LABEL):
                    start = len(token_ids)
                for _ in own:
                    token_ids += next(kept)
            token_ids.append(self.encoder.sep_id)
            ends.append(len(token_ids))
        return Filled(token_ids, ends[0], start)

    def _parts(self, piece: Fragment, slots: Slots, label: Sequence[int], soft: Iterator[int]) -> list[Part]:
        if isinstance(piece, str):
            return [self.encoder.part(piece)]
        if isinstance(piece, SoftTokens):
            return [Part(list(islice(soft, piece.number)))]
        if piece.name == LABEL:
            return [Part(list(label))]
        filling = slots[piece.name]
        pieces = [Piece(filling, CUTS.get(piece.name))] if isinstance(filling, str) else filling
        return [self.encoder.part(*one) for one in pieces]
