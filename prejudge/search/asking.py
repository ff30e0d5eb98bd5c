"""A search turned inside out: the caller asks it for questions, and tells it the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from prejudge.errors import InputError, check_integer
from prejudge.search.budget import Budget
from prejudge.search.driver import Request, SearchRun
from prejudge.search.objectives.base import Evaluation, Objective
from prejudge.search.registry import read_method
from prejudge.search.result import Trajectory
from prejudge.spaces import space as find_space
from prejudge.spaces.base import Architecture, Space


class AskedQuestion(NamedTuple):
    """What is this architecture worth?

    Attributes:
        number: Number of the question, from 0.
        architecture: The architecture.
        epochs: The schedule it is to be evaluated on; None for the longest.
    """

    number: int
    architecture: Architecture
    epochs: int | None


class AskTell:
    """A run of a search method whose questions the caller answers; made by :func:`ask_tell`."""

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._open: dict[int, Request] = {}

    def ask(self) -> AskedQuestion | None:
        """The next question; None where the method has ended, or its budget is spent.

        Several questions may be open at once, as far as they do not depend on each other's answers.

        Raises:
            InputError: The next question depends on answers that have not been told.
        """
        request = next(self._run.requests(), None)
        if request is not None:
            self._open[request.step] = request
            return AskedQuestion(request.step, *request.query)
        if not self._run.ended:
            numbers = ", ".join(map(str, sorted(self._open)))
            raise InputError(f"the next question depends on open ones: tell the answer to question {numbers} first")
        return None

    def tell(self, question: AskedQuestion, value: float, *, seconds: float = 0.0) -> None:
        """The answer to a question, in any order.

        Args:
            question: As :meth:`ask` has given it.
            value: Higher is better; NaN where the evaluation failed.
            seconds: What it cost.

        Raises:
            InputError: The question is not open, or the seconds are negative.
        """
        request = self._open.pop(question.number, None)
        if request is None:
            raise InputError(f"question {question.number} is not open: it was never asked, or has its answer")
        self._run.supply(request, Evaluation(float(value), float(seconds)))

    def recommend(self) -> Architecture:
        """The architecture that the method recommends so far; raises :class:`InputError` where it knows none."""
        return self._run.recommendation

    def trajectory(self) -> Trajectory:
        """Everything so far, as :func:`prejudge.search.run` returns it."""
        return self._run.trajectory()


def ask_tell(
    method: str,
    space: Space[Any] | str,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
    schedules: Sequence[int] = (),
) -> AskTell:
    """Begin a search whose questions the caller answers, e.g. by experiments of their own.

    Told the same values, it asks the same questions as :func:`prejudge.search.run` from the same seed.

    Args:
        method: ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME`` of a method that asks what architectures are
            worth.
        space: The search space or its name.
        seed: Of the method's random numbers.
        options: Further options of the method.
        budget: Ends the search; without one it goes on as long as the method does.
        schedules: Training epochs at which the caller can evaluate, ascending, for methods that choose among them.

    Raises:
        InputError: The method is unknown, trains or prunes supernets, or an option is out of range.

    Example:
        >>> search = ask_tell("evolution", "nasbench201")
        >>> question = search.ask()
        >>> search.tell(question, value=91.3)
        >>> str(search.recommend()) == str(question.architecture)
        True
    """
    chosen, given = read_method(method, options)
    if chosen.context.needs != "objective":
        raise InputError(f"{chosen.name} does not ask what architectures are worth; use prejudge.search.run")
    where = find_space(space) if isinstance(space, str) else space
    chosen.check_space(where)
    seed = check_integer("a seed", seed, least=0)
    context = chosen.context(space=where, seed=seed, objective=_Caller(where, schedules), budget=budget)
    return AskTell(SearchRun(chosen, given, context))


class _Caller(Objective):
    """The objective of a search whose questions the caller answers."""

    def __init__(self, space: Space[Any], schedules: Sequence[int]) -> None:
        self.space = space
        self.schedules = tuple(schedules)

    def evaluate(self, arch: Architecture, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        raise InputError(f"only the caller knows the value of {arch}; use ask and tell")

    def describe(self) -> dict[str, Any]:
        return {"kind": "asked of the caller"}
