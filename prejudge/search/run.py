"""One search, seen from the method: it asks for architectures until its budget is spent."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from prejudge.errors import InputError
from prejudge.search.journal import Journal
from prejudge.search.objectives.base import Evaluation, Objective
from prejudge.spaces.base import Architecture

_FREE = 1000
"""Evaluations after which a budget of seconds must have been touched."""


class BudgetSpent(Exception):
    """Raised by :meth:`Run.evaluate` when nothing more can be asked; a method lets it pass."""


@dataclass(frozen=True)
class Budget:
    """How much a search may ask.

    Attributes:
        queries: Evaluations.
        seconds: Sum of what the evaluations cost.
        overshoot: Whether an evaluation that begins within ``seconds`` counts although it ends later (NATS-Bench's
            scripts); otherwise the search stops before it (NAS-Bench-201's paper).
    """

    queries: int | None = None
    seconds: float | None = None
    overshoot: bool = False

    def __post_init__(self) -> None:
        if self.queries is None and self.seconds is None:
            raise InputError("a search needs a budget: a number of queries, seconds, or both")
        for name in ("queries", "seconds"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"budget: {name} must be positive, not {value}")


class Step(NamedTuple):
    """One evaluation of a search."""

    arch: Architecture
    epochs: int | None
    value: float
    seconds: float


class Run:
    """What a search method works with: a space, random numbers, and :meth:`evaluate`.

    Args:
        objective: What to maximize.
        budget: How much may be asked.
        seed: Of ``rng``.
        journal: Evaluations of an earlier, interrupted run of the same search, and where new ones go.

    Attributes:
        objective: What is maximized.
        space: Its space.
        rng: The method's random numbers.
        steps: Everything evaluated so far, in order.
        seconds: What it cost together.
        answer: The architecture that the method chooses, where that is not :attr:`best`.
        facts: What the method wants to be kept with its result, as plain values.
    """

    def __init__(self, objective: Objective, budget: Budget, seed: int, journal: Journal | None = None) -> None:
        self.objective = objective
        self.space = objective.space
        self.budget = budget
        self.seed = seed
        method, luck = np.random.SeedSequence(seed).spawn(2)
        self.rng = np.random.default_rng(method)
        # The objective's own draws do not disturb the method's; see _ask for how they are made.
        self._dice = np.random.PCG64(luck)
        self._at_first = self._dice.state
        self._luck = np.random.Generator(self._dice)
        self._journal = journal
        self.steps: list[Step] = []
        self.seconds = 0.0
        self.evaluating = 0.0
        self.answer: Architecture | None = None
        self.facts: dict[str, Any] = {}

    def evaluate(self, arch: Architecture, epochs: int | None = None) -> float:
        """Value of an architecture, higher is better; NaN where it failed.

        Every call counts, also for an architecture that was asked before.

        Raises:
            BudgetSpent: There is no budget left for it.
            InputError: The objective cannot evaluate it, the budget does not even suffice for one evaluation, or it is
                one of seconds and nothing costs any.
        """
        budget = self.budget
        if budget.queries is not None and len(self.steps) >= budget.queries:
            raise BudgetSpent
        if budget.seconds is not None and budget.overshoot and self.seconds >= budget.seconds:
            raise BudgetSpent
        found = self._answer(arch, epochs)
        total = self.seconds + found.seconds
        if not total > 0:
            self._check_cost(found)
        if budget.seconds is not None and not budget.overshoot and total > budget.seconds:
            if not self.steps:
                raise InputError(
                    f"a budget of {budget.seconds:g} s is smaller than one evaluation ({found.seconds:g} s of {arch})"
                )
            raise BudgetSpent
        self.seconds = total
        self.steps.append(Step(arch, epochs, found.value, found.seconds))
        return found.value

    @property
    def best(self) -> Step | None:
        """The incumbent: the highest value among those at the longest schedule; the first of equals, never NaN."""
        found: Step | None = None
        for step in self.steps:
            if step.value == step.value and (found is None or rank(step) > rank(found)):
                found = step
        return found

    def _answer(self, arch: Architecture, epochs: int | None) -> Evaluation:
        start = time.perf_counter()
        if self._journal is not None:
            found = self._journal.answer(arch, epochs, lambda: self._ask(arch, epochs))
        else:
            found = self._ask(arch, epochs)
        self.evaluating += time.perf_counter() - start
        return found

    def _ask(self, arch: Architecture, epochs: int | None) -> Evaluation:
        # Each evaluation has a stretch of random numbers of its own: the ones before it may have come from a journal.
        self._dice.state = self._at_first
        self._dice.advance(len(self.steps) << 64)
        return self.objective.evaluate(arch, epochs, self._luck)

    def _check_cost(self, found: Evaluation) -> None:
        if not found.seconds >= 0:
            raise InputError(f"an evaluation cannot cost {found.seconds} s; the objective must know its seconds")
        if self.budget.queries is None and len(self.steps) >= _FREE:
            raise InputError(
                f"{_FREE:,} evaluations have cost nothing, so a budget of seconds is never spent; give one of queries"
            )


def rank(step: Step) -> tuple[float, float]:
    """What steps are compared by: first the schedule, then the value."""
    return (math.inf if step.epochs is None else step.epochs, step.value)
