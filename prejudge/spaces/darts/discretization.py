"""From a value of every candidate operation of a DARTS cell to the genotype of the strongest ones.

The values may be softmax weights (DARTS) or bare architecture parameters (StacNAS): the larger wins, and of equals the
one that comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prejudge.spaces.darts.candidates import NODES, edge_index
from prejudge.spaces.darts.genotype import CELLS, Edge, Genotype

KEPT = 2
"""Edges that enter a node of a genotype."""


def strongest_edges(values: Mapping[str, np.ndarray], candidates: Mapping[str, Sequence[Sequence[str]]]) -> Genotype:
    """The genotype of DARTS: on each edge the strongest operation but ``none``, into each node the two strongest edges.

    The stronger edge of a node comes first, as in the original.

    Args:
        values: ``(14, widest)`` for each of the two cells.
        candidates: Operations of every edge.
    """
    concat = tuple(range(2, 2 + NODES))
    cells = {cell: strongest_in_cell(values[cell], candidates[cell]) for cell in CELLS}
    return Genotype(cells["normal"], concat, cells["reduce"], concat)


def strongest_in_cell(values: np.ndarray, candidates: Sequence[Sequence[str]]) -> tuple[Edge, ...]:
    """The edges of one cell of such a genotype, from its values ``(14, widest)``."""
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
