from __future__ import annotations

import pytest

from prejudge.errors import InputError
from prejudge.search.bayesian import BayesianOptimizer, probes

BOUNDS = (0.0, 1.0), (-4.0, 0.0)
NAN = float("nan")


def optimizer(count: int = 2, acquisition: str = "ei", seed: int = 0) -> BayesianOptimizer:
    return BayesianOptimizer(*BOUNDS, probes(count, *BOUNDS), acquisition, seed)


def test_first_the_probes_then_suggestions_within_the_bounds() -> None:
    asked = optimizer(3)
    points = []
    for value in range(6):
        points.append(asked.ask())
        asked.tell(points[-1], float(value))
    assert points[:3] == [(0.0, -2.0), (0.5, -2.0), (1.0, -2.0)]
    assert all(0 <= t <= 1 and -4 <= e <= 0 for t, e in points)
    assert asked.knows(points[4]) and not asked.knows((0.123, -1.0))
    assert asked.seconds > 0


@pytest.mark.parametrize(("acquisition", "near"), [("ei", 0.02), ("ucb", 0.02), ("poi", 0.05)])  # poi explores least
def test_it_finds_the_maximum_of_a_smooth_function(acquisition: str, near: float) -> None:
    asked = optimizer(4, acquisition)
    best = -1e9
    for _ in range(18):
        target, exponent = point = asked.ask()
        value = -((target - 0.3) ** 2) - 0.05 * (exponent + 1) ** 2
        best = max(best, value)
        if not asked.knows(point):
            asked.tell(point, value)
    assert best > -near  # -0.94 is the worst


def test_the_same_seed_asks_the_same() -> None:
    def asked(seed: int) -> list[tuple[float, float]]:
        one = optimizer(2, seed=seed)
        points = []
        for _ in range(4):
            points.append(one.ask())
            one.tell(points[-1], sum(points[-1]))
        return points

    assert asked(3) == asked(3) and asked(3) != asked(4)


def test_failures_count_as_the_worst_value_so_far() -> None:
    failing, told = optimizer(4), optimizer(4)
    points = [failing.ask() for _ in range(4)]
    assert points == [told.ask() for _ in range(4)]
    for point, value in zip(points, [NAN, 5.0, NAN, 3.0], strict=True):
        failing.tell(point, value)
    # The first waits until there is a value.
    for i, value in ((1, 5.0), (0, 5.0), (2, 5.0), (3, 3.0)):
        told.tell(points[i], value)
    assert failing.ask() == told.ask()


def test_only_failures_still_gives_points() -> None:
    one = optimizer(1)
    for _ in range(3):
        point = one.ask()
        one.tell(point, NAN)
        assert one.knows(point)


def test_an_unknown_acquisition_is_named() -> None:
    with pytest.raises(InputError, match="unknown acquisition 'pi'"):
        optimizer(acquisition="pi")
