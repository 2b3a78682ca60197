"""Batches hold every pair once, and those of label prompts are to the byte what their pairs, one by one, give."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.encoding import LabelPairs, encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.prompts import Position
from nsp_bert.scoring.windows import Batch, PairList, Window, make_windows
from nsp_bert.tokenization import EncodedPair, PairEncoder

few_letters = st.lists(st.sampled_from("abc"), max_size=8).map("".join)


def letters(text: str) -> list[int]:
    """Return a token a letter."""
    return [ord(letter) for letter in text]


@st.composite
def label_pairs(draw: st.DrawFn) -> LabelPairs:
    """Texts and prompts that are often equal, empty or too long."""
    texts = draw(st.lists(few_letters, max_size=12))
    prompts = draw(st.lists(few_letters, min_size=1, max_size=5))
    max_length = draw(st.integers(3 + max(map(len, prompts)), 16))
    position: Position = draw(st.sampled_from(["prefix", "suffix"]))
    return encode_label_pairs(PairEncoder(letters, 1, 2, max_length), texts, prompts, position)


def windows_of(pairs: Sequence[EncodedPair] | LabelPairs, size: int) -> list[Window]:
    return list(make_windows(pairs, size, np.full(len(pairs), np.nan)))


def contents(windows: list[Window], batch_tokens: int) -> list[list[tuple[object, ...]]]:
    """Return the batches of each window, to the byte."""

    def content(batch: Batch) -> tuple[object, ...]:
        arrays = (batch.places, batch.rows, *batch.inputs)
        return tuple((array.dtype, array.shape, array.tobytes()) for array in arrays)

    return [[content(batch) for batch in window.batches(batch_tokens)] for window in windows]


@given(pairs=label_pairs(), size=st.integers(1, 25), batch_tokens=st.integers(1, 90))
def test_label_pairs_are_batched_as_their_pairs_are(pairs: LabelPairs, size: int, batch_tokens: int) -> None:
    one_by_one = list(pairs)
    assert len(one_by_one) == len(pairs)
    expected = contents(windows_of(one_by_one, size), batch_tokens)
    assert contents(windows_of(pairs, size), batch_tokens) == expected


@given(pairs=label_pairs(), size=st.integers(1, 25), data=st.data())
def test_some_of_the_label_pairs(pairs: LabelPairs, size: int, data: st.DataObject) -> None:
    """And some of those, in any order."""
    every = list(pairs)
    for _ in range(2):
        places = data.draw(st.lists(st.sampled_from(range(len(every))), unique=True) if every else st.just([]))
        pairs, every = pairs.at(np.array(places, np.int64)), [every[place] for place in places]
        assert list(pairs) == every
        assert contents(windows_of(pairs, size), 40) == contents(windows_of(every, size), 40)


@given(pairs=label_pairs())
def test_windows_that_travel_are_batched_alike(pairs: LabelPairs) -> None:
    windows = windows_of(pairs, 7)
    assert contents(pickle.loads(pickle.dumps(windows)), 40) == contents(windows, 40)


def test_a_text_is_tokenised_once_a_window() -> None:
    seen: list[str] = []

    def tokenize(text: str) -> list[int]:
        seen.append(text)
        return letters(text)

    pairs = encode_label_pairs(PairEncoder(tokenize, 1, 2, 9), ["甲", "乙", "丙", "丁"], ["p", "qq", "r"], "prefix")
    for window in windows_of(pairs, 6):
        window.batches(20)
    assert sorted(seen) == sorted(["p", "qq", "r", "甲", "乙", "丙", "丁"])


def test_a_prompt_that_is_too_long_is_refused() -> None:
    encoder = PairEncoder(letters, 1, 2, 6)
    encode_label_pairs(encoder, ["a"], ["abc"], "prefix")
    with pytest.raises(UserError, match="the prompt alone takes 7 tokens, more than --max-length 6; shorten"):
        encode_label_pairs(encoder, ["a"], ["abc", "abcd"], "prefix")


def test_equal_pairs_of_a_window_are_one_row() -> None:
    pairs = [EncodedPair([2, number % 3 + 5, 3], 2) for number in range(12)]
    batches = [batch for window in windows_of(pairs, 4) for batch in window.batches(100)]
    assert [batch.places.tolist() for batch in batches] == [[0, 3, 1, 2], [4, 7, 5, 6], [8, 11, 9, 10]]
    assert [batch.rows.tolist() for batch in batches] == [[0, 0, 1, 2]] * 3
    assert [len(batch.inputs[0]) for batch in batches] == [3] * 3


def test_what_has_a_value_is_left_out() -> None:
    """A window whose pairs all have one, and a batch whose pairs do."""
    pairs = [EncodedPair([2, number + 5, 3], 2) for number in range(9)]
    values = np.array([0, 0, 0, np.nan, 0, 0, 0, 0, np.nan], np.float32)
    windows = list(make_windows(pairs, 3, values))
    assert [window.start for window in windows] == [3, 6]
    assert [[batch.places.tolist() for batch in window.batches(6)] for window in windows] == [[[3, 4]], [[8]]]


@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=50), batch_tokens=st.integers(1, 1000))
def test_batches_hold_every_pair_once_within_the_budget(lengths: list[int], batch_tokens: int) -> None:
    pairs = [EncodedPair([place + 1] * length, length // 2) for place, length in enumerate(lengths)]
    seen = []
    for batch in Window(0, PairList(pairs), np.ones(len(pairs), bool)).batches(batch_tokens):
        assert batch.inputs[0].size <= batch_tokens or len(batch.inputs[0]) == 1
        for place, row in zip(batch.places, batch.rows, strict=True):
            ids, segments, positions = (array[row] for array in batch.inputs)
            length = lengths[place]
            assert positions.tolist() == list(range(length)) + [0] * (len(ids) - length)
            assert ids[:length].tolist() == pairs[place].token_ids
            assert not ids[length:].any()
            assert segments.tolist() == [0] * (length // 2) + [1] * (length - length // 2) + [0] * (len(ids) - length)
        seen += batch.places.tolist()
    assert sorted(seen) == list(range(len(pairs)))


def test_the_order_is_that_of_texts_and_prompts() -> None:
    texts, prompts = ["ab", "c"], ["x", "yz"]
    pairs = encode_label_pairs(PairEncoder(letters, 1, 2, 9), texts, prompts, "suffix")
    expected = [[1, *letters(text), 2, *letters(prompt), 2] for text, prompt in product(texts, prompts)]
    assert [pair.token_ids for pair in pairs] == expected
