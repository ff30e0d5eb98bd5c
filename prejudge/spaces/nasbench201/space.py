"""NAS-Bench-201: 15,625 cells of four nodes and six edges (Dong & Yang, ICLR 2020, arXiv:2001.00326).

Node 0 is the cell's input, node 3 its output; a node is the sum of one operation on each earlier node. The index order
is the official one: lexicographic enumeration, then Python's ``random.shuffle`` with seed 88.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from prejudge.errors import InputError, quoted
from prejudge.formats.text import whole_number
from prejudge.spaces.base import EnumerableSpace, register_space
from prejudge.spaces.cell_graph import CellGraph
from prejudge.spaces.nasbench201.cell import (
    CELL,
    CONV1,
    CONV3,
    EDGES,
    NONE,
    OPERATIONS,
    SKIP,
    Cell201,
    MacroConfig201,
)
from prejudge.spaces.nasbench201.notations import NOTATIONS, read_cell

if TYPE_CHECKING:
    import torch

    from prejudge.spaces.nn.supernet import Supernet

__all__ = ["OPERATIONS", "Cell201", "MacroConfig201", "NASBench201"]

_KERNEL = {CONV1: 1, CONV3: 3}


def _unique_text(edges: Sequence[int]) -> str:
    """The official zero-aware string: edges through nothing are ``#``, skip connections vanish, sums are sorted."""
    nodes = ["0"]
    terms: list[str] = []
    for (target, source), op in zip(EDGES, edges, strict=True):
        if op == NONE or nodes[source] == "#":
            terms.append("#")
        elif op == SKIP:
            terms.append(nodes[source])
        else:
            terms.append(f"({nodes[source]})@{OPERATIONS[op]}")
        if len(terms) == target:
            nodes.append("+".join(sorted(terms)))
            terms = []
    return nodes[3]


