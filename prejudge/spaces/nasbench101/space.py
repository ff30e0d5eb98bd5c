"""NAS-Bench-101: 423,624 cells of at most seven vertices and nine edges (Ying et al., ICML 2019, arXiv:1902.09635).

A cell is a directed acyclic graph from its input to its output whose interior vertices carry an operation. What does
not lie on a path from input to output is pruned away; two cells that differ by the numbering of their vertices are the
same, which the official hash tells. The index order is the ascending order of the hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from prejudge.errors import InputError, quoted
from prejudge.formats.text import whole_number
from prejudge.spaces.base import EnumerableSpace, register_space
from prejudge.spaces.cell_graph import CellGraph
from prejudge.spaces.nasbench101.cell import (
    CONV1,
    CONV3,
    MAX_VERTICES,
    NOTATIONS,
    OPERATIONS,
    Cell101,
    Matrix,
    cell_of,
    kept_vertices,
    read_cell,
    record_text,
)
from prejudge.spaces.nasbench101.enumeration import SIZE, Enumeration, load_enumeration
from prejudge.spaces.nasbench101.hash import INPUT, OUTPUT, hash_graph, hash_graphs
from prejudge.spaces.nasbench101.macro import FORMS, MacroConfig101, vertex_channels

if TYPE_CHECKING:
    import torch

__all__ = ["FORMS", "OPERATIONS", "Cell101", "MacroConfig101", "NASBench101", "record_text", "vertex_channels"]

_KERNEL = {CONV3: 3, CONV1: 1}
_PLACES = tuple(combinations(range(MAX_VERTICES), 2))
_HASH = re.compile(r"[0-9a-fA-F]{32}")


@lru_cache(maxsize=65536)
def _hash_of(cell: Cell101) -> str:
    return hash_graph(cell.matrix, (INPUT, *cell.operations, OUTPUT))


def _in_order(rows: list[list[int]], interior: list[int]) -> tuple[list[list[int]], list[int]] | None:
    """Number the vertices so that edges lead upwards, the last vertex remaining last; None if there is a cycle."""
    remaining, order = list(range(len(rows))), []
    while remaining:
        free = next((v for v in remaining if not any(rows[u][v] for u in remaining)), None)
        if free is None:
            return None
        remaining.remove(free)
        order.append(free)
    return [[rows[x][y] for y in order] for x in order], [interior[v - 1] for v in order[1:-1]]


def _edits(cell: Cell101) -> Iterator[tuple[list[list[int]], list[int]]]:
    """Matrix and operations of everything one edit away, not yet pruned (see :meth:`NASBench101.neighbors`)."""
    rows, last = [list(row) for row in cell.matrix], len(cell.matrix) - 1
    for v, op in enumerate(cell.operations):
        for other in range(len(OPERATIONS)):
            if other != op:
                yield rows, [*cell.operations[:v], other, *cell.operations[v + 1 :]]
    ends = [(s, t) for s in range(last) for t in range(1, last + 1) if s != t]
    for s, t in ends:
        flipped = [list(row) for row in rows]
        flipped[s][t] = 1 - flipped[s][t]
        if (ordered := _in_order(flipped, list(cell.operations))) is not None:
            yield ordered
    for s, t in ends if len(rows) < MAX_VERTICES else ():
        larger = [[*row[:-1], int(x == s), row[-1]] for x, row in enumerate(rows)]
        larger.insert(last, [int(y == t) for y in range(last)] + [0, int(t == last)])
        for op in range(len(OPERATIONS)):
            if (ordered := _in_order(larger, [*cell.operations, op])) is not None:
                yield ordered


class NASBench101(EnumerableSpace[Cell101]):
    """The space of all 423,624 cells, in ascending order of their hash.

    Only what needs the whole space computes it, once for each user's cache folder: indices, hashes to be read, and
    :meth:`representative`.
    """

    name = "nasbench101"
    macro_type: ClassVar[type] = MacroConfig101
    notations: ClassVar[tuple[str, ...]] = NOTATIONS
    initialization: ClassVar[str] = "as the form's original draws them"
    slow_index: ClassVar[bool] = True
    operations = OPERATIONS

    def parse(self, text: Any, *, notation: str | None = None) -> Cell101:
        """Read a cell.

        Args:
            text: The hash, the index, a :class:`Cell101`, or any notation that
                :func:`~prejudge.spaces.nasbench101.cell.read_cell` reads: the canonical text, a mapping, a pair of
                matrix and operations, a ``ModelSpec``, the strings of a record.
            notation: ``"naslib"`` or ``"flan"``, which a list of 56 integers needs: see
                :func:`~prejudge.spaces.nasbench101.cell.from_integers`.

        Raises:
            InputError: It is none of these, or not a cell of the space.
        """
        self.check_notation(notation)
        if isinstance(text, Cell101):
            return text
        if isinstance(text, str):
            text = text.strip()
            if _HASH.fullmatch(text):
                return self[self._position(text.lower())]
            if (index := whole_number(text)) is not None:
                return self[index]
        if isinstance(text, int | np.integer) and not isinstance(text, bool):
            return self[int(text)]
        return read_cell(text, notation)

    def sample(self, rng: np.random.Generator) -> Cell101:
        """A cell as the official example draws it: random edges and operations of seven vertices until they are valid.

        Cells are not equally likely; for those, take random indices.
        """
        while True:
            cell = cell_of(np.triu(rng.integers(2, size=(7, 7)), 1).tolist(), rng.integers(3, size=5).tolist())
            if cell is not None:
                return cell

    def mutate(self, arch: Cell101, rng: np.random.Generator) -> Cell101:
        """The official example's mutation, until the cell is valid and its hash another one.

        Of seven vertices, each of the 21 edges is flipped with probability 1/7 and each of the five operations changed
        with probability 1/5. The example carries along what was pruned away; here a cell of fewer vertices is filled
        up with unconnected ones of random operations at random places, so that it can grow again.
        """
        interior = MAX_VERTICES - 2
        while True:
            places = np.sort(rng.choice(interior, len(arch.operations), replace=False))
            kept = np.concatenate([[0], places + 1, [MAX_VERTICES - 1]]).astype(int)
            rows, operations = np.zeros((MAX_VERTICES, MAX_VERTICES), int), rng.integers(3, size=interior)
            rows[np.ix_(kept, kept)], operations[places] = arch.matrix, arch.operations
            rows ^= np.triu(rng.random(rows.shape) < 1 / MAX_VERTICES, 1)
            operations += (rng.random(interior) < 1 / interior) * rng.integers(1, 3, size=interior)
            cell = cell_of(rows.tolist(), (operations % 3).tolist())
            if cell is not None and self.canonical(cell) != self.canonical(arch):
                return cell

    def neighbors(self, arch: Cell101) -> list[Cell101]:
        """All cells one edit away, one for each hash, without ``arch`` itself.

        An edit changes an operation, removes an edge (and what is then pruned), adds an edge in any direction that
        leaves the graph acyclic, or adds a vertex with one edge in and one out. Without the last a cell could only ever
        lose vertices; it is one edge flip on a matrix whose second edge was dangling, thus pruned away. The result
        depends on the hash of ``arch`` only, up to the numbering of vertices.
        """
        found: dict[str, Cell101] = {}
        for rows, interior in _edits(arch):
            cell = cell_of(rows, interior)
            if cell is not None:
                found.setdefault(self.canonical(cell), cell)
        found.pop(self.canonical(arch), None)
        return list(found.values())

    def canonical(self, arch: Cell101) -> str:
        """The official hash, 32 hexadecimal digits."""
        return _hash_of(arch)

    def canonical_many(self, archs: Iterable[Cell101]) -> list[str]:
        """:meth:`canonical` of each; hashes many cells together, about 30 microseconds each."""
        cells = list(archs)
        digests = np.empty((len(cells), 16), np.uint8)
        sizes = np.array([len(cell.matrix) for cell in cells])
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            labels = [(INPUT, *cells[row].operations, OUTPUT) for row in rows]
            digests[rows] = hash_graphs(np.array([cells[row].matrix for row in rows]), np.array(labels))
        text = digests.tobytes().hex()
        return [text[32 * row : 32 * row + 32] for row in range(len(cells))]

    def representative(self, arch: Cell101) -> Cell101:
        """The cell with the same hash whose vertices are numbered as the official generator numbers them."""
        return self[self.index(arch)]

    def connected(self, arch: Cell101) -> bool:
        """Always true: a cell whose input does not reach its output is not in the space."""
        return _connected(arch.matrix)

    def network(self, arch: Cell101, **macro: Any) -> torch.nn.Module:
        from prejudge.spaces.nasbench101.network import Network101

        return Network101(self.parse(arch), self.macro(**macro))

    def graphs(self, arch: Cell101) -> dict[str, CellGraph]:
        """The cell: operations at the vertices, edges without label."""
        labels = ("input", *(OPERATIONS[op] for op in arch.operations), "output")
        edges = [(s, t, "") for s, row in enumerate(arch.matrix) for t, entry in enumerate(row) if entry]
        return {"cell": CellGraph(labels, tuple(edges))}

    def params(self, arch: Cell101, **macro: Any) -> int:
        """Exact number of parameters of :meth:`network`, by formula; the benchmark's ``trainable_parameters``.

        It belongs to the numbering of the vertices: which of them takes the remainder of a division depends on it.
        """
        fixed, added = _costs(arch.matrix, self.macro(**macro), None)
        return fixed + sum([costs[op] for costs, op in zip(added, arch.operations, strict=True)])

    def flops(self, arch: Cell101, image_size: int = 32, **macro: Any) -> int:
        fixed, added = _costs(arch.matrix, self.macro(**macro), image_size)
        return fixed + sum([costs[op] for costs, op in zip(added, arch.operations, strict=True)])

    @property
    def choices(self) -> tuple[int, ...]:
        """Whether there is each of the 21 edges of seven vertices, row by row; the operations of the five interior."""
        return (2,) * len(_PLACES) + (len(OPERATIONS),) * (MAX_VERTICES - 2)

    def encode(self, arch: Cell101) -> tuple[int, ...]:
        """The decisions that make this very cell: vertices that it does not have are the last ones before the output.

        They have no edges, and operation 0. Other decisions, which leave out other vertices, make the same cell.
        """
        vertices = (*range(len(arch.matrix) - 1), MAX_VERTICES - 1)
        edges = {(vertices[s], vertices[t]) for s, row in enumerate(arch.matrix) for t, bit in enumerate(row) if bit}
        absent = MAX_VERTICES - len(arch.matrix)
        return (*(int(place in edges) for place in _PLACES), *arch.operations, *(0,) * absent)

    def decode(self, decisions: Sequence[int]) -> Cell101 | None:
        """The pruned cell; None where the output is not reached, or more than nine edges remain."""
        rows = [[0] * MAX_VERTICES for _ in range(MAX_VERTICES)]
        for (source, target), bit in zip(_PLACES, decisions, strict=False):
            rows[source][target] = bit
        return cell_of(rows, [int(op) for op in decisions[len(_PLACES) :]])

    def __len__(self) -> int:
        return SIZE

    def __iter__(self) -> Iterator[Cell101]:
        return map(self._all.cell, range(SIZE))

    def __getitem__(self, index: int) -> Cell101:
        if not 0 <= index < SIZE:
            raise InputError(f"nasbench101: index {quoted(index)} is outside 0..{SIZE - 1}")
        return self._all.cell(index)

    def index(self, arch: Cell101) -> int:
        """Position of the hash of ``arch`` among all hashes, ascending."""
        return self._position(self.canonical(arch))

    def unique(self) -> list[Cell101]:
        """All cells: no two have the same hash."""
        return list(self)

    @cached_property
    def _all(self) -> Enumeration:
        return load_enumeration()

    def _position(self, digest: str) -> int:
        index = self._all.find(digest)
        if index is None:
            raise InputError(f"nasbench101: no cell has the hash {digest}")
        return index


@lru_cache(maxsize=8192)
def _connected(matrix: Matrix) -> bool:
    return bool(kept_vertices(matrix))


@lru_cache(maxsize=8192)
def _costs(matrix: Matrix, s: MacroConfig101, image_size: int | None) -> tuple[int, list[list[int]]]:
    """The cost shared by every cell of a matrix, and what each operation of each interior vertex adds to it.

    Args:
        matrix: The matrix; the space has 2,494 of them for 423,624 cells.
        s: The macro-architecture.
        image_size: Count multiply-adds of an image of this side; None counts parameters.
    """
    last, side, c_in = len(matrix) - 1, image_size, s.channels

    def convolution(kernel: int, source: int, target: int) -> int:
        weights = kernel * kernel * source * target
        return weights + 2 * target if side is None else weights * side * side

    fixed, added = convolution(3, s.in_channels, s.channels), [[0] * len(OPERATIONS) for _ in range(last - 1)]
    for stack in range(s.stacks):
        c = s.channels * 2**stack
        side = (side + 1) // 2 if stack and side is not None else side
        for cell_in, times in ((c_in, 1), (c, s.cells - 1)):
            channels = vertex_channels(matrix, cell_in, c)
            # Each edge from the input is a projection; every other convolution belongs to a vertex.
            fixed += times * sum(convolution(1, cell_in, channels[v]) for v in range(1, last + 1) if matrix[0][v])
            for v, costs in enumerate(added, start=1):
                for op, kernel in _KERNEL.items():
                    costs[op] += times * convolution(kernel, channels[v], channels[v])
        c_in = c
    return fixed + (c_in + 1) * s.num_classes, added


register_space("nasbench101")(NASBench101)
