"""What a method sees of a search: budgets, the incumbent, random numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from prejudge.errors import InputError
from prejudge.search import Budget, BudgetSpent, Evaluation, MappingObjective, Objective, Run
from prejudge.spaces import space
from tests.search.toy_objectives import Convolutions

S = space("nasbench201")
ARCHS = [S.parse(i) for i in range(30)]


class Scripted(Objective):
    """Answers from a list, whatever is asked."""

    def __init__(self, *answers: tuple[float, float], schedules: tuple[int, ...] = ()) -> None:
        self.space = S
        self.schedules = schedules
        self.answers = list(answers)

    def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        self.check_epochs(epochs)
        return Evaluation(*self.answers.pop(0))

    def describe(self) -> dict[str, Any]:
        return {}


def spend(run: Run) -> None:
    with pytest.raises(BudgetSpent):
        for arch in ARCHS:
            run.evaluate(arch)


def test_a_budget_of_queries_is_used_up_exactly() -> None:
    objective = Convolutions()
    run = Run(objective, Budget(queries=7), seed=0)
    spend(run)
    assert len(run.steps) == len(objective.asked) == 7  # nothing was asked in vain
    with pytest.raises(BudgetSpent):
        run.evaluate(ARCHS[0])


def test_asking_again_counts_again() -> None:
    run = Run(Convolutions(), Budget(queries=2), seed=0)
    assert run.evaluate(ARCHS[0]) == run.evaluate(ARCHS[0])
    with pytest.raises(BudgetSpent):
        run.evaluate(ARCHS[0])


def test_a_budget_of_seconds_is_never_exceeded_by_default() -> None:
    run = Run(Scripted((1, 4), (2, 4), (3, 4)), Budget(seconds=10), seed=0)
    spend(run)
    assert run.seconds == 8
    assert [step.value for step in run.steps] == [1, 2]  # the third would have ended after 12 s


def test_a_budget_of_seconds_may_be_filled_to_the_brim() -> None:
    run = Run(Scripted((1, 5), (2, 5), (3, 5)), Budget(seconds=10), seed=0)
    spend(run)
    assert run.seconds == 10


def test_overshoot_counts_what_began_in_time() -> None:
    run = Run(Scripted((1, 4), (2, 4), (3, 4), (4, 4)), Budget(seconds=10, overshoot=True), seed=0)
    spend(run)
    assert run.seconds == 12
    run = Run(Scripted((1, 5), (2, 5), (3, 5)), Budget(seconds=10, overshoot=True), seed=0)
    spend(run)
    assert run.seconds == 10  # nothing begins when it is spent
    run = Run(Scripted((1, 50), (2, 5)), Budget(seconds=10, overshoot=True), seed=0)
    spend(run)
    assert len(run.steps) == 1


@pytest.mark.parametrize(("budget", "steps"), [(Budget(queries=2, seconds=100), 2), (Budget(queries=9, seconds=5), 5)])
def test_of_two_budgets_the_first_that_is_spent_ends_the_search(budget: Budget, steps: int) -> None:
    run = Run(Convolutions(), budget, seed=0)
    spend(run)
    assert len(run.steps) == steps


def test_a_budget_smaller_than_one_evaluation_is_an_error() -> None:
    run = Run(Scripted((1, 40)), Budget(seconds=10), seed=0)
    with pytest.raises(InputError, match=r"a budget of 10 s is smaller than one evaluation \(40 s of \|avg_pool"):
        run.evaluate(ARCHS[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a search needs a budget"),
        ({"queries": 0}, "queries must be positive, not 0"),
        ({"seconds": -1.0}, "seconds must be positive, not -1"),
        ({"seconds": math.nan}, "seconds must be positive, not nan"),
        ({"seconds": math.inf}, "seconds must be positive, not inf"),
    ],
)
def test_budgets_that_are_none(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Budget(**given)


def test_seconds_that_nothing_costs_do_not_last_for_ever() -> None:
    run = Run(MappingObjective(S, {str(a): 1.0 for a in ARCHS}), Budget(seconds=10), seed=0)
    with pytest.raises(InputError, match="1,000 evaluations have cost nothing, so a budget of seconds is never spent"):
        while True:
            run.evaluate(ARCHS[0])
    free = Run(MappingObjective(S, {str(a): 1.0 for a in ARCHS}), Budget(queries=1500), seed=0)
    for _ in range(1500):
        free.evaluate(ARCHS[0])


@pytest.mark.parametrize("seconds", [math.nan, -1.0])
def test_a_cost_that_is_none_is_an_error(seconds: float) -> None:
    run = Run(Scripted((1, seconds)), Budget(queries=10), seed=0)
    with pytest.raises(InputError, match=f"an evaluation cannot cost {seconds} s"):
        run.evaluate(ARCHS[0])


def test_nan_never_wins() -> None:
    run = Run(Scripted((math.nan, 1), (-5, 1), (math.nan, 1), (-6, 1)), Budget(queries=9), seed=0)
    assert run.best is None
    assert math.isnan(run.evaluate(ARCHS[0]))
    assert run.best is None
    for arch in ARCHS[1:4]:
        run.evaluate(arch)
    assert run.best is not None
    assert run.best.arch == ARCHS[1]


def test_the_first_of_equals_is_the_incumbent() -> None:
    run = Run(Scripted((1, 1), (2, 1), (2, 1)), Budget(queries=3), seed=0)
    for arch in ARCHS[:3]:
        run.evaluate(arch)
    assert run.best is not None
    assert run.best.arch == ARCHS[1]


def test_the_longest_schedule_decides() -> None:
    run = Run(Scripted((90, 1), (50, 1), (40, 1), (math.nan, 1), schedules=(1, 4, 12)), Budget(queries=9), seed=0)
    for arch, epochs in zip(ARCHS, (1, 4, 12, None), strict=False):
        run.evaluate(arch, epochs)
    assert run.best is not None
    assert run.best.arch == ARCHS[2]
    with pytest.raises(InputError, match=r"the objective has no schedule of 3 epochs \(1, 4, 12\)"):
        run.evaluate(ARCHS[0], epochs=3)


def test_a_mapping_names_what_it_lacks() -> None:
    objective = MappingObjective(S, {str(a): 1.0 for a in ARCHS[:3]}, what={"proxy": "snip"}, remedy="fill the cache")
    assert objective.describe() == {"proxy": "snip"}
    with pytest.raises(InputError, match=r"there is no value of \|.*\| among 3; fill the cache"):
        Run(objective, Budget(queries=9), seed=0).evaluate(ARCHS[3])
    with pytest.raises(InputError, match=r"no schedule of 12 epochs \(none can be chosen\)"):
        Run(objective, Budget(queries=9), seed=0).evaluate(ARCHS[0], epochs=12)


def test_the_objectives_luck_does_not_disturb_the_method() -> None:
    draws = []
    for luck in (0.0, 1.0):
        run = Run(Convolutions(luck=luck), Budget(queries=9), seed=3)
        drawn = []
        for _ in range(9):
            drawn.append(run.rng.random())
            run.evaluate(ARCHS[0])
        draws.append(drawn)
    assert draws[0] == draws[1]


def test_every_evaluation_has_luck_of_its_own() -> None:
    values = {}
    for seed in (0, 1):
        run = Run(Convolutions(luck=1.0), Budget(queries=9), seed=seed)
        values[seed] = [run.evaluate(ARCHS[0]) for _ in range(9)]
    assert len(set(values[0]) | set(values[1])) == 18
    again = Run(Convolutions(luck=1.0), Budget(queries=9), seed=0)
    assert [again.evaluate(ARCHS[0]) for _ in range(9)] == values[0]
