"""Rows in patterns: the pattern and the label stay whole, texts are cut, and the right places are asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.errors import UserError
from nsp_bert.pattern_encoding import PatternEncoder
from nsp_bert.patterns import parse_pattern
from nsp_bert.tokenization import PairEncoder

CLS, SEP, MASK = 1, 2, 3
texts = st.text("abcdef", max_size=40)
words = st.integers(1, 4).flatmap(
    lambda length: st.lists(st.lists(st.integers(200, 220), min_size=length, max_size=length), min_size=1, max_size=5)
)


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def patterns(pattern: str, max_length: int = 30) -> PatternEncoder:
    return PatternEncoder(PairEncoder(letters, CLS, SEP, max_length), parse_pattern(pattern), MASK)


@given(text=texts, words=words, max_length=st.integers(12, 60))
def test_a_masked_row(text: str, words: list[list[int]], max_length: int) -> None:
    pair = patterns("X{label}YZ{text}!", max_length).masked({"text": text}, words)
    length = len(words[0])
    room = max_length - 6 - length
    kept = text[:room]
    assert pair.token_ids == [CLS, *letters("X"), *[MASK] * length, *letters(f"YZ{kept}!"), SEP]
    assert pair.first_length == len(pair.token_ids)
    assert pair.reads is not None
    assert [pair.token_ids[place] for place in pair.reads.places] == [MASK] * length
    assert [list(column) for column in zip(*pair.reads.tokens, strict=True)] == words


@given(text=texts, other=texts, words=words, max_length=st.integers(12, 60))
def test_of_two_texts_the_longer_is_cut(text: str, other: str, words: list[list[int]], max_length: int) -> None:
    pair = patterns("{text}?||{label},{other}", max_length).masked({"text": text, "other": other}, words)
    first, second = pair.token_ids[: pair.first_length], pair.token_ids[pair.first_length :]
    kept, kept_other = first[1:-2], second[len(words[0]) + 1 : -1]
    assert first == [CLS, *kept, *letters("?"), SEP]
    assert second == [*[MASK] * len(words[0]), *letters(","), *kept_other, SEP]
    assert letters(text)[: len(kept)] == kept
    assert letters(other)[: len(kept_other)] == kept_other
    assert len(pair.token_ids) == min(len(text + other) + 5 + len(words[0]), max_length)
    cut, cut_other = len(text) - len(kept), len(other) - len(kept_other)
    assert not cut or len(kept) >= len(kept_other) - 1
    assert not cut_other or len(kept_other) >= len(kept) - 1


@given(text=texts, words=words, max_length=st.integers(12, 60))
def test_a_causal_row_ends_with_its_word(text: str, words: list[list[int]], max_length: int) -> None:
    """Nothing behind the word, not even [SEP]; its first token is told by the last one of the pattern."""
    for pair, word in zip(patterns("{text}是{label}", max_length).causal({"text": text}, words), words, strict=True):
        assert pair.token_ids[-len(word) - 1 :] == [*letters("是"), *word]
        assert pair.reads is not None
        assert pair.reads.places == list(range(len(pair.token_ids) - len(word) - 1, len(pair.token_ids) - 1))
        assert pair.reads.tokens == [[token] for token in word]
        assert pair.first_length == len(pair.token_ids) <= max_length


@given(before=texts, after=texts, words=words, max_length=st.integers(12, 60))
def test_a_causal_blank_asks_all_that_follows(before: str, after: str, words: list[list[int]], max_length: int) -> None:
    filled = patterns("{before}{label}{after}", max_length)
    for pair, word in zip(filled.causal({"before": before, "after": after}, words), words, strict=True):
        assert pair.reads is not None
        start = pair.reads.places[0] + 1
        assert pair.token_ids[start : start + len(word)] == word
        assert [[token] for token in pair.token_ids[start:]] == pair.reads.tokens
        assert pair.token_ids[-1] == SEP
        kept = "".join(map(chr, pair.token_ids[1:start]))
        assert before.endswith(kept)
        assert after.startswith("".join(map(chr, pair.token_ids[start + len(word) : -1])))


@given(text=texts, words=words, max_length=st.integers(14, 60))
def test_soft_tokens_are_numbered_through_and_never_cut(text: str, words: list[list[int]], max_length: int) -> None:
    encoder = PairEncoder(letters, CLS, SEP, max_length)
    filled = PatternEncoder(encoder, parse_pattern("{soft:2}X{label}{text}{soft:3}"), MASK, soft_id=1000)
    pair = filled.masked({"text": text}, words)
    masks = [MASK] * len(words[0])
    kept = letters(text[: max_length - 8 - len(masks)])
    assert pair.token_ids == [CLS, 1000, 1001, *letters("X"), *masks, *kept, 1002, 1003, 1004, SEP]


@given(text=texts, words=words)
def test_a_causal_row_does_not_ask_for_soft_tokens(text: str, words: list[list[int]]) -> None:
    """They have no share in the probabilities."""
    encoder = PairEncoder(letters, CLS, SEP, 60)
    filled = PatternEncoder(encoder, parse_pattern("{soft:2}{label}{soft:3}{text}"), MASK, soft_id=1000)
    for pair, word in zip(filled.causal({"text": text}, words), words, strict=True):
        assert pair.reads is not None
        assert [token for (token,) in pair.reads.tokens] == [*word, *letters(text), SEP]
        assert all([pair.token_ids[place + 1]] == asked for place, asked in zip(*pair.reads, strict=True))


def test_a_pattern_that_alone_is_too_long() -> None:
    with pytest.raises(UserError, match="the prompt alone takes 14 tokens, more than --max-length 12"):
        patterns("0123456789{label}{text}", 12).masked({"text": "a"}, [[200, 201]])
