"""Holm's correction against values by hand, the bootstrap against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from nsp_bert.results.metrics import RESAMPLES, mcnemar
from nsp_bert.results.significance import holm, paired_bootstrap


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before it), 0.04 x 1 (the same)."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.001, 0.7]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(values: list[float]) -> None:
    found = np.array(holm(values))
    plain = np.array(values)
    assert (found >= plain - 1e-12).all()
    assert (found <= np.minimum(len(values) * plain, 1) + 1e-12).all()
    assert (np.diff(found[np.argsort(plain, kind="stable")]) >= 0).all()


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 5), (1, 9), (250, 401)])
def test_mcnemar_is_the_exact_binomial(gained: int, lost: int) -> None:
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected)


def differences(gained: int, lost: int, same: int, splits: int = 1) -> np.ndarray:
    return np.repeat([1, -1, 0], [gained, lost, same])[:, None].repeat(splits, axis=1)


def test_an_obvious_difference_and_none() -> None:
    clear = paired_bootstrap(differences(60, 0, 40, splits=5))
    assert (clear.mean, clear.p) == (0.6, 2 / (1 + RESAMPLES))
    assert 0.4 < clear.low < 0.6 < clear.high < 0.8
    none = paired_bootstrap(differences(0, 0, 50, splits=5))
    assert (none.mean, none.low, none.high, none.p) == (0, 0, 0, 1)
    balanced = paired_bootstrap(differences(20, 20, 60))
    assert balanced.mean == 0
    assert balanced.p > 0.8


def test_of_one_split_it_is_near_the_normal_test() -> None:
    """The standard error of a mean of 1, -1 and 0, and its two-sided p."""
    gained, lost, n = 140, 100, 1000
    found = paired_bootstrap(differences(gained, lost, n - gained - lost))
    mean = (gained - lost) / n
    error = (((gained + lost) / n - mean**2) / n) ** 0.5
    assert found.p == pytest.approx(2 * norm.sf(mean / error), abs=0.006)
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.002)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.002)


def test_it_is_drawn_anew_from_splits_too() -> None:
    """Two splits in which opposite methods win: whatever rows are drawn, no split is more likely than the other."""
    apart = np.column_stack([np.ones(500, int), -np.ones(500, int)])
    found = paired_bootstrap(apart)
    assert (found.mean, found.low, found.high) == (0, -1, 1)
    assert found.p > 0.9
    even = paired_bootstrap(np.concatenate([apart, -apart]))
    assert even.high < 0.1


def test_rows_that_belong_together_are_drawn_together() -> None:
    """Ten copies of each row are no more than the rows: the interval is theirs, not that of ten times as many."""
    rows = differences(30, 15, 55)
    alone, copies = paired_bootstrap(rows), paired_bootstrap(rows.repeat(10, axis=0))
    clusters = np.arange(100).repeat(10)
    together = paired_bootstrap(rows.repeat(10, axis=0), clusters)
    assert (together.low, together.high, together.p) == (alone.low, alone.high, alone.p)
    assert copies.high - copies.low < 0.5 * (alone.high - alone.low)


def test_unlike_clusters_count_by_their_rows() -> None:
    found = paired_bootstrap(np.array([[1], [1], [1], [0]]), np.array([7, 7, 7, 2]))
    assert (found.mean, found.low, found.high) == (0.75, 0.0, 1.0)


def test_it_is_the_same_again() -> None:
    random = np.random.default_rng(3)
    rows = random.integers(-1, 2, (200, 5))
    assert paired_bootstrap(rows) == paired_bootstrap(rows)
    assert paired_bootstrap(rows) == paired_bootstrap(rows[random.permutation(200)])
    assert paired_bootstrap(rows, seed=1) != paired_bootstrap(rows)
