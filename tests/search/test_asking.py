"""Searches turned inside out ask what the driver asks."""

from __future__ import annotations

import random

import numpy as np
import pytest

from prejudge import search
from prejudge.errors import InputError
from prejudge.search import Budget, ask_tell
from prejudge.spaces import space
from tests.search.toy_objectives import Anywhere

S = space("nasbench201")
SCHEDULES = (1, 4, 12)
METHODS = ("random", "evolution", "local-search", "reinforce", "successive-halving", "hyperband", "bohb")


@pytest.mark.parametrize("method", METHODS)
def test_the_trajectory_is_the_drivers(method: str) -> None:
    objective = Anywhere("nasbench201", fail=0.2, schedules=SCHEDULES)
    expected = search.run(method, objective, Budget(queries=60), seeds=[3]).trajectories[0]
    asked = ask_tell(method, "nasbench201", seed=3, budget=Budget(queries=60), schedules=SCHEDULES)
    while (question := asked.ask()) is not None:
        found = objective.evaluate(question.architecture, question.epochs, np.random.default_rng())
        asked.tell(question, found.value, seconds=found.seconds)
    found_run = asked.trajectory()
    assert found_run.architectures == expected.architectures
    np.testing.assert_array_equal(found_run.values, expected.values)
    np.testing.assert_array_equal(found_run.epochs, expected.epochs)
    assert str(asked.recommend()) == found_run.recommendation == expected.recommendation


def test_open_questions_are_answered_in_any_order() -> None:
    objective = Anywhere("nasbench201")
    expected = search.run("evolution", objective, Budget(queries=40), seeds=[1]).trajectories[0]
    asked = ask_tell("evolution", S, seed=1)
    first = [asked.ask() for _ in range(10)]  # the population
    with pytest.raises(InputError, match="depends on open ones: tell the answer to question 0, 1, 2"):
        asked.ask()
    random.Random(0).shuffle(first)
    for question in first:
        assert question is not None
        asked.tell(question, objective.evaluate(question.architecture, None, np.random.default_rng()).value)
    for _ in range(30):
        question = asked.ask()
        assert question is not None
        asked.tell(question, objective.evaluate(question.architecture, None, np.random.default_rng()).value)
    assert asked.trajectory().architectures == expected.architectures


def test_what_cannot_be_asked_or_told() -> None:
    asked = ask_tell("random", S, budget=Budget(queries=2))
    with pytest.raises(InputError, match="the search evaluated 0 architectures, and none has a value"):
        asked.recommend()
    question = asked.ask()
    assert question is not None
    asked.tell(question, 1.0)
    with pytest.raises(InputError, match="question 0 is not open: it was never asked, or has its answer"):
        asked.tell(question, 1.0)
    assert asked.recommend() == question.architecture
    other = asked.ask()
    assert other is not None and other.number == 1
    asked.tell(other, 0.5)
    assert asked.ask() is None and asked.ask() is None
    with pytest.raises(InputError, match="unknown search 'evolutoin'"):
        ask_tell("evolutoin", S)
    with pytest.raises(InputError, match="needs 2 or more schedules"):
        ask_tell("hyperband", S).ask()
