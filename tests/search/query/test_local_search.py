"""Local search: better and better neighbors, no question twice."""

from __future__ import annotations

import math
from collections.abc import Hashable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prejudge import search
from prejudge.search import Budget, Evaluation, Objective
from prejudge.search.query.local_search import local_search
from prejudge.spaces import space
from tests.search.toy_objectives import Anywhere, Convolutions, drive, rng_of

S = space("nasbench201")


def test_one_hill_is_climbed() -> None:
    for method in ("local-search", "local-search(first_improvement=False)", "local-search(draws=1)"):
        run = search.run(method, Convolutions(), Budget(queries=150)).trajectories[0]
        assert run.recommendation == str(S.parse([3] * 6, notation="official"))


@pytest.mark.parametrize("method", ["local-search", "local-search(first_improvement=False)"])
def test_nothing_is_asked_twice(method: str) -> None:
    run = search.run(method, Anywhere("nasbench201", fail=0.2), Budget(queries=600)).trajectories[0]
    assert len(set(run.architectures)) == 600


@pytest.mark.parametrize("first_improvement", [True, False])
def test_every_descent_ends_in_a_local_optimum(first_improvement: bool) -> None:
    """A slow look: what was asked so far, walked through again from the best of each ten draws."""
    objective = Anywhere("nasbench201", fail=0.2)
    run = drive(local_search, objective, Budget(queries=500), 1, first_improvement=first_improvement)
    known: dict[Hashable, float] = {}
    rng = rng_of(1)
    steps = iter(run.steps)
    optima = 0
    try:
        while True:
            for _ in range(10):
                arch = S.sample(rng)
                while arch in known:
                    arch = S.sample(rng)
                step = next(steps)
                assert step.arch == arch
                known[arch] = -math.inf if math.isnan(step.value) else step.value
            here = max(list(known)[-10:], key=known.__getitem__)
            climbing = True
            while climbing:
                order = rng.permutation(24)
                better = []
                for neighbor in (S.neighbors(here)[i] for i in order):
                    if neighbor not in known:
                        step = next(steps)
                        assert step.arch == neighbor
                        known[neighbor] = -math.inf if math.isnan(step.value) else step.value
                    if known[neighbor] > known[here]:
                        better.append(neighbor)
                        if first_improvement:
                            break
                climbing = bool(better)
                if climbing:
                    here = max(better, key=known.__getitem__)
            optima += 1
    except StopIteration:
        assert optima >= 3


class Three(Objective):
    """A space of three architectures in a row."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.space = SimpleNamespace(  # type: ignore[assignment]
            name="three",
            sample=lambda rng: int(rng.integers(3)),
            neighbors=lambda a: [b for b in (a - 1, a + 1) if 0 <= b < 3],
        )

    def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        return Evaluation(self.values[arch], 1.0)

    def describe(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(("values", "answer"), [([1.0, 2.0, 3.0], "2"), ([math.nan, math.nan, 0.5], "2")])
@pytest.mark.parametrize("draws", [1, 10])
def test_a_space_that_is_exhausted_ends_the_search(values: list[float], answer: str, draws: int) -> None:
    result = search.run("local-search", Three(values), Budget(queries=99), seeds=range(4), options={"draws": draws})
    for run in result.trajectories:
        assert sorted(run.architectures) == ["0", "1", "2"]
        assert run.recommendation == answer
