"""The driver of a run: budgets, the incumbent, random numbers, batches, questions that are answered elsewhere."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.errors import InputError
from prejudge.search import (
    Budget,
    BudgetSpent,
    Evaluation,
    MappingObjective,
    Objective,
    Query,
    Questions,
    SearchContext,
)
from prejudge.spaces import space
from tests.search.toy_objectives import Convolutions, drive

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


def ask_all(search: SearchContext) -> Questions:
    """Ask one architecture after the other, until the budget is spent."""
    with pytest.raises(BudgetSpent):
        for arch in ARCHS:
            assert (yield arch) == search.steps[-1].value
    return None


def spend(objective: Objective, budget: Budget) -> SearchContext:
    return drive(ask_all, objective, budget)


def asked(objective: Objective, questions: list[Any], budget: Budget | None = None, seed: int = 0) -> SearchContext:
    """Ask these, one after the other."""

    def ask(search: SearchContext) -> Questions:
        for question in questions:
            assert str((yield question)) == str(search.steps[-1].value)
        return None

    return drive(ask, objective, budget, seed)


def test_a_budget_of_queries_is_used_up_exactly() -> None:
    objective = Convolutions()
    run = spend(objective, Budget(queries=7))
    assert len(run.steps) == len(objective.asked) == 7  # nothing was asked in vain


def test_asking_again_counts_again() -> None:
    run = asked(Convolutions(), [ARCHS[0]] * 3, Budget(queries=2))
    assert [step.value for step in run.steps] == [run.steps[0].value] * 2


def test_a_budget_of_seconds_is_never_exceeded_by_default() -> None:
    run = spend(Scripted((1, 4), (2, 4), (3, 4)), Budget(seconds=10))
    assert run.seconds == 8
    assert [step.value for step in run.steps] == [1, 2]  # the third would have ended after 12 s


def test_a_budget_of_seconds_may_be_filled_to_the_brim() -> None:
    run = spend(Scripted((1, 5), (2, 5), (3, 5)), Budget(seconds=10))
    assert run.seconds == 10


def test_overshoot_counts_what_began_in_time() -> None:
    run = spend(Scripted((1, 4), (2, 4), (3, 4), (4, 4)), Budget(seconds=10, overshoot=True))
    assert run.seconds == 12
    run = spend(Scripted((1, 5), (2, 5), (3, 5)), Budget(seconds=10, overshoot=True))
    assert run.seconds == 10  # nothing begins when it is spent
    run = spend(Scripted((1, 50), (2, 5)), Budget(seconds=10, overshoot=True))
    assert len(run.steps) == 1


@pytest.mark.parametrize(("budget", "steps"), [(Budget(queries=2, seconds=100), 2), (Budget(queries=9, seconds=5), 5)])
def test_of_two_budgets_the_first_that_is_spent_ends_the_search(budget: Budget, steps: int) -> None:
    assert len(spend(Convolutions(), budget).steps) == steps


def test_a_budget_smaller_than_one_evaluation_is_an_error() -> None:
    with pytest.raises(InputError, match=r"a budget of 10 s is smaller than one evaluation \(40 s of \|avg_pool"):
        asked(Scripted((1, 40)), ARCHS[:1], Budget(seconds=10))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a search needs a budget"),
        *[({"queries": v}, "queries must be a positive integer, not ") for v in (0, 1.5, 2.0, math.nan, True, "3")],
        *[
            ({"seconds": v}, "seconds must be a positive number, not ")
            for v in (-1.0, 0, math.nan, math.inf, True, "3")
        ],
    ],
)
def test_budgets_that_are_none(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Budget(**given)


def test_seconds_that_nothing_costs_do_not_last_for_ever() -> None:
    objective = MappingObjective(S, {str(a): 1.0 for a in ARCHS})
    with pytest.raises(InputError, match="1,000 evaluations have cost nothing, so a budget of seconds is never spent"):
        asked(objective, [ARCHS[0]] * 1500, Budget(seconds=10))
    assert len(asked(objective, [ARCHS[0]] * 1500, Budget(queries=1500)).steps) == 1500


@pytest.mark.parametrize("seconds", [math.nan, -1.0])
def test_a_cost_that_is_none_is_an_error(seconds: float) -> None:
    with pytest.raises(InputError, match=f"an evaluation cannot cost {seconds} s"):
        asked(Scripted((1, seconds)), ARCHS[:1], Budget(queries=10))


def test_nan_never_wins() -> None:
    answers = ((math.nan, 1), (-5, 1), (math.nan, 1), (-6, 1))
    assert asked(Scripted(*answers), []).best is None
    first = asked(Scripted(*answers), ARCHS[:1])
    assert math.isnan(first.steps[0].value) and first.best is None
    run = asked(Scripted(*answers), ARCHS[:4])
    assert run.best is not None
    assert run.best.arch == ARCHS[1]


def test_the_first_of_equals_is_the_incumbent() -> None:
    run = asked(Scripted((1, 1), (2, 1), (2, 1)), ARCHS[:3])
    assert run.best is not None
    assert run.best.arch == ARCHS[1]


def test_the_longest_schedule_decides() -> None:
    answers = Scripted((90, 1), (50, 1), (40, 1), (math.nan, 1), schedules=(1, 4, 12))
    run = asked(answers, [Query(arch, epochs) for arch, epochs in zip(ARCHS, (1, 4, 12, None), strict=False)])
    assert run.best is not None
    assert run.best.arch == ARCHS[2]
    with pytest.raises(InputError, match=r"the objective has no schedule of 3 epochs \(1, 4, 12\)"):
        asked(answers, [Query(ARCHS[0], epochs=3)])


def test_a_mapping_names_what_it_lacks() -> None:
    objective = MappingObjective(S, {str(a): 1.0 for a in ARCHS[:3]}, what={"proxy": "snip"}, remedy="fill the cache")
    assert objective.describe() == {"proxy": "snip"}
    with pytest.raises(InputError, match=r"there is no value of \|.*\| among 3; fill the cache"):
        asked(objective, [ARCHS[3]])
    with pytest.raises(InputError, match=r"no schedule of 12 epochs \(none can be chosen\)"):
        asked(objective, [Query(ARCHS[0], epochs=12)])


def test_the_objectives_luck_does_not_disturb_the_method() -> None:
    def draw(search: SearchContext, drawn: list[float]) -> Questions:
        for _ in range(9):
            drawn.append(search.rng.random())
            yield ARCHS[0]
        return None

    draws: list[list[float]] = [[], []]
    for luck, drawn in zip((0.0, 1.0), draws, strict=True):
        drive(draw, Convolutions(luck=luck), seed=3, drawn=drawn)
    assert draws[0] == draws[1] and len(draws[0]) == 9


def test_every_evaluation_has_luck_of_its_own() -> None:
    values = {}
    for seed in (0, 1):
        run = asked(Convolutions(luck=1.0), [ARCHS[0]] * 9, seed=seed)
        values[seed] = [step.value for step in run.steps]
    assert len(set(values[0]) | set(values[1])) == 18
    again = asked(Convolutions(luck=1.0), [ARCHS[0]] * 9)
    assert [step.value for step in again.steps] == values[0]


def test_a_method_takes_fifteen_lines() -> None:
    """The example of the manual: its function, with decorator and docstring."""
    page = (Path(__file__).parents[2] / "docs" / "extend" / "search.md").read_text(encoding="utf-8")
    method = page[page.index("@search_method") : page.index("```", page.index("@search_method"))]
    assert len(method.strip().splitlines()) <= 15


def test_lists_and_iterators_are_one_question() -> None:
    def ask(search: SearchContext, answers: list[Any]) -> Questions:
        answers += [(yield ARCHS[:3]), (yield iter(ARCHS[3:5])), (yield [Query(ARCHS[5], None)]), (yield [])]
        return None

    answers: list[Any] = []
    run = drive(ask, Convolutions(), answers=answers)
    assert [step.arch for step in run.steps] == ARCHS[:6]
    assert [len(values) for values in answers] == [3, 2, 1, 0]
    assert [value for values in answers for value in values] == [step.value for step in run.steps]


def test_an_endless_batch_ends_with_the_budget() -> None:
    def ask(search: SearchContext) -> Questions:
        try:
            yield cycle(ARCHS)
        finally:
            search.metadata["asked"] = len(search.steps)
        return None

    assert drive(ask, Convolutions(), Budget(queries=50)).metadata == {"asked": 50}


def test_what_is_no_question() -> None:
    with pytest.raises(InputError, match="a search asked None; one of several questions is an architecture or a Query"):
        asked(Convolutions(), [[None]])
