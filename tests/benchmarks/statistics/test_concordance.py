"""Counting in n log n against comparing every pair, and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prejudge.benchmarks.statistics.concordance import Concordance
from prejudge.benchmarks.statistics.ranking import TiedRanking

PAIRS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, most), min_size=n, max_size=n) for most in (40, 5)))
)


def compared(x: np.ndarray, y: np.ndarray) -> Concordance:
    return Concordance.of(TiedRanking.of(x), TiedRanking.of(y))


@given(PAIRS)
def test_every_entry_is_compared_with_all_others(pair: tuple[list[int], list[int]]) -> None:
    x, y = (np.array(v, dtype=float) for v in pair)
    found = compared(x, y)
    signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    higher = [(-x, -y), (-y, -x)]
    for by, place in enumerate(found.places):
        assert sorted(place.tolist()) == list(range(len(x)))
        order = np.lexsort(higher[by][::-1])  # highest first; what is equal in both is interchangeable
        at = np.argsort(place)
        np.testing.assert_array_equal(found.balance[at], signs.sum(axis=1)[order])
        for tied, values in zip(found.tied, (x, y), strict=True):
            np.testing.assert_array_equal(tied[at], (values[:, None] == values).sum(axis=1)[order])
    assert found.excess == signs.sum() // 2
    assert found.ordered == tuple(int((v[:, None] != v).sum()) // 2 for v in (x, y))


@given(PAIRS)
def test_taus_are_those_of_scipy(pair: tuple[list[int], list[int]]) -> None:
    x, y = (np.array(v, dtype=float) for v in pair)
    found = compared(x, y)
    if np.ptp(x) and np.ptp(y):
        assert found.tau_b() == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
        assert found.weighted_tau() == pytest.approx(stats.weightedtau(x, y).statistic, abs=1e-12)
    else:
        assert np.isnan(found.tau_b())
        assert np.isnan(found.weighted_tau())
    assert np.isnan(found.share_right()) == (np.ptp(y) == 0)


@pytest.mark.parametrize("levels", [7, 10**9])
def test_taus_of_many_entries(levels: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(levels, size=5000).astype(float)
    x = y + rng.normal(size=5000) * levels / 2
    x = np.round(x) if levels < 10 else x
    assert compared(x, y).tau_b() == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert compared(x, y).weighted_tau() == pytest.approx(stats.weightedtau(x, y).statistic, abs=1e-12)


def test_a_subset_with_empty_positions() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 50, (2, 300)).astype(float)
    inside = rng.random(300) < 0.2
    found = Concordance.of(TiedRanking.of(x).among(inside), TiedRanking.of(y).among(inside))
    assert found.tau_b() == compared(x[inside], y[inside]).tau_b()
    assert found.weighted_tau() == pytest.approx(compared(x[inside], y[inside]).weighted_tau(), abs=1e-12)
