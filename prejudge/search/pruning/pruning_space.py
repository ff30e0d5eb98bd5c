"""The spaces that TE-NAS prunes: operations, the two small networks that are measured, and the final architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prejudge.errors import InputError
from prejudge.search.pruning.ranking import EdgeOperation, by_edge
from prejudge.spaces.base import Architecture, Space
from prejudge.spaces.darts.candidates import EDGES, NODES, TENAS8
from prejudge.spaces.darts.genotype import CELLS, Genotype
from prejudge.spaces.darts.space import DARTS
from prejudge.spaces.nasbench201.cell import EDGES as EDGES201
from prejudge.spaces.nasbench201.cell import OPERATIONS, Cell201
from prejudge.spaces.nasbench201.space import NASBench201

Active = dict[str, tuple[tuple[int, ...], ...]]
"""By the kind of cell and edge, the positions of the operations that are still there, ascending."""

KEPT_EDGES = 2
"""Edges that enter a node of a genotype."""


@dataclass(frozen=True)
class PruningSpace:
    """A space with the numbers by which TE-NAS prunes it.

    Attributes:
        candidates: Names of the operations of every edge, by the kind of cell; a position counts in here.
        start: The operations that the search starts with: all but ``none``.
        kernel: Macro-architecture of the supernet whose kernel is computed.
        thin: Macro-architecture of the supernet whose linear regions are counted; its images have one channel.
        derive: The architecture of what is left.
        groups: The edges into each node of which :data:`KEPT_EDGES` stay; empty where all edges stay.
        prune_number: Operations that a round removes from an edge.
        batch_size: Images of the kernel.
    """

    candidates: Mapping[str, tuple[tuple[str, ...], ...]]
    start: Active
    kernel: dict[str, Any]
    thin: dict[str, Any]
    derive: Callable[[Active], Architecture]
    groups: tuple[tuple[int, ...], ...] = ()
    prune_number: int = 1
    batch_size: int = 72
    supernet_options: dict[str, Any] = field(default_factory=dict)

    def operation(self, removal: EdgeOperation) -> str:
        """The name of what a removal removes."""
        return self.candidates[removal.cell][removal.edge][removal.operation]

    def stages(self, prune_number: int) -> list[int]:
        """Number of removals that each stage will try, the rounds first and then the groups of edges."""
        left = [len(edge) for edges in self.start.values() for edge in edges]
        found = []
        while any(n > 1 for n in left):
            found.append(sum(n for n in left if n > 1))
            left = [n - min(prune_number, n - 1) for n in left]
        return found + [len(group) for _ in self.start for group in self.groups if len(group) > KEPT_EDGES]


def pruning_space(space: Space[Any]) -> PruningSpace:
    """The layout of a space, with the numbers of chenwydj/TENAS 9df78ff.

    Raises:
        InputError: TE-NAS cannot prune the space.
    """
    if isinstance(space, NASBench201):
        return _nasbench201()
    if isinstance(space, DARTS):
        return _darts(space)
    raise InputError(f"TE-NAS prunes the supernets of nasbench201 and of the darts spaces; {space.name} has none")


def without(active: Active, removals: Iterable[EdgeOperation]) -> Active:
    """The operations that are left after some removals; an edge may lose its last one."""
    gone = by_edge(removals)
    return {
        cell: tuple(
            tuple(op for op in edge if op not in gone.get((cell, number), ())) for number, edge in enumerate(edges)
        )
        for cell, edges in active.items()
    }


def operations_of(active: Active) -> list[EdgeOperation]:
    """Every operation that shares its edge with another, in the order of cells, edges and positions."""
    return [
        EdgeOperation(cell, number, op)
        for cell, edges in active.items()
        for number, edge in enumerate(edges)
        if len(edge) > 1
        for op in edge
    ]


def edges_of(active: Active, cell: str, group: Iterable[int]) -> list[EdgeOperation]:
    """The removal of each edge of a group, whose last operations these are."""
    return [EdgeOperation(cell, number, op) for number in group for op in active[cell][number]]


def _positions(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(position for position, name in enumerate(names) if name != "none")


def _nasbench201() -> PruningSpace:
    thin = {"channels": 1, "in_channels": 1, "cells": 1, "stages": 1, "stem": False}
    return PruningSpace(
        candidates={"cell": (OPERATIONS,) * len(EDGES201)},
        start={"cell": (_positions(OPERATIONS),) * len(EDGES201)},
        kernel={"channels": 3, "cells": 1, "affine": True},
        thin={**thin, "affine": True},
        derive=lambda active: Cell201(tuple(edge[0] for edge in active["cell"])),
    )


def _darts(space: DARTS) -> PruningSpace:
    restricted = space.members_only  # darts-s1 to s4: operations differ from edge to edge
    candidates = space.candidates if restricted else dict.fromkeys(CELLS, (TENAS8,) * len(EDGES))
    numbers = {"channels": 1, "cells": 2, "reductions": (1,), "affine": True, "pool_norm": False}
    numbers |= {"last_activation": True}
    return PruningSpace(
        candidates=candidates,
        start={cell: tuple(_positions(names) for names in candidates[cell]) for cell in CELLS},
        kernel={**numbers, "stem_multiplier": 1},
        thin={**numbers, "stem_multiplier": 0, "in_channels": 1},
        derive=lambda active: _genotype(candidates, active),
        groups=tuple(tuple(i for i, (n, _) in enumerate(EDGES) if n == node) for node in range(NODES)),
        prune_number=3,
        batch_size=14,
        supernet_options={"candidates": candidates},
    )


def _genotype(candidates: Mapping[str, tuple[tuple[str, ...], ...]], active: Active) -> Genotype:
    concat = tuple(range(2, 2 + NODES))
    cells = {
        cell: tuple((candidates[cell][e][ops[0]], EDGES[e][1]) for e, ops in enumerate(active[cell]) if ops)
        for cell in CELLS
    }
    return Genotype(cells["normal"], concat, cells["reduce"], concat)
