"""The rounds of TE-NAS: measure every removal, make the best of each edge, until one operation an edge is left.

In the DARTS spaces a last stage then removes whole edges, node after node, until two enter each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple, TypeVar

import numpy as np

from prejudge.errors import PrejudgeError
from prejudge.search.pruning.protocol import PruningProtocol
from prejudge.search.pruning.pruning_space import (
    KEPT_EDGES,
    Active,
    PruningSpace,
    edges_of,
    operations_of,
    without,
)
from prejudge.search.pruning.ranking import (
    EdgeOperation,
    OperationMeasurement,
    choose_edges,
    choose_operations,
    mean_change,
)

Q = TypeVar("Q")


class NetworkTask(NamedTuple):
    """A pruned network to be measured.

    Attributes:
        stage: Number of the draws.
        repeat: Which of them.
        name: Which network.
        active: The operations that are left of the supernet.
        kernel: Whether the condition number is wanted.
        regions: Whether the regions are.
    """

    stage: int
    repeat: int
    name: str
    active: Active
    kernel: bool = True
    regions: bool = True

    def __str__(self) -> str:
        wanted = ("kernel " if self.kernel else "") + ("regions" if self.regions else "")
        return f"stage {self.stage}, repeat {self.repeat}: {self.name}: {wanted.strip()}"


class NetworkMeasurement(NamedTuple):
    """The figures of a network; NaN where one was not wanted or could not be had.

    Attributes:
        condition: Condition number of the kernel.
        regions: Number of linear regions.
        seconds: Computing time.
        reason: Why a figure that was wanted is missing, in one line.
    """

    condition: float
    regions: float
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class PruningRound:
    """One round: the removals that were measured, and those that were made.

    Attributes:
        title: ``"round 1"``, or ``"normal node 1"`` where edges are removed.
        measured: Every removal that was looked at.
        removed: Those that were made, most important first.
        active: The operations that are left afterwards.
        names: Name of the operation of each removal that was looked at.
        seconds: Computing time of its figures, summed over workers.
        failures: Why figures are missing, each reason once.
    """

    title: str
    measured: tuple[OperationMeasurement, ...]
    removed: tuple[EdgeOperation, ...]
    active: Active
    names: Mapping[EdgeOperation, str]
    seconds: float
    failures: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Figures that could not be had; none of them made a removal more or less likely."""
        return sum(measurement.failed for measurement in self.measured)

    def plain(self) -> dict[str, Any]:
        """The round as plain values: per removal its place, its name and the two mean relative changes."""
        rows = [
            [*m.removal[:2], self.names[m.removal], *(_figure(mean_change(p, None)) for p in (m.conditions, m.regions))]
            for m in self.measured
        ]
        return {
            "title": self.title,
            "columns": ["cell", "edge", "operation", "condition_change", "regions_change"],
            "measured": rows,
            "removed": [[*r[:2], self.names[r]] for r in self.removed],
            "seconds": round(self.seconds, 3),
            "failures": list(self.failures),
        }


Choose = Callable[[Sequence[OperationMeasurement]], Sequence[EdgeOperation]]
"""Chooses the removals that are made."""

Ask = Callable[[list[NetworkTask]], Q]
"""Makes the question of a round from the networks that are to be measured."""


def prune_rounds(
    space: PruningSpace,
    protocol: PruningProtocol,
    *,
    ask: Ask[Q],
    on_round: Callable[[PruningRound], None] = lambda made: None,
) -> Generator[Q, Sequence[NetworkMeasurement], list[PruningRound]]:
    """Prune a space, round after round: yield questions, to be resumed with the figures of each question's networks.

    Args:
        space: What is pruned.
        protocol: The settings.
        ask: Makes a question.
        on_round: Called after every round.

    Returns:
        The rounds; the last one has what is left.

    Raises:
        PrejudgeError: The whole supernet has no figure, so that nothing can be compared.
    """
    rounds: list[PruningRound] = []
    number = protocol.prune_number or space.prune_number
    operations = partial(choose_operations, number=number, rounding=protocol.rounding)
    edges = partial(choose_edges, keep=KEPT_EDGES, rounding=protocol.rounding)

    def make(question: _Question, found: Sequence[NetworkMeasurement], choose: Choose) -> Active:
        rounds.append(question.round(space, protocol.repeats, found, choose))
        on_round(rounds[-1])
        return rounds[-1].active

    active = space.start
    while candidates := operations_of(active):
        question = _Question(f"round {len(rounds) + 1}", len(rounds), active, active, candidates)
        active = make(question, (yield ask(question.tasks(protocol.repeats))), operations)
    stage, before = len(rounds), active
    for cell in before:
        for node, group in enumerate(space.groups):
            candidates = edges_of(active, cell, group)
            if len(candidates) > KEPT_EDGES:
                origin = before if protocol.start_kernel else active
                question = _Question(f"{cell} node {node}", stage, origin, active, candidates)
                active = make(question, (yield ask(question.tasks(protocol.repeats))), edges)
    return rounds


