"""How much a search may ask, and when that is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prejudge.errors import InputError, check_integer, quoted

if TYPE_CHECKING:
    from prejudge.search.objectives.base import Evaluation
    from prejudge.spaces.base import Architecture

_FREE = 1000
"""Evaluations after which a budget of seconds must have been touched."""


class BudgetSpent(Exception):
    """Raised inside a method at the question that nothing is left for; a method lets it pass."""


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
        if self.queries is not None:
            object.__setattr__(self, "queries", check_integer("budget: queries", self.queries))
        seconds: object = self.seconds
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if seconds is not None and not (number and 0 < seconds < math.inf):  # type: ignore[operator]
            raise InputError(f"budget: seconds must be a positive number, not {quoted(seconds)}")

    def check_left(self, queries: int, seconds: float) -> None:
        """Raise :class:`BudgetSpent` unless one more evaluation may begin after so many, which cost so much."""
        if self.queries is not None and queries >= self.queries:
            raise BudgetSpent
        if self.seconds is not None and self.overshoot and seconds >= self.seconds:
            raise BudgetSpent

    def total(self, queries: int, seconds: float, found: Evaluation, arch: Architecture) -> float:
        """The seconds spent with one more evaluation.

        Args:
            queries: Evaluations before it.
            seconds: What those cost.
            found: The evaluation.
            arch: Its architecture, for messages.

        Raises:
            BudgetSpent: It ended too late to count.
            InputError: The budget does not even suffice for the first one, or it is one of seconds and nothing costs
                any.
        """
        total = seconds + found.seconds
        if not total > 0:
            self._check_cost(queries, found)
        if self.seconds is not None and not self.overshoot and total > self.seconds:
            if not queries:
                raise InputError(
                    f"a budget of {self.seconds:g} s is smaller than one evaluation ({found.seconds:g} s of {arch})"
                )
            raise BudgetSpent
        return total

    def _check_cost(self, queries: int, found: Evaluation) -> None:
        if not found.seconds >= 0:
            raise InputError(f"an evaluation cannot cost {found.seconds} s; the objective must know its seconds")
        if self.queries is None and queries >= _FREE:
            raise InputError(
                f"{_FREE:,} evaluations have cost nothing, so a budget of seconds is never spent; give one of queries"
            )
