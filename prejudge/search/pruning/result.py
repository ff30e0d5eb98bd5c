"""The rounds of a pruning search as plain values, and the agreement of two runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from prejudge.search.pruning.protocol import PruningProtocol
from prejudge.search.pruning.ranking import EdgeOperation, OperationMeasurement, mean_change
from prejudge.search.result import SearchResult, Trajectory
from prejudge.spaces.base import Architecture


@dataclass(frozen=True)
class PruningRound:
    """One round: what was measured, and what was removed.

    Attributes:
        title: ``"round 1"``, or ``"normal node 1"`` where edges are removed.
        measured: Every removal that was looked at.
        removed: Those that were made, most important first.
        names: Name of the operation of each removal that was looked at.
        seconds: Computing time of its figures, summed over workers.
        failures: Why figures are missing, each reason once.
    """

    title: str
    measured: tuple[OperationMeasurement, ...]
    removed: tuple[EdgeOperation, ...]
    names: dict[EdgeOperation, str]
    seconds: float
    failures: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The step as plain values: per removal its place, its name and the two mean relative changes."""
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


@dataclass(frozen=True, eq=False)
class PruningResult:
    """One run of TE-NAS's pruning.

    Attributes:
        space: Name of the search space.
        architecture: What is left of the supernet.
        seed: Seed of the run.
        convention: Name of the protocol, or ``"own"``.
        protocol: The settings.
        data: Name, digest, size and normalization of the images, as plain values.
        steps: The rounds, then the groups of edges.
        seconds: Wall-clock time, that of earlier, interrupted calls included as far as it was saved.
        facts: Outputs of the networks, device and workers of this call, as plain values.
    """

    space: str
    architecture: Architecture
    seed: int
    convention: str
    protocol: PruningProtocol
    data: dict[str, Any]
    steps: tuple[PruningRound, ...]
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def compute_seconds(self) -> float:
        """Computing time of all figures, summed over workers."""
        return sum(step.seconds for step in self.steps)

    @property
    def failed(self) -> int:
        """Figures that could not be had; none of them made a removal more or less likely."""
        return sum(m.failed for step in self.steps for m in step.measured)

    def removed_in(self) -> dict[EdgeOperation, int]:
        """For each operation that was removed, the number of the step, from 0."""
        return {removal: number for number, step in enumerate(self.steps) for removal in step.removed}

    def trajectory(self, value: float = math.nan) -> Trajectory:
        """The run as searches keep it: one evaluation, that of the answer, which costs what the search cost.

        Args:
            value: What a table says about the answer, where there is one.
        """
        return Trajectory(
            seed=self.seed,
            recommendation=str(self.architecture),
            architectures=[str(self.architecture)],
            epochs=np.zeros(1, dtype=np.int32),
            values=np.array([value]),
            seconds=np.array([self.seconds]),
            overhead=0.0,
            metadata={
                "steps": [step.plain() for step in self.steps],
                "compute_seconds": round(self.compute_seconds, 3),
                "failed_figures": self.failed,
                **self.facts,
            },
        )


def search_result(results: Sequence[PruningResult], values: Sequence[float] | None = None) -> SearchResult:
    """Runs of one protocol as one search result, to be written with the others' writer.

    Args:
        results: At least one run; all of the same space, data and protocol.
        values: What a table says about each answer.
    """
    from prejudge._version import __version__

    first = results[0]
    known = [math.nan] * len(results) if values is None else list(values)
    return SearchResult(
        method="tenas",
        options={"convention": first.convention, **first.protocol.plain()},
        space=first.space,
        objective={"kind": "pruning", "data": first.data},
        budget={},
        trajectories=[run.trajectory(value) for run, value in zip(results, known, strict=True)],
        provenance={"prejudge": __version__},
    )


def agreement(a: PruningResult, b: PruningResult) -> float:
    """Kendall's tau-a between the orders in which two runs removed the operations of an edge, over all edges.

    Pairs of operations of one edge count 1 where both runs removed the same one earlier, -1 where they differ, and 0
    where one of them removed both in the same step; what is left at the end comes last.
    """
    first, second = a.removed_in(), b.removed_in()
    everything = {m.removal for step in (*a.steps, *b.steps) for m in step.measured}
    last = len(a.steps) + len(b.steps)
    score = pairs = 0
    for one, other in combinations(sorted(everything), 2):
        if one[:2] == other[:2]:
            difference = [found.get(one, last) - found.get(other, last) for found in (first, second)]
            score += int(np.sign(difference[0]) * np.sign(difference[1]))
            pairs += 1
    return score / pairs if pairs else math.nan


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