class NASBench201(EnumerableSpace[Cell201]):
    """The space of all 15,625 cells, in the official index order."""

    name = "nasbench201"
    macro_type: ClassVar[type] = MacroConfig201
    notations: ClassVar[tuple[str, ...]] = tuple(NOTATIONS)
    operations = OPERATIONS

    def parse(self, text: Any, *, notation: str | None = None) -> Cell201:
        """Read a cell.

        Args:
            text: A :class:`Cell201`, an official index, or any notation of
                :mod:`prejudge.spaces.nasbench201.notations`: the official string, six names, what AutoDL-Projects,
                NNI, BOHB and syne-tune write; with a notation also six integers, as a sequence or as a text such as
                ``"(4, 3, 3, 0, 0, 0)"``.
            notation: ``"official"``, ``"naslib"`` or ``"naszilla"``, which six integers need: see
                :data:`~prejudge.spaces.nasbench201.notations.NOTATIONS`.

        Raises:
            InputError: It is none of these, or six integers have no notation.
        """
        self.check_notation(notation)
        if isinstance(text, Cell201):
            return text
        index = whole_number(text) if isinstance(text, str) else text
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            if isinstance(text, str) and len(text.strip()) == len(EDGES) and not set(text.strip()) - set("01234"):
                return read_cell(text, notation)  # six operations, or an index with zeros in front: it asks which
            if notation is not None:
                raise InputError(f"nasbench201: {quoted(text)} is an index; notation={notation!r} is for six integers")
            return self[int(index)]
        return read_cell(text, notation)

    def sample(self, rng: np.random.Generator) -> Cell201:
        """A uniform operation on each edge."""
        return Cell201(tuple(rng.integers(len(OPERATIONS), size=len(EDGES)).tolist()))

    def mutate(self, arch: Cell201, rng: np.random.Generator) -> Cell201:
        """The benchmark's mutation: a uniform node, a uniform edge into it, a uniform other operation."""
        node = int(rng.integers(1, 4))
        edge = node * (node - 1) // 2 + int(rng.integers(node))
        op = (arch.edges[edge] + int(rng.integers(1, len(OPERATIONS)))) % len(OPERATIONS)
        return Cell201((*arch.edges[:edge], op, *arch.edges[edge + 1 :]))

    def neighbors(self, arch: Cell201) -> list[Cell201]:
        """The 24 cells that differ in one edge."""
        return [
            Cell201((*arch.edges[:e], op, *arch.edges[e + 1 :]))
            for e in range(len(EDGES))
            for op in range(len(OPERATIONS))
            if op != arch.edges[e]
        ]

    def canonical(self, arch: Cell201) -> str:
        """The official ``to_unique_str(consider_zero=True)``: 6,466 distinct texts.

        Its quirk is kept: a node fed by two ``none`` edges reads ``#+#`` and is not taken for zero further down.
        """
        return _unique_text(arch.edges)

    def representative(self, arch: Cell201) -> Cell201:
        """The first cell, in index order, with the same :meth:`canonical` text."""
        return self._cells[int(self.class_of[self.index(arch)])]

    def connected(self, arch: Cell201) -> bool:
        """Whether a path of edges other than ``none`` joins input and output (15,284 cells)."""
        reached = [True, False, False, False]
        for (target, source), op in zip(EDGES, arch.edges, strict=True):
            reached[target] |= op != NONE and reached[source]
        return reached[3]

    def network(self, arch: Cell201, **macro: Any) -> torch.nn.Module:
        from prejudge.spaces.nasbench201.network import Network201

        return Network201(self.parse(arch), self.macro(**macro))

    def supernet(self, *, candidates: Sequence[str] | None = None, affine: bool = False, **macro: Any) -> Supernet:
        """The weight-sharing network: all candidates on each of the six edges of the cell.

        Args:
            candidates: Operations of every edge, in the order of their positions; by default all five.
            affine: Whether the batch norms inside the cells have parameters.
            macro: Fields of :class:`MacroConfig201`.

        Returns:
            A module from images ``(N, in_channels, H, W)`` and a mixture to logits ``(N, num_classes)``; its only kind
            of cell is called ``"cell"``.

        Raises:
            InputError: A field of the macro-architecture or a candidate is unknown or out of range.
        """
        from prejudge.spaces.nasbench201.supernet import Supernet201

        chosen = None if candidates is None else {CELL: (tuple(candidates),) * len(EDGES)}
        return Supernet201(self.macro(**macro), chosen, affine=affine)

    def graphs(self, arch: Cell201) -> dict[str, CellGraph]:
        """The cell: sums at the vertices, operations on the edges; ``none`` edges are left out."""
        edges = zip(EDGES, arch.edges, strict=True)
        return {
            "cell": CellGraph(
                ("input", "1", "2", "output"), tuple((s, t, OPERATIONS[op]) for (t, s), op in edges if op != NONE)
            )
        }

    def params(self, arch: Cell201, **macro: Any) -> int:
        s = self.macro(**macro)
        per_channel = 2 if s.form == "official" else 1  # gamma and beta, or the convolution's bias
        total = (9 * s.in_channels + 2) * s.channels if s.stem else 0
        c = s.channels
        for stage in range(s.stages):
            if stage:
                total += (9 * c * 2 * c) + (9 * 4 * c * c) + 2 * (2 * 2 * c) + c * 2 * c
                c *= 2
            kernels = [_KERNEL[e] for e in arch.edges if e in _KERNEL]
            total += s.cells * sum(k * k * c * c + per_channel * c for k in kernels)
        return int(total + 2 * c + (c + 1) * s.num_classes)

    def flops(self, arch: Cell201, image_size: int = 32, **macro: Any) -> int:
        s = self.macro(**macro)
        c, side = s.channels, image_size
        total = 9 * s.in_channels * c * side * side if s.stem else 0
        for stage in range(s.stages):
            if stage:
                c, side = 2 * c, (side + 1) // 2
                total += (9 * c * c // 2 + 9 * c * c + c * c // 2) * side * side
            kernels = [_KERNEL[e] for e in arch.edges if e in _KERNEL]
            total += s.cells * sum(k * k * c * c for k in kernels) * side * side
        return int(total + (c + 1) * s.num_classes)

    @property
    def choices(self) -> tuple[int, ...]:
        """Five operations on each of the six edges."""
        return (len(OPERATIONS),) * len(EDGES)

    def encode(self, arch: Cell201) -> tuple[int, ...]:
        return arch.edges

    def decode(self, decisions: Sequence[int]) -> Cell201:
        """The cell with these operations; never None."""
        return Cell201(tuple(decisions))

    def __len__(self) -> int:
        return int(len(OPERATIONS) ** len(EDGES))

    def __iter__(self) -> Iterator[Cell201]:
        return iter(self._cells)

    def __getitem__(self, index: int) -> Cell201:
        if not 0 <= index < len(self):
            raise InputError(f"nasbench201: index {quoted(index)} is outside 0..{len(self) - 1}")
        return self._cells[index]

    def index(self, arch: Cell201) -> int:
        """Position in the official order (index 0 is ``|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+…``)."""
        return self._index_of[arch.edges]

    def unique(self) -> list[Cell201]:
        """One cell of each of the 6,466 classes, in index order."""
        return [self._cells[i] for i in np.unique(self.class_of)]

    @cached_property
    def class_of(self) -> np.ndarray:
        """Index of the representative of each cell, in index order, shape ``(15625,)``."""
        first: dict[str, int] = {}
        return np.array([first.setdefault(_unique_text(c.edges), i) for i, c in enumerate(self._cells)])

    @cached_property
    def _cells(self) -> list[Cell201]:
        cells = [Cell201(edges) for edges in product(range(len(OPERATIONS)), repeat=len(EDGES))]
        random.Random(88).shuffle(cells)
        return cells

    @cached_property
    def _index_of(self) -> dict[tuple[int, ...], int]:
        return {cell.edges: i for i, cell in enumerate(self._cells)}


register_space("nasbench201")(NASBench201)
