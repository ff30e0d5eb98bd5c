"""The driver of one run: it asks the method for questions, answers them, and ends it when the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from prejudge.errors import InputError, PrejudgeError
from prejudge.search.budget import BudgetSpent
from prejudge.search.objectives.base import Evaluation, Objective
from prejudge.search.protocol import Query, SearchContext, SearchStep, Work, as_query, random_sources
from prejudge.search.registry import SearchMethod
from prejudge.search.result import Trajectory
from prejudge.spaces.base import Architecture


class Evaluator:
    """An objective together with the random numbers of its evaluations.

    Each evaluation of a run has a stretch of random numbers of its own, whichever evaluations a process makes.

    Args:
        objective: What is maximized.
        seed: The run.
    """

    def __init__(self, objective: Objective, seed: int) -> None:
        self._evaluate = objective.evaluate
        self._draws = objective.draws
        self._bits = np.random.PCG64(random_sources(seed)[1])
        self._at_first = self._bits.state
        self._rng = np.random.Generator(self._bits)

    def __call__(self, step: int, arch: Any, epochs: int | None) -> Evaluation:
        """The evaluation that is number ``step`` of the run, from 0."""
        if self._draws:
            self._bits.state = self._at_first
            self._bits.advance(step << 64)
        return self._evaluate(arch, epochs, self._rng)


class Request(NamedTuple):
    """One question that may be answered elsewhere.

    Attributes:
        seed: The run that asks.
        step: Number of the evaluation in its run, from 0.
        query: The question.
    """

    seed: int
    step: int
    query: Query


@dataclass
class _Batch:
    """Questions that are open together.

    Attributes:
        single: Whether the method asked one question, not a list.
        waiting: Questions that nobody has taken yet; None once there is no more.
        first: Number of the first evaluation.
        asked: Questions in order.
        found: Answers by their place.
        values: The answers that are among the steps already.
    """

    single: bool
    waiting: Iterator[Any] | None
    first: int
    asked: list[Query] = field(default_factory=list)
    found: dict[int, Evaluation] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)


class SearchRun:
    """One run of a method.

    :meth:`complete` answers everything in this process. :meth:`requests` and :meth:`supply` turn it inside out: whoever
    calls them answers the evaluations, in any order.

    Args:
        method: The method.
        options: All of its options.
        context: What it works with.

    Raises:
        InputError: The method's function is not a generator function.
    """

    def __init__(self, method: SearchMethod, options: Mapping[str, Any], context: SearchContext) -> None:
        self.method = method
        self.context = context
        self._start = self._asked = time.perf_counter()
        self._generator = method.function(context, **options)
        if not hasattr(self._generator, "send"):
            raise InputError(f"{method.name}: a search method yields its questions; its function has no yield")
        objective = context.objective
        self._evaluator = None if objective is None else Evaluator(objective, context.seed)
        self._find = self._evaluator if self._evaluator is not None and context.journal is None else self._found
        self._singles: set[type] = set()
        self._batch: _Batch | None = None
        self._recommended: Architecture | None = None
        self.ended = False

    # -- everything in this process ------------------------------------------------------------------------------------

    def complete(self) -> Trajectory:
        """Run to the end, answering everything here.

        Raises:
            InputError: A question cannot be answered, or nothing that was evaluated has a value.
        """
        self.drive()
        return self.trajectory()

    def drive(self) -> None:
        """Answer questions until there are no more, or the budget is spent."""
        reply: Any = None
        while True:
            question = self._resume(reply)
            if self.ended:
                return
            try:
                reply = self._answer(question)
            except BudgetSpent:
                return self._stop()

    def _answer(self, question: Any) -> Any:
        kind = type(question)
        if kind in self._singles:  # the short way of almost all questions
            return self._value(question, None)
        if kind is Query:
            return self._value(*question)
        if _is_batch(kind):
            return [self._single(one) for one in question]
        return self._perform(question) if isinstance(question, Work) else self._single(question)

    def _single(self, question: Any) -> float:
        kind = type(question)
        if kind in self._singles:
            return self._value(question, None)
        query = as_query(question)
        if kind is not Query:
            self._singles.add(kind)
        return self._value(*query)

    def _value(self, arch: Any, epochs: int | None) -> float:
        context, count = self.context, len(self.context.steps)
        if context.budget is not None:
            context.budget.check_left(count, context.seconds)
        start = time.perf_counter()
        found = self._find(count, arch, epochs)
        context.evaluating += time.perf_counter() - start
        return self._count(arch, epochs, found)

    def _found(self, step: int, arch: Any, epochs: int | None) -> Evaluation:
        """The evaluation that the journal knows, or a new one, which it keeps."""
        known = self._recall(step, arch, epochs)
        if known is not None:
            return known
        if self._evaluator is None:
            raise InputError(f"{self.method.name} asks for the value of {arch}; give the search an objective")
        found = self._evaluator(step, arch, epochs)
        if self.context.journal is not None:
            self.context.journal.put(step, arch, epochs, found)
        return found

    # -- answered by others --------------------------------------------------------------------------------------------

    def requests(self) -> Iterator[Request]:
        """Questions to be answered now; once some are supplied there may be more, until the run has :attr:`ended`.

        Works, and what the journal knows, are answered on the way.
        """
        while not self.ended:
            batch = self._batch
            if batch is None:
                self._next_batch(None)
            elif (query := self._take(batch)) is not None:
                step = batch.first + len(batch.asked)
                batch.asked.append(query)
                found = self._recall(step, *query)
                if found is None:
                    yield Request(self.context.seed, step, query)
                else:
                    self._settle(step, found)
            elif len(batch.values) < len(batch.asked):
                return  # the others have them
            elif batch.waiting is None:
                self._next_batch(batch.values[0] if batch.single else batch.values)
            else:
                self._spent()

    def supply(self, request: Request, found: Evaluation) -> None:
        """The answer to one of the requests."""
        if self.context.journal is not None:
            self.context.journal.put(request.step, *request.query, found)
        if not self.ended:  # else the budget was spent while this one was under way
            self._settle(request.step, found)

    def _take(self, batch: _Batch) -> Query | None:
        """The next question of a batch, if the budget may have room for it."""
        budget, count = self.context.budget, batch.first + len(batch.asked)
        if batch.waiting is None or (budget is not None and budget.queries is not None and count >= budget.queries):
            return None
        try:
            return as_query(next(batch.waiting))
        except StopIteration:
            batch.waiting = None
            return None

    def _settle(self, step: int, found: Evaluation) -> None:
        """Count the answers that are known, in the order of their questions."""
        batch = self._batch
        assert batch is not None
        batch.found[step - batch.first] = found
        context = self.context
        try:
            while (place := len(batch.values)) in batch.found:
                if context.budget is not None:
                    context.budget.check_left(len(context.steps), context.seconds)
                batch.values.append(self._count(*batch.asked[place], batch.found.pop(place)))
        except BudgetSpent:
            self._spent()

    def _next_batch(self, reply: Any) -> None:
        """Resume the method until it asks for values."""
        context = self.context
        if self._batch is not None:
            context.evaluating += time.perf_counter() - self._asked
            self._batch = None
        question = self._resume(reply)
        while isinstance(question, Work) and not self.ended:
            question = self._resume(self._perform(question))
        self._asked = time.perf_counter()
        if not self.ended:
            several = _is_batch(type(question))
            waiting = iter(question if several else [question])
            self._batch = _Batch(not several, waiting, len(context.steps))

    def _spent(self) -> None:
        self.context.evaluating += time.perf_counter() - self._asked
        self._stop()

    # -- both ----------------------------------------------------------------------------------------------------------

    def _resume(self, reply: Any) -> Any:
        try:
            return self._generator.send(reply)
        except StopIteration as end:
            self._recommended, self.ended = end.value, True
        except BudgetSpent:  # raised by the method itself
            self.ended = True
        return None

    def _stop(self) -> None:
        """Tell the method that the budget is spent."""
        self.ended = True
        try:
            self._generator.throw(BudgetSpent())
        except BudgetSpent:
            return
        except StopIteration as end:
            self._recommended = end.value
            return
        raise PrejudgeError(f"{self.method.name} asks on although its budget is spent; it must let BudgetSpent pass")

    def _perform(self, work: Work) -> Any:
        start = time.perf_counter()
        found = work.perform(self.context)
        self.context.evaluating += time.perf_counter() - start
        return found

    def _recall(self, step: int, arch: Any, epochs: int | None) -> Evaluation | None:
        journal = self.context.journal
        return None if journal is None else journal.evaluation(step, arch, epochs)

    def _count(self, arch: Any, epochs: int | None, found: Evaluation) -> float:
        context = self.context
        budget, count = context.budget, len(context.steps)
        context.seconds = (
            context.seconds + found.seconds if budget is None else budget.total(count, context.seconds, found, arch)
        )
        step = SearchStep(arch, epochs, found.value, found.seconds)
        context.steps.append(step)
        if context.callbacks:
            context.tell("", count + 1, None if budget is None else budget.queries, step)
        return found.value

    @property
    def recommendation(self) -> Architecture:
        """What the method recommends, so far or in the end.

        Raises:
            InputError: Nothing that was evaluated has a value, and the method recommends nothing.
        """
        for recommended in (self._recommended, self.context.recommendation):
            if recommended is not None:
                return recommended
        best = self.context.best
        if best is None:
            raise InputError(f"the search evaluated {len(self.context.steps)} architectures, and none has a value")
        return best.arch

    def trajectory(self) -> Trajectory:
        """What the run has done, as plain values; raises what :attr:`recommendation` raises."""
        context = self.context
        own = context.schedules[-1] if context.schedules else 0  # what the objective takes where nothing is asked for
        steps = context.steps
        return Trajectory(
            seed=context.seed,
            recommendation=str(self.recommendation),
            architectures=[str(s.arch) for s in steps],
            epochs=np.array([own if s.epochs is None else s.epochs for s in steps], dtype=np.int32),
            values=np.array([s.value for s in steps], dtype=float),
            seconds=np.array([s.seconds for s in steps], dtype=float),
            overhead=time.perf_counter() - self._start - context.evaluating,
            metadata=context.metadata,
        )


def _is_batch(kind: type) -> bool:
    """Whether questions of this type hold several."""
    return kind is list or hasattr(kind, "__next__")
