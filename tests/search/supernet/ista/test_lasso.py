"""The exact LASSO: against all supports tried one by one, the optimality conditions, and the original's figures."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prejudge.errors import InputError, PrejudgeError
from prejudge.search.supernet.ista.lasso import TOLERANCE, duality_gap, lasso, optimality_violation

SMALL = st.tuples(st.integers(1, 4), st.integers(1, 5))
PENALTIES = (0.125, 0.5, 1.0, 1e-3)


def objective(a: np.ndarray, b: np.ndarray, z: np.ndarray, penalty: float) -> float:
    return float(0.5 * ((a @ z - b) ** 2).sum() + penalty * np.abs(z).sum())


def best_of_all_signs(a: np.ndarray, b: np.ndarray, penalty: float) -> np.ndarray:
    """The best stationary point over all patterns of signs; a minimizer with independent columns is among them."""
    best = np.zeros(a.shape[1])
    for signs in product((-1, 0, 1), repeat=a.shape[1]):
        used = np.flatnonzero(signs)
        columns = a[:, used]
        if 0 < len(used) == np.linalg.matrix_rank(columns):
            z = np.zeros(a.shape[1])
            z[used] = np.linalg.solve(columns.T @ columns, columns.T @ b - penalty * np.array(signs)[used])
            if objective(a, b, z, penalty) < objective(a, b, best, penalty):
                best = z
    return best


def problems(golden: Path) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], float]:
    with np.load(golden / "supernets" / "ista_lasso.npz") as stored:
        matrices, targets, answers = ([stored[f"{key}_{k}"] for k in range(48)] for key in ("A", "b", "z_exact"))
        return matrices, targets, answers, float(stored["lam"])


def test_golden_problems_have_the_golden_answers(golden: Path) -> None:
    matrices, targets, answers, penalty = problems(golden)
    facts = json.loads((golden / "supernets" / "ista_lasso.json").read_text())["instances"]
    for k, z in enumerate(lasso(matrices, targets, penalty)):
        assert np.abs(z - answers[k]).max() <= 1e-8 * np.abs(answers[k]).max()
        assert np.argsort(np.abs(z))[-2:].tolist() == facts[k]["top2_argsort_order"]
        assert np.count_nonzero(z) == facts[k]["nnz_exact"]
        assert optimality_violation(matrices[k], targets[k].astype(np.float64), z, penalty) < 1e-8


@settings(max_examples=150, deadline=None)
@given(st.data(), SMALL, st.sampled_from(PENALTIES))
def test_no_pattern_of_signs_is_better_even_among_ties(
    data: st.DataObject, shape: tuple[int, int], penalty: float
) -> None:
    # Small integers: equal, opposite, dependent and zero columns, and entries that reach zero together.
    a = data.draw(arrays(np.float64, shape, elements=st.integers(-2, 2).map(float)))
    b = data.draw(arrays(np.float64, shape[0], elements=st.integers(-3, 3).map(float)))
    (z,) = lasso([a], [b], penalty)
    best = objective(a, b, best_of_all_signs(a, b, penalty), penalty)
    assert objective(a, b, z, penalty) == pytest.approx(best, rel=1e-9, abs=1e-12)
    assert optimality_violation(a, b, z, penalty) <= TOLERANCE
    assert duality_gap(a, b, z, penalty) <= 1e-8


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), SMALL, st.integers(-4, 1))
def test_the_minimizer_in_general_position(seed: int, shape: tuple[int, int], exponent: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random(shape), rng.standard_normal(shape[0])
    (z,) = lasso([a], [b], 10.0**exponent)
    expected = best_of_all_signs(a, b, 10.0**exponent)
    assert np.count_nonzero(z) <= min(shape)
    assert objective(a, b, z, 10.0**exponent) <= objective(a, b, expected, 10.0**exponent) * (1 + 1e-9)
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(expected).max()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 3e-2, 0.3, 3.0, 30.0]))
def test_batches_of_the_searchs_size_meet_the_conditions(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    matrices = [rng.random((7, 7 * (node + 2))) for node in range(4) for _ in range(2)]
    targets = [scale * rng.standard_normal(7) for _ in matrices]
    for a, b, z in zip(matrices, targets, lasso(matrices, targets, 1e-5), strict=True):
        assert optimality_violation(a, b, z, 1e-5) <= TOLERANCE
        assert duality_gap(a, b, z, 1e-5) <= 1e-6
        assert np.count_nonzero(z) <= 7


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_degenerate_matrices_end_and_meet_the_conditions(seed: int, kind: int) -> None:
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 9), rng.integers(1, 36)
    a, b = rng.standard_normal((m, n)), 0.1 * rng.standard_normal(m)
    if kind == 0:  # repeated columns
        a = a[:, rng.integers(0, n, n)]
    elif kind == 1:  # opposite columns
        a = np.concatenate([a, -a], axis=1)
    elif kind == 2:  # rank 2
        a = rng.standard_normal((m, 2)) @ rng.standard_normal((2, n))
    elif kind == 3:  # columns that are nearly equal
        a = 1 + 1e-6 * a
    elif kind == 4:  # many exact ties
        a = rng.integers(0, 2, (m, n)).astype(np.float64)
        b = a.sum(1)
    else:  # columns of very different lengths
        a = a * 10.0 ** rng.integers(-2, 3, n)
    (z,) = lasso([a], [b], 1e-4)
    assert optimality_violation(a, b, z, 1e-4) <= TOLERANCE
    assert duality_gap(a, b, z, 1e-4) <= 1e-6


def test_problems_of_a_batch_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(0)
    shapes = [(7, 14), (3, 35), (7, 21), (1, 2), (9, 4)]
    matrices, targets = [rng.random(shape) for shape in shapes], [rng.standard_normal(m) for m, _ in shapes]
    copies = [a.copy() for a in matrices], [b.copy() for b in targets]
    for k, z in enumerate(lasso(matrices, targets, 1e-2)):
        assert z.shape == (shapes[k][1],) and z.dtype == np.float64
        np.testing.assert_allclose(z, lasso([matrices[k]], [targets[k]], 1e-2)[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(matrices[k], copies[0][k])
        np.testing.assert_array_equal(targets[k], copies[1][k])
    assert lasso([], [], 1.0) == []


def test_simple_problems() -> None:
    # One column of length 1 shrinks the target by the penalty; a penalty above every correlation leaves nothing.
    np.testing.assert_allclose(lasso([np.array([[1.0], [0.0]])], [np.array([3.0, 4.0])], 0.5)[0], [2.5], rtol=1e-12)
    a, b = np.array([[1.0, 1.0, -1.0, 0.0]]), np.array([2.0])
    np.testing.assert_allclose(lasso([a], [b], 1.0)[0], [1.0, 0.0, 0.0, 0.0], rtol=1e-12)  # of equals the first
    assert not lasso([a], [b], 2.0)[0].any()
    assert not lasso([a], [np.zeros(1)], 1e-5)[0].any()


def test_the_gap_bounds_the_distance_from_the_minimum() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        a, b, z = rng.random((3, 4)), rng.standard_normal(3), rng.standard_normal(4)
        value, best = objective(a, b, z, 0.1), objective(a, b, best_of_all_signs(a, b, 0.1), 0.1)
        assert value - best <= duality_gap(a, b, z, 0.1) * value * (1 + 1e-12)
        assert optimality_violation(a, b, z, 0.1) > 1e-3
    assert duality_gap(a, np.zeros(3), np.zeros(4), 0.1) == 0


def test_an_answer_that_is_not_exact_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.ones((2, 3)), np.array([1.0, 2.0])
    monkeypatch.setattr("prejudge.search.supernet.ista.lasso._minimize", lambda a, b, penalty: np.full((1, 3), 0.1))
    with pytest.raises(
        PrejudgeError, match=r"problem 0 \(2 x 3\) violates the optimality conditions by .* of the penalty"
    ):
        lasso([a], [b], 1e-5)


@pytest.mark.parametrize(
    ("matrix", "target", "penalty", "message"),
    [
        (np.ones((2, 3)), np.ones(2), 0.0, "penalty must be positive, not 0.0"),
        (np.ones((2, 3)), np.ones(3), 1.0, r"problem 0 has a matrix of shape \(2, 3\) and a target of shape \(3,\)"),
        (np.ones((2, 3)), np.array([1.0, np.nan]), 1.0, "problem 0 holds numbers that are not finite"),
        (np.ones((2, 0)), np.ones(2), 1.0, "problem 0 has a matrix"),
    ],
)
def test_wrong_input_is_named(matrix: np.ndarray, target: np.ndarray, penalty: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lasso([matrix], [target], penalty)
    with pytest.raises(InputError, match="1 matrices need as many targets, not 0"):
        lasso([matrix], [], 1.0)
