"""Each statistic against a slow, obvious definition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.benchmarks.statistics import rank_statistics as statistics
from prejudge.benchmarks.statistics.concordance import Concordance
from prejudge.benchmarks.statistics.ranking import TiedRanking

VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=25)


def tau_and_pairs(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    pair = Concordance.of(TiedRanking.of(x), TiedRanking.of(y))
    return pair.tau_b(), pair.share_right()


def weighted_tau(x: np.ndarray, y: np.ndarray) -> float:
    return Concordance.of(TiedRanking.of(x), TiedRanking.of(y)).weighted_tau()


def bootstrap(x: Sequence[np.ndarray] | np.ndarray, y: Sequence[np.ndarray] | np.ndarray, **options: Any) -> np.ndarray:
    sides = [[TiedRanking.of(values) for values in side] for side in (x, y)]
    found = statistics.bootstrap_spearman(*sides, **options)
    return np.array([[[getattr(interval, end) for interval in row] for row in found] for end in ("low", "high")])


def _midranks(values: np.ndarray) -> np.ndarray:
    return np.array([np.sum(values < v) + (np.sum(values == v) + 1) / 2 for v in values])


@given(VALUES)
def test_kendall_and_pairs_equal_counting_pairs(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(v, dtype=float) for v in zip(*pairs, strict=True))
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in combinations(range(len(x)), 2)]
    balance = sum(a * b for a, b in signs)
    ordered_x, ordered_y = sum(a != 0 for a, _ in signs), sum(b != 0 for _, b in signs)
    tau, share = tau_and_pairs(x, y)
    if ordered_x and ordered_y:
        assert tau == pytest.approx(balance / np.sqrt(ordered_x * ordered_y))
    else:
        assert np.isnan(tau)
    if ordered_y:
        right = sum(1.0 if a * b > 0 else 0.5 * (a == 0) for a, b in signs if b)
        assert share == pytest.approx(right / ordered_y)
    else:
        assert np.isnan(share)


@given(VALUES)
def test_spearman_ranks_and_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(v, dtype=float) for v in zip(*pairs, strict=True))
    np.testing.assert_array_equal(statistics.ranks(x), _midranks(x))
    assert TiedRanking.of(x).tied == sum(np.sum(x == v) > 1 for v in x)
    rho = statistics.spearman(x, y)
    if np.ptp(x) and np.ptp(y):
        assert rho == pytest.approx(np.corrcoef(_midranks(x), _midranks(y))[0, 1])
        assert statistics.spearman(-x, y) == pytest.approx(-rho)
    else:
        assert np.isnan(rho)


def test_monotone_transformation_and_infinite_scores_change_nothing() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=50)
    x = y + rng.normal(size=50)
    huge = np.exp(100 * x)  # as synflow's values do
    huge[np.argmax(x)] = np.inf
    for statistic in (statistics.spearman, weighted_tau, statistics.regret):
        assert statistic(huge, y) == pytest.approx(statistic(x, y))
    assert tau_and_pairs(huge, y) == pytest.approx(tau_and_pairs(x, y))


def test_partial_correlation_is_that_of_the_residuals() -> None:
    rng = np.random.default_rng(1)
    z = rng.integers(0, 8, 300).astype(float)
    x, y = z + rng.normal(size=300), 2 * z + rng.normal(size=300)
    rx, ry, rz = (statistics.ranks(v) for v in (x, y, z))
    left = [v - np.polyval(np.polyfit(rz, v, 1), rz) for v in (rx, ry)]
    found = statistics.partial(*(statistics.pearson(a, b) for a, b in ((rx, ry), (rx, rz), (ry, rz))))
    assert found == pytest.approx(np.corrcoef(*left)[0, 1])
    assert abs(found) < 0.2 < statistics.spearman(x, y)
    assert np.isnan(statistics.partial(0.5, 1.0, 0.5))


def test_weighted_tau_weighs_the_best_most() -> None:
    y = np.arange(100.0)
    best_swapped, worst_swapped = y.copy(), y.copy()
    best_swapped[[98, 99]] = y[[99, 98]]
    worst_swapped[[0, 1]] = y[[1, 0]]
    assert weighted_tau(best_swapped, y) < weighted_tau(worst_swapped, y) < 1
    assert weighted_tau(y, y) == pytest.approx(1)
    assert weighted_tau(-y, y) == pytest.approx(-1)
    assert np.isnan(weighted_tau(np.zeros(100), y))


def test_precision_breaks_ties_at_random() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 5, 60).astype(float), rng.integers(0, 20, 60).astype(float)
    drawn = []
    for _ in range(4000):
        top = [set(np.lexsort((rng.random(60), v))[-12:]) for v in (x, y)]
        drawn.append(len(top[0] & top[1]) / 12)
    assert statistics.precision_at(x, y, 0.2) == pytest.approx(np.mean(drawn), abs=0.01)
    assert statistics.precision_at(y, y + 0.0, 1.0) == pytest.approx(1)
    distinct = rng.permutation(60).astype(float)
    assert statistics.precision_at(distinct, distinct, 0.05) == 1
    assert statistics.precision_at(distinct, -distinct, 0.05) == 0
    assert statistics.precision_at(distinct, distinct, 0.001) == 1  # at least one is taken


def test_regret_is_the_mean_over_equally_scored() -> None:
    accuracies = np.array([90.0, 94.0, 92.0, 80.0])
    assert statistics.regret(np.array([0.0, 1, 2, 0]), accuracies) == 2
    assert statistics.regret(np.array([0.0, 2, 2, 0]), accuracies) == 1
    assert statistics.regret(np.zeros(4), accuracies) == 5


def test_bootstrap_equals_ranking_each_resample_anew() -> None:
    rng = np.random.default_rng(3)
    y = np.vstack([rng.integers(0, 12, 40), rng.normal(size=40)]).astype(float)
    x = np.vstack([y[0] + rng.normal(size=40), rng.integers(0, 3, 40), np.ones(40)])
    ends = bootstrap(x, y, resamples=200, seed=5, level=0.9)
    for p, m in product(range(2), range(2)):
        expected = np.quantile(_oracle(x[p], y[m], 200, 5), [0.05, 0.95])
        np.testing.assert_allclose(ends[:, p, m], expected, atol=1e-12)
    assert np.isnan(ends[:, 2]).all()


def _oracle(x: np.ndarray, y: np.ndarray, resamples: int, seed: int) -> list[float]:
    """Spearman's correlation of each resample, ranked anew; NaN where one side is constant."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(len(x), size=len(x)) for _ in range(resamples)]
    return [
        np.corrcoef(_midranks(x[r]), _midranks(y[r]))[0, 1] if np.ptp(x[r]) and np.ptp(y[r]) else np.nan for r in rows
    ]


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_an_interval_is_given_only_where_it_claims_no_more_than_is_known(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(v, dtype=float) for v in zip(*pairs, strict=True))
    ((found,),) = statistics.bootstrap_spearman([TiedRanking.of(x)], [TiedRanking.of(y)], resamples=40, seed=1)
    constant = not (np.ptp(x) and np.ptp(y))
    assert np.isnan(found.low) == np.isnan(found.high) == bool(found.reason)
    if constant or len(x) < 10:
        assert found.reason
        assert np.isnan(found.undefined)
        return
    drawn = _oracle(x, y, 40, 1)
    assert found.undefined == np.mean(np.isnan(drawn))
    if found.undefined > 0.05:
        assert "have no correlation" in found.reason
        return
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    rho = statistics.spearman(x, y)
    assert bool(found.reason) == (not low < rho - 1e-9 < rho + 1e-9 < high)
    if not found.reason:
        assert [found.low, found.high] == pytest.approx([low, high])


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.zeros(0), np.zeros(0), "n = 0 is less than 10"),
        ([1.0], [2.0], "n = 1 is less than 10"),
        (np.arange(3.0), np.arange(3.0), "n = 3 is less than 10"),
        (np.arange(9.0), np.arange(9.0)[::-1], "n = 9 is less than 10"),
        (np.zeros(30), np.arange(30.0), "all scores are equal"),
        (np.arange(30.0), np.zeros(30), "all accuracies are equal"),
        (np.arange(30) == 29, np.arange(30.0), "of the resamples have no correlation"),  # 29 of 30 are tied
        (np.arange(30.0), np.arange(30) == 12, "of the resamples have no correlation"),
        (np.arange(30.0), np.arange(30.0), "the resamples do not lie on both sides"),
        (np.arange(10.0), -np.arange(10.0), "the resamples do not lie on both sides"),
        (np.arange(30_000.0), np.arange(30_000.0), "the resamples do not lie on both sides"),
    ],
)
def test_no_interval_for_a_stated_reason(x: Any, y: Any, reason: str) -> None:
    sides = ([TiedRanking.of(np.asarray(side, dtype=float))] for side in (x, y))
    ((found,),) = statistics.bootstrap_spearman(*sides, resamples=200, seed=0)
    assert reason in found.reason
    assert np.isnan([found.low, found.high]).all()


