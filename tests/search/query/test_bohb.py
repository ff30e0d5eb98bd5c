"""BOHB: its densities against slow sums, its model against hpbandster's rules."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest

from prejudge import search
from prejudge.errors import InputError
from prejudge.search import Budget
from prejudge.search.query.bohb import Density, DensityRatio, Observations
from tests.search.toy_objectives import Anywhere, Convolutions

CHOICES = np.array([3, 2, 4])
CURVE = tuple(range(1, 13))


def some_data(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(CHOICES, size=(count, 3)) // np.array([1, 1, 2])


def slow_density(data: np.ndarray, bandwidth: np.ndarray, levels: list[int], point: tuple[int, ...]) -> float:
    total = 0.0
    for row in data.tolist():
        kernel = 1.0
        for own, asked, h, count in zip(row, point, bandwidth.tolist(), levels, strict=True):
            kernel *= 1 - h if own == asked else h / (count - 1)
        total += kernel
    return total / len(data)


@pytest.mark.parametrize("kernel", ["bounded", "statsmodels"])
@pytest.mark.parametrize("least", [0.05, 0.3])
def test_densities_are_those_of_a_slow_sum(kernel: str, least: float) -> None:
    data = some_data(12)
    density = Density.fit(data, CHOICES, least, kernel)
    bandwidth, levels = [], []
    for column, choices in zip(data.T, CHOICES.tolist(), strict=True):
        mean = sum(column.tolist()) / 12
        deviation = math.sqrt(sum((x - mean) ** 2 for x in column.tolist()) / 12)
        h = max(least, 1.06 * deviation * 12 ** (-1 / 7))
        bandwidth.append(min(h, (choices - 1) / choices) if kernel == "bounded" else h)
        levels.append(choices if kernel == "bounded" else len(set(column.tolist())))
    np.testing.assert_allclose(density.bandwidth, bandwidth)
    points = list(product(range(3), range(2), range(4)))
    slow = [slow_density(data, np.array(bandwidth), levels, point) for point in points]
    np.testing.assert_allclose(density(np.array(points)), slow, rtol=1e-12)


def test_a_bounded_density_is_a_distribution_and_draws_follow_it() -> None:
    density = Density.fit(some_data(8), CHOICES, 0.3)
    points = np.array(list(product(range(3), range(2), range(4))))
    assert density(points).sum() == pytest.approx(1)
    assert (density(points) > 0).all()
    rng = np.random.default_rng(1)
    drawn = density.draw(20_000, rng)
    assert (drawn >= 0).all() and (drawn < CHOICES).all()
    # A decision drawn anew may be the old one again: the draws are those of a bandwidth smaller by that share.
    narrower = Density(density.data, density.bandwidth * (1 - 1 / CHOICES), CHOICES, CHOICES)
    frequency = [(drawn == point).all(axis=1).mean() for point in points]
    np.testing.assert_allclose(frequency, narrower(points), atol=0.012)


def test_decisions_with_a_single_option() -> None:
    choices = np.array([1, 5])
    density = Density.fit(np.array([[0, 1], [0, 2], [0, 1]]), choices, 0.3)
    points = np.array([[0, i] for i in range(5)])
    assert density(points).sum() == pytest.approx(1)
    model = DensityRatio(density, density)
    assert (model.candidates(50, np.random.default_rng(0))[:, 0] == 0).all()


def test_a_model_needs_more_good_and_more_bad_results_than_decisions() -> None:
    results = Observations((3, 2, 4), 0.3, 15)
    for count in range(1, 9):
        assert results.model() is None
        results.add(tuple(some_data(1, count)[0].tolist()), float(count))
    model = results.model()
    assert model is not None
    assert (len(model.good.data), len(model.bad.data)) == (4, 4)
    assert results.model() is model  # nothing new, nothing to do
    greedy = Observations((3, 2, 4), 0.3, 90)
    for i in range(39):
        greedy.add((i % 3, i % 2, i % 4), float(i))
        assert greedy.model() is None or i >= 30  # 90 % of 31 leaves four
    assert greedy.model() is not None


@pytest.mark.parametrize(("count", "good", "bad"), [(8, 4, 4), (20, 4, 16), (21, 4, 17), (100, 15, 85), (101, 15, 85)])
def test_the_split_is_hpbandsters(count: int, good: int, bad: int) -> None:
    results = Observations((3, 2, 4), 0.3, 15)
    values = np.random.default_rng(0).permutation(count)
    for i, value in enumerate(values.tolist()):
        results.add((i % 3, i % 2, i % 4), float(value))
    model = results.model()
    assert model is not None
    order = np.argsort(-values)
    expected = np.array([(i % 3, i % 2, i % 4) for i in order.tolist()])
    np.testing.assert_array_equal(model.good.data, expected[:good])
    np.testing.assert_array_equal(model.bad.data, expected[good : good + bad])


def test_what_failed_is_bad() -> None:
    results = Observations((3, 2, 4), 0.3, 15)
    for i in range(8):
        results.add((2, 1, 3) if i % 2 else (0, 0, 0), math.nan if i % 2 else -100.0)
    model = results.model()
    assert model is not None
    assert (model.good.data == 0).all()
    assert (model.bad.data == [2, 1, 3]).all()


def test_the_best_ratio_comes_first() -> None:
    good = Density.fit(np.array([[2, 1, 3]] * 4), CHOICES, 0.3)
    bad = Density.fit(np.array([[0, 0, 0]] * 4), CHOICES, 0.3)
    found = DensityRatio(good, bad).candidates(64, np.random.default_rng(0))
    ratios = (good(found) / bad(found)).tolist()
    assert ratios == sorted(ratios, reverse=True)
    assert found[0].tolist() == [2, 1, 3]


def test_statsmodels_knows_only_the_options_in_the_data() -> None:
    """Where all bad results agree, another option has an infinite density there, and hpbandster takes it at once."""
    bad = Density.fit(np.array([[0, 0, 0], [0, 1, 1], [0, 1, 0], [0, 0, 1]]), CHOICES, 0.3, "statsmodels")
    good = Density.fit(np.array([[0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1]]), CHOICES, 0.3, "statsmodels")
    assert np.isinf(bad(np.array([[1, 0, 0]])))[0]
    found = DensityRatio(good, bad).candidates(8, np.random.default_rng(0))
    assert found[0, 0] != 0


def test_proposals_come_from_the_longest_schedule_that_has_a_model() -> None:
    """Short schedules mislead here: the longest one's model must win in the end."""

    class Misleading(Convolutions):
        def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Any:
            found = super().evaluate(arch, epochs, rng)
            return found if epochs == 12 else found._replace(value=-found.value)

    def convolutions(method: str) -> float:
        runs = search.run(method, Misleading(schedules=CURVE), Budget(queries=600), seeds=range(4)).trajectories
        asked = [[a for a, e in zip(r.architectures, r.epochs, strict=True) if e == 1][-150:] for r in runs]
        return float(np.mean([text.count("nor_conv_3x3") for texts in asked for text in texts]))

    assert convolutions("hyperband") == pytest.approx(6 / 5, abs=0.15)
    assert convolutions("bohb(num_samples=64)") > 1.5


