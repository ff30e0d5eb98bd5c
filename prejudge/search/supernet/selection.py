"""From the values of a supernet's operations to the architecture that they speak for.

The values may be weights (DARTS compares softmax weights) or bare architecture parameters (StacNAS): whatever is
larger wins, and of equals the one that comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from prejudge.errors import InputError
from prejudge.spaces.base import Architecture
from prejudge.spaces.darts.candidates import edge_index
from prejudge.spaces.darts.genotype import CELLS, Edge, Genotype
from prejudge.spaces.darts.space import NODES
from prejudge.spaces.nasbench201.cell import CELL, OPERATIONS, Cell201

if TYPE_CHECKING:
    from prejudge.search.supernet.arch_parameters import ArchParameters

Values = Mapping[str, np.ndarray]
"""By the kind of cell, a value of every candidate of every edge, ``(edges, widest)``."""

Candidates = Mapping[str, Sequence[Sequence[str]]]

KEPT = 2
"""Edges that enter a node of a derived DARTS cell."""


def largest_weights(weighting: ArchParameters) -> Architecture:
    """The architecture of a weighting's largest weights."""
    weights = {kind: matrix.detach().double().cpu().numpy() for kind, matrix in weighting.weights().items()}
    return strongest(weights, weighting.candidates)


def strongest(values: Values, candidates: Candidates) -> Architecture:
    """The architecture of the strongest operations, in the manner of the space that the candidates belong to.

    Raises:
        InputError: The candidates are neither those of NAS-Bench-201 nor of a DARTS space.
    """
    if set(candidates) == {CELL}:
        return strongest_operations(values[CELL], candidates[CELL])
    if set(candidates) == set(CELLS):
        return strongest_edges(values, candidates)
    raise InputError(f"no architecture can be derived from cells of the kinds {', '.join(candidates)}")


def strongest_operations(values: np.ndarray, candidates: Sequence[Sequence[str]]) -> Cell201:
    """The NAS-Bench-201 cell with the strongest operation on every edge, ``none`` included.

    Args:
        values: ``(6, widest)``.
        candidates: Operations of every edge.
    """
    chosen = (
        OPERATIONS.index(names[int(np.argmax(row[: len(names)]))])
        for row, names in zip(values, candidates, strict=True)
    )
    return Cell201(tuple(chosen))


def strongest_edges(values: Values, candidates: Candidates) -> Genotype:
    """The genotype of DARTS: on each edge the strongest operation but ``none``, into each node the two strongest edges.

    The stronger edge of a node comes first, as in the original.

    Args:
        values: ``(14, widest)`` for each of the two cells.
        candidates: Operations of every edge.
    """
    concat = tuple(range(2, 2 + NODES))
    cells = {cell: _cell(values[cell], candidates[cell]) for cell in CELLS}
    return Genotype(cells["normal"], concat, cells["reduce"], concat)


def _cell(values: np.ndarray, candidates: Sequence[Sequence[str]]) -> tuple[Edge, ...]:
    found: list[Edge] = []
    for node in range(NODES):
        edges: list[tuple[float, Edge]] = []
        for source in range(node + 2):
            number = edge_index(node, source)
            names = candidates[number]
            allowed = [position for position, name in enumerate(names) if name != "none"]
            best = max(allowed, key=lambda position: values[number][position])
            edges.append((float(values[number][best]), (names[best], source)))
        edges.sort(key=lambda edge: -edge[0])  # stable: of equals the lower source stays first
        found += [edge for _, edge in edges[:KEPT]]
    return tuple(found)
