"""What every method must do, on every kind of space."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from prejudge import search
from prejudge.search import Budget
from prejudge.search import query as methods
from prejudge.search.registry import register
from tests.search.toy_objectives import Anywhere, Convolutions

BUILT_IN = ("random", "evolution", "local-search", "reinforce", "successive-halving", "hyperband", "bohb")
SPACES = ("nasbench201", "nats-size", "nasbench101", "darts", "darts-s1")
SCHEDULES = (1, 4, 12)


def test_the_built_in_methods_are_registered_and_described() -> None:
    assert set(BUILT_IN) <= set(register.names())
    for name in BUILT_IN:
        method = register.get(name)
        assert method.reference and method.summary.endswith(".")
        for option in method.options:
            assert f"{option}:" in (inspect.getdoc(method.function) or ""), f"{name}: {option} is not described"
    assert all(inspect.ismodule(getattr(methods, name)) for name in methods.__all__)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("method", BUILT_IN)
def test_it_runs_anywhere_although_some_fail(method: str, name: str) -> None:
    objective = Anywhere(name, fail=0.3, schedules=SCHEDULES)
    result = search.run(method, objective, Budget(queries=120), seeds=[0, 1])
    for run in result.trajectories:
        assert len(run.values) == 120
        assert np.isnan(run.values).any()
        chosen = [v for a, v in zip(run.architectures, run.values, strict=True) if a == run.recommendation]
        assert not any(math.isnan(v) for v in chosen)
        longest = run.values[run.epochs == 12]
        assert max(chosen) == np.nanmax(longest)
        for text in run.architectures[:10]:
            assert str(objective.space.parse(text)) == text


@pytest.mark.parametrize("method", BUILT_IN)
def test_a_seed_says_it_all(method: str) -> None:
    objective = Anywhere("nasbench201", schedules=SCHEDULES)
    one, other, third = (
        search.run(method, objective, Budget(queries=60), seeds=[seed]).trajectories[0].architectures
        for seed in (3, 3, 4)
    )
    assert one == other != third


@pytest.mark.parametrize("method", BUILT_IN)
def test_everything_fails_without_a_hang(method: str) -> None:
    with pytest.raises(ValueError, match="and none has a value"):
        search.run(method, Anywhere("nasbench201", fail=2.0, schedules=SCHEDULES), Budget(queries=60))


@pytest.mark.parametrize("method", ["evolution", "local-search", "reinforce(learning_rate=0.1)", "bohb"])
def test_learning_beats_chance_where_there_is_something_to_learn(method: str) -> None:
    def mean(name: str) -> float:
        result = search.run(name, Convolutions(schedules=SCHEDULES), Budget(seconds=1800), seeds=range(12))
        return float(np.mean([np.nanmax(run.values[run.epochs == 12]) for run in result.trajectories]))

    assert mean(method) > mean("random") + 5  # half a convolution of six
