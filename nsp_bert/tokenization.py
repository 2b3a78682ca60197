"""Text -> WordPiece ids; parts of a prompt and a text -> one pair, shortened only where that is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from nsp_bert.checkpoints.checkpoint import SPECIALS_PER_PAIR, Checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError

Tokenize = Callable[[str], list[int]]
Cut = Literal["left", "right"]
Inputs = tuple[np.ndarray, ...]
"""token_ids, segment_ids, position_ids int32 (B, T); with reads also places (B, P) and tokens (B, P, C), -1: none."""
PIECES = re.compile(r"[\u4e00-\u9fff]|[^ \u4e00-\u9fff]+")  # no word has a Chinese character and another, or a space
REMEMBERED = 65_536  # pieces


def load_tokenizer(vocab_path: Path, do_lower_case: bool = True) -> Tokenize:
    """Return text -> token ids by bert4keras' WordPiece tokenizer, without [CLS] and [SEP].

    Special tokens that are spelled out in a text stay plain text.
    """
    return WordPieces(vocab_path, do_lower_case)


class WordPieces:
    """bert4keras' tokenizer on the pieces of a text, whose ids it remembers: most of a text has been seen before.

    Pickled it is the name of its file, which is read once in a process that it is sent to.
    """

    def __init__(self, vocab_path: Path, do_lower_case: bool):
        """Read the vocabulary. Raises UserError where it cannot be."""
        import_tensorflow()
        from bert4keras.tokenizers import Tokenizer

        self._source = vocab_path, do_lower_case
        whole = Tokenizer(load_vocabulary(vocab_path), do_lower_case=do_lower_case, token_start=None, token_end=None)
        self._ids = lru_cache(REMEMBERED)(lambda piece: whole.tokens_to_ids(whole.tokenize(piece)))

    def __call__(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        return list(chain.from_iterable(map(self._ids, PIECES.findall(text))))

    def __reduce__(self) -> tuple[Callable[..., WordPieces], tuple[Path, bool]]:
        return _read_once, self._source


@cache
def _read_once(vocab_path: Path, do_lower_case: bool) -> WordPieces:
    return WordPieces(vocab_path, do_lower_case)


class Reads(NamedTuple):
    """Which tokens are asked for: at each of P places, that of each of C candidates."""

    places: list[int]
    tokens: list[list[int]]


class EncodedPair(NamedTuple):
    """[CLS] first [SEP] second [SEP]: the token ids, and how many of them are segment 0 (up to the first [SEP]).

    `position_ids` are as many as the token ids; without them positions count from 0. `reads` is what a head that knows
    the vocabulary is asked.
    """

    token_ids: list[int]
    first_length: int
    position_ids: list[int] | None = None
    reads: Reads | None = None


@dataclass(frozen=True)
class Part:
    """A run of token ids in a segment; `cut` names the end it may be shortened from, None protects it."""

    token_ids: list[int]
    cut: Cut | None = None

    def shortened(self, length: int) -> list[int]:
        """Return the `length` token ids that stay."""
        return self.token_ids[len(self.token_ids) - length :] if self.cut == "left" else self.token_ids[:length]


@dataclass(frozen=True)
class PairEncoder:
    """Assembles [CLS] first [SEP] second [SEP] within `max_length` tokens; protected parts are never shortened."""

    tokenize: Tokenize
    cls_id: int
    sep_id: int
    max_length: int

    def part(self, text: str, cut: Cut | None = None) -> Part:
        """Return a tokenised part; `cut` names the end it may be shortened from."""
        return Part(self.tokenize(text), cut)

    def encode(self, first: list[Part], second: list[Part]) -> EncodedPair:
        """Return the pair, the longest parts that may be cut being shortened until it fits.

        Raises UserError when the protected parts alone are too long.
        """
        parts = self.fit([*first, *second])
        token_ids = [self.cls_id, *chain.from_iterable(parts[: len(first)]), self.sep_id]
        first_length = len(token_ids)
        token_ids += [*chain.from_iterable(parts[len(first) :]), self.sep_id]
        return EncodedPair(token_ids, first_length)

    def room(self, protected: int, specials: int = SPECIALS_PER_PAIR) -> int:
        """Return how many tokens may stand beside `protected` ones and [CLS] and [SEP], `specials` of them.

        Raises UserError where those alone are too long.
        """
        room = self.max_length - specials - protected
        if room < 0:
            raise UserError(
                f"the prompt alone takes {protected + specials} tokens, more than --max-length"
                f" {self.max_length}; shorten the template or raise it"
            )
        return room

    def fit(self, parts: list[Part], specials: int = SPECIALS_PER_PAIR) -> list[list[int]]:
        """Return the token ids that stay of each part beside so many of [CLS] and [SEP]."""
        return [part.shortened(length) for part, length in zip(parts, self._kept_lengths(parts, specials), strict=True)]

    def _kept_lengths(self, parts: list[Part], specials: int) -> list[int]:
        lengths = [len(part.token_ids) for part in parts]
        surplus = sum(lengths) + specials - self.max_length
        flexible = [index for index, part in enumerate(parts) if part.cut]
        self.room(sum(lengths) - sum(lengths[index] for index in flexible), specials)
        while surplus > 0:
            longest = max(flexible, key=lambda index: lengths[index])
            others = [lengths[index] for index in flexible if index != longest]
            lead = lengths[longest] - max(others, default=0)
            step = min(surplus, max(lead, 1))
            lengths[longest] -= step
            surplus -= step
        return lengths


def make_pair_encoder(checkpoint: Checkpoint, max_length: int) -> PairEncoder:
    """Return an encoder with the checkpoint's vocabulary. Raises UserError when its position table is shorter."""
    if max_length > checkpoint.max_position:
        raise UserError(
            f"--max-length {max_length} is beyond the position table of {checkpoint.name}:"
            f" {checkpoint.max_position} at most"
        )
    vocabulary = load_vocabulary(checkpoint.vocab_path)
    tokenize = load_tokenizer(checkpoint.vocab_path, checkpoint.do_lower_case)
    return PairEncoder(tokenize, vocabulary["[CLS]"], vocabulary["[SEP]"], max_length)
