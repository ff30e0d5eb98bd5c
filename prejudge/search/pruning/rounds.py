"""The rounds of TE-NAS: measure every removal, make the best of each edge, until one operation an edge is left.

In the DARTS spaces a last stage then removes whole edges, node after node, until two enter each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prejudge.errors import PrejudgeError
from prejudge.search.pruning.protocol import PruningProtocol
from prejudge.search.pruning.pruning_space import KEPT_EDGES, Active, PruningSpace, edges_of, operations_of, without
from prejudge.search.pruning.ranking import EdgeOperation, OperationMeasurement, choose_edges, choose_operations
from prejudge.search.pruning.result import PruningRound
from prejudge.search.pruning.tasks import NetworkMeasurement, NetworkTask

Measure = Callable[[Sequence[NetworkTask]], Sequence[NetworkMeasurement]]
"""Measures some tasks of one stage; the answers are in their order."""


def prune_rounds(
    pruning_space: PruningSpace, protocol: PruningProtocol, measure: Measure
) -> Iterator[tuple[PruningRound, Active]]:
    """Run the search; every step comes with what it leaves of the supernet.

    Args:
        pruning_space: What is pruned.
        protocol: The settings.
        measure: Finds the figures.

    Raises:
        PrejudgeError: The whole supernet has no figure, so that nothing can be compared.
    """
    number = protocol.prune_number or pruning_space.prune_number
    active = dict(pruning_space.start)
    stage = 0
    while candidates := operations_of(active):
        question = _Question(f"round {stage + 1}", stage, active, active, candidates)
        answer = _ask(question, protocol.repeats, measure)
        removed = choose_operations(answer.measured, number, protocol.rounding)
        active = without(active, removed)
        yield _step(pruning_space, question, answer, removed), active
        stage += 1
    before = active
    for cell in before:
        for node, group in enumerate(pruning_space.groups):
            candidates = edges_of(active, cell, group)
            if len(candidates) > KEPT_EDGES:
                origin = before if protocol.start_kernel else active
                question = _Question(f"{cell} node {node}", stage, origin, active, candidates)
                answer = _ask(question, protocol.repeats, measure)
                removed = choose_edges(answer.measured, KEPT_EDGES, protocol.rounding)
                active = without(active, removed)
                yield _step(pruning_space, question, answer, removed), active


@dataclass(frozen=True)
class _Question:
    """The question of one round.

    Attributes:
        title: What messages call the step.
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

    def tasks(self, repeat: int) -> list[NetworkTask]:
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


@dataclass(frozen=True)
class _Answer:
    """The answer to it: the figures of every removal, their cost, and why some are missing."""

    measured: list[OperationMeasurement]
    seconds: float
    failures: tuple[str, ...]


def _ask(question: _Question, repeats: int, measure: Measure) -> _Answer:
    """Measure the unpruned network once per repeat, and every removal on the same draws."""
    tasks = [question.tasks(repeat) for repeat in range(repeats)]
    flat = iter(found := list(measure([task for repeat in tasks for task in repeat])))
    rows = [[next(flat) for _ in repeat] for repeat in tasks]
    measured = []
    unpruned = len(tasks[0]) - len(question.candidates)  # one network for both figures, or one for each
    for place, removal in enumerate(question.candidates, start=unpruned):
        measured.append(
            OperationMeasurement(
                removal,
                conditions=tuple((row[0].condition, row[place].condition) for row in rows),
                regions=tuple((row[unpruned - 1].regions, row[place].regions) for row in rows),
            )
        )
    answer = _Answer(measured, sum(f.seconds for f in found), tuple(dict.fromkeys(f.reason for f in found if f.reason)))
    for what, pairs in (("kernel", measured[0].conditions), ("regions", measured[0].regions)):
        # Later on, what is left of the network may be to blame; the other figure then decides, and the step says so.
        if question.stage == 0 and all(math.isnan(before) for before, _ in pairs):
            raise PrejudgeError(
                f"TE-NAS, {question.title}: the unpruned network has no {what} figure in any repeat "
                f"({answer.failures[0] if answer.failures else 'not a number'}); give more different images, or a "
                "smaller batch"
            )
    return answer


def _step(
    pruning_space: PruningSpace, question: _Question, answer: _Answer, removed: Sequence[EdgeOperation]
) -> PruningRound:
    names = {removal: pruning_space.operation(removal) for removal in question.candidates}
    return PruningRound(question.title, tuple(answer.measured), tuple(removed), names, answer.seconds, answer.failures)
