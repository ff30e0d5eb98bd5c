"""Objectives whose answers are known, for the tests of searches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from prejudge.search import Budget, Evaluation, Objective, SearchContext, SearchMethod
from prejudge.search.driver import SearchRun
from prejudge.search.protocol import random_sources
from prejudge.spaces import Cell201, space

CONV3 = 3


def drive(
    function: Any, objective: Objective, budget: Budget | None = None, seed: int = 0, **options: Any
) -> SearchContext:
    """Run a method's function to the end of its budget; what it has done is in its context."""
    context = SearchContext(objective.space, seed, objective=objective, budget=budget)
    SearchRun(SearchMethod("mine", function, "mine, 2026"), options, context).drive()
    return context


def rng_of(seed: int) -> np.random.Generator:
    """The random numbers of a run's method."""
    return np.random.default_rng(random_sources(seed)[0])


class Convolutions(Objective):
    """NAS-Bench-201: the number of 3x3 convolutions, each worth 10, at a second per question and epoch.

    Every neighbor of a cell that has one more is better, so there is a single optimum. Schedules get the order right.

    Args:
        fail: Cells whose last edge is ``none`` fail.
        luck: Deviation of a normal term, drawn anew for every question.
        schedules: Epochs that can be chosen.
        seconds: What a question costs, for each epoch that is chosen.
        stop_after: Raise KeyboardInterrupt at this question.
    """

    def __init__(
        self,
        *,
        fail: bool = False,
        luck: float = 0.0,
        schedules: tuple[int, ...] = (),
        seconds: float = 1.0,
        stop_after: int | None = None,
    ) -> None:
        self.space = space("nasbench201")
        self.schedules = schedules
        self.asked: list[tuple[Cell201, int | None]] = []
        self._fail, self._luck, self._seconds, self._stop_after = fail, luck, seconds, stop_after

    def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        self.check_epochs(epochs)
        if len(self.asked) == self._stop_after:
            raise KeyboardInterrupt
        self.asked.append((arch, epochs))
        seconds = self._seconds * (epochs or (self.schedules[-1] if self.schedules else 1))
        if self._fail and arch.edges[-1] == 0:
            return Evaluation(math.nan, seconds)
        value = 10.0 * arch.edges.count(CONV3) + 0.01 * sum(arch.edges)
        return Evaluation(value + self._luck * rng.normal() if self._luck else value, seconds)

    def describe(self) -> dict[str, Any]:
        return {"what": "3x3 convolutions", "luck": self._luck}


class Anywhere(Objective):
    """Any space: a value that is as good as random, but always the same for an architecture; some fail.

    Args:
        name: Of the space.
        fail: Share of the architectures that fail.
        schedules: Epochs that can be chosen; the value does not depend on them.
    """

    def __init__(self, name: str, *, fail: float = 0.0, schedules: tuple[int, ...] = ()) -> None:
        self.space = space(name)
        self.schedules = schedules
        self._fail = fail

    def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        self.check_epochs(epochs)
        failed, value = np.random.default_rng(list(str(arch).encode())).random(2).tolist()
        return Evaluation(math.nan if failed < self._fail else value, 1.0)

    def describe(self) -> dict[str, Any]:
        return {"what": "noise"}