def test_bootstrap_interval_covers() -> None:
    rng = np.random.default_rng(4)
    true = 6 / np.pi * np.arcsin(0.7 / 2)  # Spearman's correlation of a normal pair with correlation 0.7
    covered = 0
    for trial in range(100):
        x = rng.normal(size=150)
        y = 0.7 * x + np.sqrt(1 - 0.49) * rng.normal(size=150)
        low, high = bootstrap(x[None], y[None], resamples=200, seed=trial)[:, 0, 0]
        covered += low <= true <= high
    assert 87 <= covered <= 100


def _columns(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Four scores, coarse and fine, good and bad, and two accuracies."""
    rng = np.random.default_rng(6)
    y = rng.normal(size=n)
    x = np.vstack([y + rng.normal(size=n), rng.normal(size=n), np.round(y + rng.normal(size=n)), -y + y**3])
    return x, np.vstack([np.round(y, 1), np.exp(y)])


def test_influence_is_the_derivative_by_an_architectures_weight() -> None:
    x, y = (TiedRanking.of(np.round(part[0])) for part in _columns(60))

    def weighted(weights: np.ndarray) -> float:
        """Spearman's correlation where each architecture counts with its weight, ranks included."""
        sides = []
        for order in (x, y):
            sums = np.bincount(order.codes, weights=weights, minlength=order.groups)
            mean_rank = (np.cumsum(sums) - sums / 2)[order.codes]
            sides.append(mean_rank - np.average(mean_rank, weights=weights))
        a, b = sides
        return float((weights * a * b).sum() / np.sqrt((weights * a * a).sum() * (weights * b * b).sum()))

    rho, influence = statistics.spearman_influence(x, y)
    assert rho == pytest.approx(weighted(np.ones(60)))
    step = 1e-5 * np.eye(60)
    slopes = [(weighted(1 + row) - weighted(1 - row)) / 2e-5 for row in step]
    np.testing.assert_allclose(influence, slopes, atol=1e-8)
    assert influence.sum() == pytest.approx(0, abs=1e-12)


def test_the_limit_of_the_bootstrap_is_what_its_resamples_give(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _columns(4000)
    drawn = bootstrap(x, y, resamples=1000, seed=0)
    monkeypatch.setattr(statistics, "EXACT_BOOTSTRAP_UP_TO", 3999)
    monkeypatch.setattr(statistics, "_LARGEST_SHARE", 0.02)
    limit = bootstrap(x, y, resamples=1, seed=0)
    assert (limit != drawn).all()
    width = drawn[1] - drawn[0]
    # An end from 1,000 resamples has a standard error of 2 % of the width.
    assert (np.abs(limit - drawn) < 0.06 * width).all()
    assert np.isnan(bootstrap(x[:1], x[:1], resamples=1, seed=0)).all(), "a perfect correlation has no interval"


def test_where_few_architectures_decide_the_resamples_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    y = rng.normal(size=500)
    rare = np.zeros(500)
    rare[:20] = y[:20] + 1
    monkeypatch.setattr(statistics, "EXACT_BOOTSTRAP_UP_TO", 499)
    found = bootstrap([rare, np.ones(500)], [y], resamples=100, seed=1)
    monkeypatch.undo()
    np.testing.assert_array_equal(found, bootstrap([rare, np.ones(500)], [y], resamples=100, seed=1))
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1]).all()


def test_reliability_follows_spearman_brown() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=20_000)
    runs = [truth + rng.normal(size=20_000) for _ in range(3)]
    single, mean = statistics.reliability(runs)
    assert single == pytest.approx(6 / np.pi * np.arcsin(0.5 / 2), abs=0.01)
    again = np.mean([truth + rng.normal(size=20_000) for _ in range(3)], axis=0)
    assert mean == pytest.approx(statistics.spearman(np.mean(runs, axis=0), again), abs=0.02)
    assert np.isnan(statistics.reliability(runs[:1])).all()
    assert np.isnan(statistics.reliability([np.array([1.0, 2, np.nan]), np.array([1.0, 2, 3])])).all()
