"""The genotype: how a cell found in the DARTS space is written (Liu et al., ICLR 2019, arXiv:1806.09055).

A genotype is two cells, a normal and a reduction cell. States 0 and 1 of a cell are its inputs, the outputs of the last
cell but one and of the last cell; state ``i + 2`` is intermediate node ``i``, the sum of two operations, each on an
earlier state. The cell's output is the concatenation of some states.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prejudge.errors import InputError, quoted, unknown

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "sep_conv_7x7",
    "conv_7x1_1x7",
    "noise",
)
"""Every operation that a genotype may name: the eight of DARTS in the official order, then the two that only the cells
of NASNet and AmoebaNet have, then the Gaussian noise of space S4."""

CELLS = ("normal", "reduce")
"""The two cell types, by the name of their field."""

FIELDS = tuple(field for cell in CELLS for field in (cell, f"{cell}_concat"))
"""The fields of a genotype in the official order."""

Edge = tuple[str, int]
"""(operation, predecessor)"""

_OWN = re.compile(r"Genotype\(" + ", ".join(f"{field}=(?P<{field}>[^=]+)" for field in FIELDS) + r"\)")
_OWN_TO_JSON = str.maketrans("()'", '[]"')


@dataclass(frozen=True, slots=True, repr=False)
class Genotype:
    """Two cells; the architecture value of the DARTS spaces.

    Lists are taken too and become tuples; NumPy integers become Python's. The order of the edges is kept as it was
    given, since the official networks build their modules in that order; two genotypes that differ only in it are two
    values with one :meth:`~prejudge.spaces.darts.space.DARTS.canonical` key.

    Attributes:
        normal: (operation, predecessor) of every edge of the normal cell: edges ``2 i`` and ``2 i + 1`` enter
            intermediate node ``i`` (state ``i + 2``) from states below ``i + 2``, which may be one and the same.
        normal_concat: The states that the normal cell's output concatenates.
        reduce: The same of the reduction cell, where edges from states 0 and 1 have stride 2.
        reduce_concat: The same of the reduction cell; the unreduced inputs cannot be among them.

    Raises:
        InputError: A cell cannot be built; the message names the cell and the edge, node or state.
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]

    def __post_init__(self) -> None:
        for cell in CELLS:
            edges = _checked_edges(cell, getattr(self, cell))
            concat = _checked_concat(cell, getattr(self, f"{cell}_concat"), len(edges) // 2)
            object.__setattr__(self, cell, edges)
            object.__setattr__(self, f"{cell}_concat", concat)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        parts = [f"{c}={list(getattr(self, c))}, {c}_concat={list(getattr(self, f'{c}_concat'))}" for c in CELLS]
        return f"Genotype({', '.join(parts)})"

    def cells(self) -> Iterator[tuple[str, tuple[Edge, ...], tuple[int, ...]]]:
        """(name, edges, concatenated states) of the normal and then of the reduction cell."""
        yield "normal", self.normal, self.normal_concat
        yield "reduce", self.reduce, self.reduce_concat


def fields_of(text: str) -> dict[str, Any] | None:
    """The fields in a text that ``str(genotype)`` writes, for :class:`Genotype`; None for any other text."""
    own = _OWN.fullmatch(text)
    if own is None:
        return None
    try:
        return {name: json.loads(value.translate(_OWN_TO_JSON)) for name, value in own.groupdict().items()}
    except (ValueError, RecursionError):
        return None


def state_name(state: int) -> str:
    """The name of a state in messages and drawings: ``c_{k-2}``, ``c_{k-1}``, then the nodes from ``0``."""
    return ("c_{k-2}", "c_{k-1}")[state] if state < 2 else str(state - 2)


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def _sequence(what: str, value: Any) -> Sequence[Any]:
    if isinstance(value, np.ndarray):
        return list(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"genotype: {what} must be a list, not {type(value).__name__} {quoted(value)}")
    return value


def _checked_edges(cell: str, given: Any) -> tuple[Edge, ...]:
    edges = tuple(_checked_edge(cell, i, item) for i, item in enumerate(_sequence(f"the {cell} cell", given)))
    if not edges or len(edges) % 2:
        raise InputError(
            f"genotype: the {cell} cell has {len(edges)} edges; every node has two, so their number is even and not 0"
        )
    return edges


def _checked_edge(cell: str, position: int, item: Any) -> Edge:
    try:
        operation, source = item
        known = operation in OPERATIONS and not isinstance(item, str)
    except (TypeError, ValueError):  # no pair, or an array in place of a name
        known, operation, source = False, None, None
    predecessor = _integer(source)
    node = position // 2
    if known and predecessor is not None and 0 <= predecessor < node + 2:
        return str(operation), predecessor
    where = f"edge {position % 2} of node {node} of the {cell} cell"
    if not isinstance(operation, str) or isinstance(item, str):
        raise InputError(f"genotype: {where} must be (operation, predecessor), not {quoted(item)}")
    if not known:
        raise unknown(f"operation on {where}:", operation, OPERATIONS)
    if predecessor is None:
        raise InputError(f"genotype: the predecessor on {where} must be an integer, not {quoted(source)}")
    raise InputError(
        f"genotype: {where} comes from state {quoted(predecessor)}; node {node} is state {node + 2} and can only take "
        f"states 0..{node + 1}"
    )


def _checked_concat(cell: str, given: Any, nodes: int) -> tuple[int, ...]:
    what = f"{cell}_concat"
    concat = []
    for item in _sequence(what, given):
        state = _integer(item)
        if state is None or not 0 <= state < nodes + 2:
            raise InputError(f"genotype: {what} names state {quoted(item)}; the {cell} cell has states 0..{nodes + 1}")
        if cell == "reduce" and state < 2:
            raise InputError(f"genotype: {what} names state {state}, an input that is not reduced; name nodes (2..)")
        if state in concat:
            raise InputError(f"genotype: {what} names state {state} twice")
        concat.append(state)
    if not concat:
        raise InputError(f"genotype: {what} is empty; the {cell} cell would have no output")
    return tuple(concat)
