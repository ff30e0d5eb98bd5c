"""The protocol between search methods and their driver: questions, and the context that a method works in.

A method is a generator function over a :class:`SearchContext`. It yields questions and is resumed with the answers;
what it returns is its recommendation, and None stands for the best architecture that it has seen. Its questions are

* an architecture, or a :class:`Query` of it on one schedule: "what is this worth?" The answer is a float, higher is
  better, NaN where the evaluation failed;
* a list or an iterator of those, which do not depend on each other's answers and may be answered in parallel. The
  answer is the list of floats. An iterator is read as workers become free, and may be endless;
* a :class:`Work`: anything else. It does itself what is asked, with the context's services, and what it returns is the
  answer. This is how stages of supernets and measurements of pruned networks plug in.

When the budget is spent, :class:`~prejudge.search.budget.BudgetSpent` is raised at the question that cannot be
answered, so that a method may still write down what it knows (``try … finally``).

A family of methods that needs more than a space and an objective (supernets, pruning) derives a context of its own,
with the helpers that its methods use, and registers with ``search_method(…, context=ItsContext)``. From its class
attributes the driver learns what :func:`prejudge.search.run` has to be given and what may run side by side. A work does

* ``context.add_step(…)`` for every step that belongs into the result;
* ``context.tell(…)`` for whoever watches, and ``context.report(done, total)`` for the progress bar;
* ``context.recall(key)`` and ``context.keep(key, record)`` for what a search that is interrupted need not do again
  (they are the journal of the run; checkpoints of networks go into ``context.folder`` instead);
* ``context.engine`` for what it wants done in parallel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from prejudge.engine import Engine, LocalEngine
from prejudge.errors import InputError
from prejudge.search.budget import Budget
from prejudge.search.objectives.base import Objective
from prejudge.search.records import RunRecords
from prejudge.spaces.base import Architecture, Space

if TYPE_CHECKING:
    from prejudge.data.dataset import ImageDataset


class Query(NamedTuple):
    """The question what an architecture is worth on one schedule.

    Attributes:
        arch: The architecture.
        epochs: One of the context's schedules; None for the objective's own, its longest.
    """

    arch: Architecture
    epochs: int | None = None


class SearchStep(NamedTuple):
    """One evaluation of a search, or one epoch of a supernet's.

    Attributes:
        arch: The architecture.
        epochs: Its schedule; None for the objective's own.
        value: Higher is better; NaN where it failed or is not known.
        seconds: What it cost.
    """

    arch: Architecture
    epochs: int | None
    value: float
    seconds: float


class SearchEvent(NamedTuple):
    """What callbacks are told.

    Attributes:
        seed: The run.
        part: The stage or round; empty for evaluations.
        number: Number of the evaluation, epoch or round in its part, from 1.
        total: How many there will be; None where that is not known.
        details: The :class:`SearchStep`, or what else the method's family describes.
    """

    seed: int
    part: str
    number: int
    total: int | None
    details: Any


SearchCallback = Callable[[SearchEvent], None]


@dataclass(eq=False)
class SearchContext:
    """What a method works with: a space, random numbers, and what it has asked so far.

    Attributes:
        space: The search space.
        seed: Seed of the run.
        method: Name of the method.
        options: All of its options.
        objective: What is maximized; None for methods that train or measure networks themselves.
        budget: How much may be asked; None for no limit.
        data: Images, for methods that train or measure networks themselves.
        macro: Macro-architecture numbers that the user has chosen.
        training: Numbers of a training that the user has chosen.
        device: Where networks are computed.
        resume_from: Folder of another run whose supernet is taken.
        resume_epoch: Epoch of that run's checkpoint; None for the last one.
        folder: Folder of this run's own files; None keeps nothing.
        engine: Where independent work of one run may take place.
        journal: What the run has kept so far.
        callbacks: Told of every step.
        rng: The method's random numbers; all come from here, so that a seed is a run.
        steps: Everything answered so far, in order.
        seconds: What it cost together.
        evaluating: Wall-clock seconds that the answers took.
        recommendation: What the method would recommend now, where that is not :attr:`best`.
        metadata: What the method wants to be kept with its result, as plain values.
    """

    needs: ClassVar[str] = "objective"
    """``"objective"`` (with a budget), or ``"data"``."""
    side_by_side: ClassVar[str] = "seeds"
    """What several workers share: ``"seeds"`` (runs, and questions where there are fewer runs than workers), or
    ``"work"``, where each piece of work uses :attr:`engine` and the runs follow one another."""

    needs_labels: ClassVar[bool] = True
    """Whether the labels of :attr:`data` are read."""

    space: Space[Any]
    seed: int = 0
    method: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    objective: Objective | None = None
    budget: Budget | None = None
    data: ImageDataset | None = None
    macro: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    device: Any = None
    resume_from: Path | None = None
    resume_epoch: int | None = None
    folder: Path | None = None
    engine: Engine = field(default_factory=LocalEngine)
    journal: RunRecords | None = None
    callbacks: Sequence[SearchCallback] = ()
    report: Callable[[int, int], None] = field(default=lambda done, total: None)
    rng: np.random.Generator = field(init=False)
    steps: list[SearchStep] = field(default_factory=list, init=False)
    seconds: float = field(default=0.0, init=False)
    evaluating: float = field(default=0.0, init=False)
    recommendation: Architecture | None = field(default=None, init=False)
    metadata: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(random_sources(self.seed)[0])

    @property
    def schedules(self) -> tuple[int, ...]:
        """Epochs at which architectures can be evaluated, ascending; empty where there is no choice."""
        return () if self.objective is None else self.objective.schedules

    @property
    def best(self) -> SearchStep | None:
        """The incumbent: the highest value among those at the longest schedule; the first of equals, never NaN."""
        found: SearchStep | None = None
        for step in self.steps:
            if step.value == step.value and (found is None or _rank(step) > _rank(found)):
                found = step
        return found

    @property
    def is_writer(self) -> bool:
        """Whether this process keeps the run's journal: of several that train together, the first one."""
        return True

    def active(self) -> AbstractContextManager[None]:
        """The surroundings that the run needs from beginning to end, such as random states of its own."""
        return nullcontext()

    def known(self, archs: Sequence[Architecture]) -> np.ndarray | None:
        """Values that take no more than a look; None where they have to be computed."""
        return None if self.objective is None else self.objective.known(archs)

    def describe(self) -> dict[str, Any]:
        """Plain values that say what is searched for, kept with the result and compared on resuming."""
        return {} if self.objective is None else self.objective.describe()

    # -- services for works --------------------------------------------------------------------------------------------

    def add_step(self, arch: Architecture, epochs: int | None, value: float, seconds: float) -> None:
        """One more step of the result."""
        self.steps.append(SearchStep(arch, epochs, value, seconds))
        self.seconds += seconds

    def tell(self, part: str, number: int, total: int | None, details: Any) -> None:
        """Tell whoever watches."""
        for callback in self.callbacks:
            callback(SearchEvent(self.seed, part, number, total, details))

    def warn(self, text: str) -> None:
        """Keep a sentence that whoever reads the result should know, among the metadata's ``"warnings"``."""
        warnings = self.metadata.setdefault("warnings", [])
        if text not in warnings:
            warnings.append(text)

    def recall(self, key: str) -> Any:
        """The record that an earlier, interrupted run kept under a key; None where there is none."""
        return None if self.journal is None else self.journal.find(key)

    def keep(self, key: str, record: Any) -> None:
        """Keep a record of plain values, so that a run that is interrupted finds it again."""
        if self.journal is not None:
            self.journal.keep(key, record)


class Work(ABC):
    """A question that is not an evaluation: something long that is done for the method, such as training a supernet."""

    @abstractmethod
    def perform(self, context: Any) -> Any:
        """Do it; the result is what the method is resumed with.

        Args:
            context: The method's context, a :class:`SearchContext` of its family.
        """


Question = Architecture | list[Any] | Iterator[Any] | Work
"""What a method may yield; lists and iterators hold architectures and queries."""

Questions = Generator[Any, Any, Architecture | None]
"""What a method's function returns."""


def random_sources(seed: int) -> list[np.random.SeedSequence]:
    """The source of a method's random numbers, and that of the objective's, which do not disturb them."""
    return np.random.SeedSequence(seed).spawn(2)


def as_query(question: Any) -> Query:
    """A single question as a :class:`Query`; raises :class:`InputError` where it is no single one."""
    if type(question) is Query:
        return question
    if question is None or isinstance(question, list | Work):
        raise InputError(f"a search asked {question!r:.80}; one of several questions is an architecture or a Query")
    return Query(question)


def _rank(step: SearchStep) -> tuple[float, float]:
    """What steps are compared by: first the schedule, then the value."""
    return (math.inf if step.epochs is None else step.epochs, step.value)
