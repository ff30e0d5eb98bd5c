from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prejudge.errors import InputError
from prejudge.search.bayesian import CandidateRanking, Candidates

NAN, INF = float("nan"), float("inf")
scores = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-100, 100)


def candidates(metric: list[float], condition: list[float]) -> Candidates:
    return Candidates([f"a{i}" for i in range(len(metric))], np.array(metric), np.array(condition))


@given(
    st.lists(st.tuples(scores, scores), min_size=1, max_size=12),
    st.floats(0, 1e3),
    st.floats(1e-4, 10),
    st.randoms(use_true_random=False),
)
def test_the_best_is_that_of_a_plain_loop(
    pairs: list[tuple[float, float]], target: float, weight: float, random: object
) -> None:
    rows = list(range(len(pairs)))
    random.shuffle(rows)  # type: ignore[attr-defined]
    best, lowest = None, INF
    for row in rows:
        m, k = pairs[row]
        if not (np.isfinite(m) and np.isfinite(k)) or m + 1e-6 == 0 or abs(m) > 1e150:
            continue
        value = weight * abs(m**2 - target**2) + k / (m + 1e-6)
        if value < lowest and np.isfinite(k / (m + 1e-6)):
            best, lowest = row, value
    found = CandidateRanking(candidates([m for m, _ in pairs], [k for _, k in pairs])).best(
        target, weight, np.array(rows)
    )
    assert found == best


def test_a_failed_score_never_wins() -> None:
    ranking = CandidateRanking(candidates([NAN, 3.0, 5.0, -INF, 9.0], [1.0, NAN, 1e9, 1.0, INF]))
    assert ranking.best(3.0, 1.0, np.arange(5)) == 2
    assert ranking.best(3.0, 1.0, np.array([0, 1, 3, 4])) is None
    assert ranking.best(3.0, 1.0, np.empty(0, dtype=np.intp)) is None
    assert np.isinf(ranking.values(3.0, 1.0)[[0, 1, 3, 4]]).all()


def test_a_division_by_zero_never_wins() -> None:
    ranking = CandidateRanking(candidates([-1e-6, 1.0], [5.0, 5.0]))
    assert ranking.best(1.0, 1.0, np.arange(2)) == 1


def test_of_equals_the_first_on_offer_wins() -> None:
    ranking = CandidateRanking(candidates([2.0, 2.0, 2.0], [4.0, 4.0, 4.0]))
    assert ranking.best(1.0, 1.0, np.array([2, 0, 1])) == 2


def test_the_metric_keeps_its_sign() -> None:
    # grasp can be negative; the original then rewards a large condition number.
    ranking = CandidateRanking(candidates([-1.0, 1.0], [10.0, 10.0]))
    assert ranking.best(1.0, 1.0, np.arange(2)) == 0


def test_the_scale_is_not_led_by_outliers() -> None:
    metric = np.linspace(1, 100, 1000)
    metric[:5] = 1e5
    metric[10], metric[20] = NAN, -50.0
    found = Candidates([str(i) for i in range(1000)], metric, np.ones(1000))
    assert 85 < found.scale(0.9) < 100
    assert found.scale(1.0) == 1e5
    lost = Candidates(["a", "b"], np.array([3.0, 900.0]), np.array([1.0, NAN]))
    assert lost.scale(1.0) == 3.0


def test_both_terms_are_alike_under_the_balanced_weight() -> None:
    metric, condition = np.linspace(2, 8, 101), np.full(101, 30.0)
    ranking = CandidateRanking(Candidates([str(i) for i in range(101)], metric, condition))
    assert ranking.balance(10.0) == pytest.approx(30 / 5 / 100, rel=1e-5)
    assert CandidateRanking(candidates([NAN], [1.0])).balance(10.0) == 1.0


def test_what_cannot_be_scaled_is_said() -> None:
    with pytest.raises(InputError, match="none of 2 candidates has both scores"):
        candidates([NAN, 1.0], [1.0, NAN]).scale(0.9)
    with pytest.raises(InputError, match="zero for almost all"):
        candidates([0.0, 0.0], [1.0, 1.0]).scale(0.5)
    with pytest.raises(InputError, match=r"quantile .* must be in \(0, 1\], not 0"):
        candidates([1.0], [1.0]).scale(0)
    with pytest.raises(InputError, match="2 architectures need a metric and a condition number each"):
        Candidates(["a", "b"], np.ones(3), np.ones(2))