def test_the_script_of_the_paper_ignores_the_epochs() -> None:
    run = search.run("bohb(ignore_epochs=True)", Anywhere("nasbench201"), Budget(queries=20)).trajectories[0]
    assert run.epochs.tolist() == [0] * 20
    texts = run.architectures
    assert set(texts[9:12]) <= set(texts[:9])  # brackets of 9, 3, 1 | 3, 1 | 3
    assert texts[12] in texts[9:12]
    assert texts[16] in texts[13:16]
    alone = search.run("bohb(ignore_epochs=True, min_epochs=12)", Anywhere("nasbench201"), Budget(queries=20))
    assert len(set(alone.trajectories[0].architectures)) > 15


def test_random_fraction_one_is_hyperband() -> None:
    def texts(method: str) -> list[str]:
        objective = Anywhere("nasbench201", schedules=CURVE)
        return search.run(method, objective, Budget(queries=60)).trajectories[0].architectures

    assert texts("bohb")[:14] == texts("hyperband")[:14]  # no model yet
    assert texts("bohb") != texts("hyperband")
    assert len(set(texts("bohb(random_fraction=1.0)"))) > 30


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("bohb(num_samples=0)", "num_samples must be positive"),
        ("bohb(random_fraction=2)", r"random_fraction in \[0, 1\]"),
        ("bohb(min_bandwidth=0)", r"min_bandwidth in \(0, 1\)"),
        ("bohb(top_percent=100)", r"top_percent in 1\.\.99"),
        ("bohb(kernel='gauss')", "unknown kernel of bohb 'gauss'"),
        ("bohb", "take a table with learning curves"),
    ],
)
def test_options_that_make_no_sense(method: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        search.run(method, Convolutions(), Budget(queries=5))