def number_of_networks(space: PruningSpace, protocol: PruningProtocol) -> int:
    """Number of networks that a whole pruning measures."""
    stages = space.stages(protocol.prune_number or space.prune_number)
    before_edges = protocol.start_kernel and bool(space.groups)
    return protocol.repeats * (sum(candidates + 1 for candidates in stages) + before_edges)


def agreement(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> float:
    """Kendall's tau-a between the orders in which two runs removed the operations of an edge, over all edges.

    Pairs of operations of one edge count 1 where both runs removed the same one earlier, -1 where they differ, and 0
    where one of them removed both in the same round; what is left at the end comes last.

    Args:
        a: The rounds of a run as plain values, its ``metadata["rounds"]``.
        b: Those of another run.
    """
    first, second = ({tuple(r): n for n, step in enumerate(run) for r in step["removed"]} for run in (a, b))
    everything = {tuple(row[:3]) for step in (*a, *b) for row in step["measured"]}
    last = len(a) + len(b)
    score = pairs = 0
    for one, other in combinations(sorted(everything), 2):
        if one[:2] == other[:2]:
            difference = [found.get(one, last) - found.get(other, last) for found in (first, second)]
            score += int(np.sign(difference[0]) * np.sign(difference[1]))
            pairs += 1
    return score / pairs if pairs else math.nan


@dataclass(frozen=True)
class _Question:
    """The question of one round: the figures of all removals.

    Attributes:
        title: The round's name, for messages.
        stage: Number of the draws; all groups of edges share one.
        kernel_origin: The network to which changes of the condition number refer.
        active: The network from which is removed.
        candidates: The removals to look at.
    """

    title: str
    stage: int
    kernel_origin: Active
    active: Active
    candidates: Sequence[EdgeOperation]

    def tasks(self, repeats: int) -> list[NetworkTask]:
        """The unpruned network once per repeat, and every removal on the same draws."""
        return [task for repeat in range(repeats) for task in self._tasks(repeat)]

    def round(
        self, space: PruningSpace, repeats: int, found: Sequence[NetworkMeasurement], choose: Choose
    ) -> PruningRound:
        """The round that follows from the figures of the networks."""
        each = len(found) // repeats
        rows = [found[repeat * each : (repeat + 1) * each] for repeat in range(repeats)]
        measured = []
        unpruned = each - len(self.candidates)  # one network for both figures, or one for each
        for place, removal in enumerate(self.candidates, start=unpruned):
            measured.append(
                OperationMeasurement(
                    removal,
                    conditions=tuple((row[0].condition, row[place].condition) for row in rows),
                    regions=tuple((row[unpruned - 1].regions, row[place].regions) for row in rows),
                )
            )
        failures = tuple(dict.fromkeys(f.reason for f in found if f.reason))
        for what, pairs in (("kernel", measured[0].conditions), ("regions", measured[0].regions)):
            # Later on, what is left of the network may be to blame; the other figure then decides.
            if self.stage == 0 and all(math.isnan(before) for before, _ in pairs):
                raise PrejudgeError(
                    f"TE-NAS, {self.title}: the unpruned network has no {what} figure in any repeat "
                    f"({failures[0] if failures else 'not a number'}); give more different images, or a smaller batch"
                )
        removed = tuple(choose(measured))
        return PruningRound(
            title=self.title,
            measured=tuple(measured),
            removed=removed,
            active=without(self.active, removed),
            names={removal: space.operation(removal) for removal in self.candidates},
            seconds=sum(f.seconds for f in found),
            failures=failures,
        )

    def _tasks(self, repeat: int) -> list[NetworkTask]:
        """The unpruned network (or the two of them) first, then what each removal leaves."""
        unpruned = f"unpruned, {self.title}"
        if self.kernel_origin == self.active:
            origins = [NetworkTask(self.stage, repeat, unpruned, self.active)]
        else:
            origins = [
                NetworkTask(self.stage, repeat, "unpruned, before edges", self.kernel_origin, regions=False),
                NetworkTask(self.stage, repeat, unpruned, self.active, kernel=False),
            ]
        return origins + [
            NetworkTask(
                self.stage,
                repeat,
                f"{self.title} without {removal.cell} {removal.edge} {removal.operation}",
                without(self.active, [removal]),
            )
            for removal in self.candidates
        ]


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
