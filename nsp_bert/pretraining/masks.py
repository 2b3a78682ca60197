"""Which tokens of a batch are masked: whole words, in random order, up to a share of each row (Cui et al. 2021)."""

from __future__ import annotations

import numpy as np


def choose_masked(maskable: np.ndarray, word_starts: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return bool (B, T): whole words in random order, `share` of a row's tokens on average, one word at least.

    `maskable` and `word_starts` are bool (B, T); a word runs from its start to the next start. A word is masked while
    its middle is within the budget, `share` of the maskable tokens rounded up or down at random.
    """
    rows, length = maskable.shape
    word = np.cumsum(word_starts, axis=1) - 1
    order_of_word = np.take_along_axis(rng.random((rows, length)), word, axis=1)
    order_of_word[~maskable] = 2.0  # behind every word
    tokens = np.argsort(order_of_word, axis=1, kind="stable")  # the words in their order, the tokens of each together
    drawn = np.take_along_axis(order_of_word, tokens, axis=1)
    start, end = _word_bounds(drawn)
    budget = np.floor(maskable.sum(axis=1, keepdims=True) * share + rng.random((rows, 1)))
    fits = start + end + 1 < 2 * np.maximum(budget, 1)
    fits |= start == 0  # the first word always
    chosen = np.zeros((rows, length), bool)
    np.put_along_axis(chosen, tokens, fits & (drawn < 2.0), axis=1)
    return chosen


def _word_bounds(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each place int (B, T) the first and the last place with its value; equal values are neighbours.

    For a row 5 5 7 7 7: first 0 0 2 2 2, last 1 1 4 4 4.
    """
    rows, length = drawn.shape
    is_last = np.ones((rows, length), bool)
    is_last[:, :-1] = drawn[:, 1:] != drawn[:, :-1]
    places = np.arange(length)
    last = np.minimum.accumulate(np.where(is_last, places, length)[:, ::-1], axis=1)[:, ::-1]
    first = np.maximum.accumulate(np.where(np.roll(is_last, 1, axis=1), places, 0), axis=1)
    return first, last
