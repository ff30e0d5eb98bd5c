"""Successive halving and Hyperband: which schedules, how many on each, and who goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from prejudge import search
from prejudge.errors import InputError
from prejudge.search import Budget, Questions, SearchContext
from prejudge.search.query.successive_halving import bracket, race, rungs
from tests.search.toy_objectives import Anywhere, Convolutions, drive, rng_of

CURVE = tuple(range(1, 13))


@pytest.mark.parametrize(
    ("schedules", "eta", "least", "most", "expected"),
    [
        (CURVE, 3, 1, 0, (1, 4, 12)),  # hpbandster's budgets 1.33, 4, 12, taken as whole epochs
        (CURVE, 2, 1, 0, (1, 3, 6, 12)),
        (CURVE, 3, 4, 0, (4, 12)),
        (CURVE, 3, 1, 9, (1, 3, 9)),
        (range(1, 201), 3, 1, 0, (2, 7, 22, 66, 200)),
        ((12, 200), 3, 1, 0, (12, 200)),
        ((4, 12, 36, 108), 3, 1, 0, (4, 12, 36, 108)),
        ((4, 12, 36, 108), 3, 10, 50, (12, 36)),
        ((1, 243), 3, 1, 0, (1, 243)),
    ],
)
def test_rungs(schedules: Sequence[int], eta: int, least: int, most: int, expected: tuple[int, ...]) -> None:
    assert rungs(tuple(schedules), eta, least, most) == expected


def test_brackets_are_hpbandsters() -> None:
    assert [bracket(3, s, 3) for s in (2, 1, 0)] == [[9, 3, 1], [3, 1], [3]]
    assert [bracket(5, s, 3) for s in (4, 3, 2, 1, 0)] == [[81, 27, 9, 3, 1], [27, 9, 3, 1], [9, 3, 1], [6, 2], [5]]


@pytest.mark.parametrize(
    ("schedules", "options", "message"),
    [
        (
            (),
            {},
            "needs 2 or more schedules of 1 to any number of epochs to choose from; the objective has: none can be",
        ),
        ((12,), {}, r"the objective has: 12; take a table with learning curves"),
        (CURVE, {"min_epochs": 12}, "2 or more schedules of 12 to any number of epochs"),
        (CURVE, {"max_epochs": 1}, "2 or more schedules of 1 to 1 epochs"),
        (CURVE, {"eta": 1}, "eta must be at least 2"),
        (CURVE, {"min_epochs": 0}, r"epochs positive, not 3, 0\.\.0"),
    ],
)
@pytest.mark.parametrize("method", ["successive-halving", "hyperband", "bohb"])
def test_what_cannot_be_raced(method: str, schedules: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        search.run(method, Convolutions(schedules=schedules), Budget(queries=5), options=options)


def by_bracket(run: Any, sizes: list[list[int]], epochs: list[int]) -> list[list[list[tuple[str, float]]]]:
    """The steps of a run, cut into brackets and rungs; checks the schedules."""
    steps = list(zip(run.architectures, run.epochs.tolist(), run.values.tolist(), strict=True))
    found = []
    while steps:
        for counts in sizes:
            rungs_of_bracket = []
            for count, schedule in zip(counts, epochs[-len(counts) :], strict=True):
                part, steps = steps[:count], steps[count:]
                assert all(step[1] == schedule for step in part)
                rungs_of_bracket.append([(arch, value) for arch, _, value in part])
            found.append(rungs_of_bracket)
    return found


@pytest.mark.parametrize(
    ("method", "sizes"), [("successive-halving", [[9, 3, 1]]), ("hyperband", [[9, 3, 1], [3, 1], [3]])]
)
def test_the_best_of_a_rung_go_on(method: str, sizes: list[list[int]]) -> None:
    queries = 4 * sum(map(sum, sizes))
    run = search.run(method, Anywhere("nasbench201", schedules=CURVE), Budget(queries=queries)).trajectories[0]
    brackets = by_bracket(run, sizes, [1, 4, 12])
    assert len(brackets) == 4 * len(sizes)
    for rung_list in brackets:
        for rung, following in pairwise(rung_list):
            ranked = sorted(rung, key=lambda entry: -entry[1])
            assert [arch for arch, _ in following] == [arch for arch, _ in ranked[: len(following)]]


def test_cost_is_that_of_the_schedules() -> None:
    run = search.run("successive-halving", Convolutions(schedules=CURVE), Budget(queries=13)).trajectories[0]
    assert run.seconds.sum() == 9 * 1 + 3 * 4 + 1 * 12


def one_race(search: SearchContext, sizes: tuple[int, ...] = (9, 3, 1)) -> Questions:
    yield from race((1, 4, 12), sizes, lambda: search.space.sample(search.rng))
    return None


def test_what_failed_does_not_go_on() -> None:
    values = iter([math.nan, 3.0, math.nan, 1.0, math.nan, 2.0, math.nan, math.nan, math.nan, 9.0, 8.0, 7.0, 6.0])
    told: list[tuple[int, int, float]] = []

    class Noted(Anywhere):
        def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Any:
            return super().evaluate(arch, epochs, rng)._replace(value=next(values))

    objective, rng = Noted("nasbench201", schedules=CURVE), rng_of(0)
    archs = [objective.space.sample(rng) for _ in range(9)]
    waiting = iter(archs)

    def one(_: SearchContext) -> Questions:
        yield from race(
            (1, 4, 12), [9, 3, 1], lambda: next(waiting), lambda r, a, v: told.append((r, archs.index(a), v))
        )
        return None

    run = drive(one, objective, Budget(queries=13))
    assert [(r, a) for r, a, _ in told[9:]] == [(1, 1), (1, 5), (1, 3), (2, 1)]
    assert len(run.steps) == 13


def test_a_rung_in_which_all_failed_ends_its_bracket() -> None:
    run = drive(one_race, Anywhere("nasbench201", fail=2.0, schedules=CURVE), Budget(queries=99))
    assert len(run.steps) == 9


def test_fewer_survivors_than_places() -> None:
    run = drive(one_race, Anywhere("nasbench201", fail=0.8, schedules=CURVE), Budget(queries=999), 2, sizes=(27, 9, 3))
    first = sum(1 for step in run.steps if step.epochs == 1 and not math.isnan(step.value))
    assert first < 9
    assert sum(1 for step in run.steps if step.epochs == 4) == first


def test_the_budget_may_end_anywhere() -> None:
    run = drive(one_race, Convolutions(schedules=CURVE), Budget(seconds=15))
    assert run.seconds == 9 + 4
    assert run.best is not None and run.best.epochs == 4
