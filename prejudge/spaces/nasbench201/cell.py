"""One NAS-Bench-201 cell, its text, and the macro-architecture around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from prejudge.errors import InputError, quoted, unknown
from prejudge.spaces.base import require_positive

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The five operations in the official order; an edge of :class:`Cell201` is an index into it."""

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(target node, source node) of the six edges, in the order of the official text."""

CELL = "cell"
"""The only kind of cell that a supernet has."""

NONE, SKIP, CONV1, CONV3, POOL = range(5)
FORMS = ("official", "zero-cost-nas")
NOTATIONS = ("official", "naslib")
"""The meanings that six integers may have; see :func:`from_integers`."""

_NASLIB_OPERATIONS = (SKIP, NONE, CONV3, CONV1, POOL)
_NASLIB_EDGES = (0, 1, 3, 2, 4, 5)  # position in NASLib's order, source by source, of each edge of EDGES
_TERM = re.compile(r"^(\w+)~(\d)$")


@dataclass(frozen=True, slots=True, repr=False)
class Cell201:
    """One NAS-Bench-201 architecture.

    Attributes:
        edges: The operation of each of the six edges, an index into :data:`OPERATIONS`, in the order of :data:`EDGES`.
    """

    edges: tuple[int, ...]

    def __repr__(self) -> str:
        return f"Cell201({str(self)!r})"

    def __str__(self) -> str:
        o = [OPERATIONS[e] for e in self.edges]
        return f"|{o[0]}~0|+|{o[1]}~0|{o[2]}~1|+|{o[3]}~0|{o[4]}~1|{o[5]}~2|"


@dataclass(frozen=True)
class MacroConfig201:
    """The macro-architecture around the cell, with the published defaults.

    Attributes:
        num_classes: Outputs of the classifier.
        channels: C, the width of the first stage; each later stage doubles it.
        cells: N, cells per stage.
        in_channels: Channels of the images.
        stages: Stages of cells, a residual reduction block between two of them.
        stem: Whether a 3x3 convolution maps the image to C channels; without it ``in_channels`` must equal C.
        form: ``"official"`` (convolutions without bias, affine batch norm) or ``"zero-cost-nas"`` (in the cells biased
            convolutions and batch norm that is neither affine nor tracking, as zero-cost-nas and HNAS score it).
    """

    num_classes: int = 10
    channels: int = 16
    cells: int = 5
    in_channels: int = 3
    stages: int = 3
    stem: bool = True
    form: str = "official"

    def __post_init__(self) -> None:
        require_positive("nasbench201", self, ("num_classes", "channels", "cells", "in_channels", "stages"))
        if self.form not in FORMS:
            raise unknown("nasbench201 form", self.form, FORMS)
        if not self.stem and self.in_channels != self.channels:
            raise InputError(
                f"nasbench201: without a stem in_channels must be channels ({quoted(self.channels)}), "
                f"not {quoted(self.in_channels)}"
            )


@lru_cache(maxsize=65536)
def parse_text(text: str) -> Cell201:
    """Read the official string; raises :class:`~prejudge.errors.InputError` for anything else."""
    nodes = text.strip().split("+")
    if len(nodes) != 3:
        raise InputError(
            f"nasbench201: {quoted(text)} has {len(nodes)} node groups; three are needed: |op~0|+|op~0|op~1|+|…|"
        )
    edges: list[int] = []
    for target, node in enumerate(nodes, start=1):
        terms = [t for t in node.strip().split("|") if t]
        if len(terms) != target:
            raise InputError(f"nasbench201: node {target} in {quoted(text)} has {len(terms)} edges, not {target}")
        for source, term in enumerate(terms):
            match = _TERM.match(term.strip())
            if match is None or int(match[2]) != source:
                raise InputError(f"nasbench201: {quoted(term)} in {quoted(text)} should read OPERATION~{source}")
            edges.append(read_operation(match[1]))
    return Cell201(tuple(edges))


def from_integers(numbers: Sequence[Any], notation: str) -> Cell201:
    """Read a cell from one integer for each edge.

    Args:
        numbers: Six of them.
        notation: ``"official"``: indices into :data:`OPERATIONS`, edges in the order of :data:`EDGES` (the index files
            of the benchmark, MeCo). ``"naslib"``: 0 skip, 1 none, 2 3x3, 3 1x1, 4 pool, and edges source by source
            (NASLib, NAS-Bench-Suite-Zero, the hardware and robustness tables).

    Raises:
        InputError: There are not six, or one is outside 0..4.
    """
    if len(numbers) != len(EDGES):
        raise InputError(f"nasbench201: a cell has six edges, {quoted(list(numbers))} has {len(numbers)}")
    operations = tuple(read_operation(number) for number in numbers)
    if notation == "naslib":
        operations = tuple(_NASLIB_OPERATIONS[operations[position]] for position in _NASLIB_EDGES)
    return Cell201(operations)


def read_operation(value: Any) -> int:
    """Index of an operation, given its name or index; raises :class:`~prejudge.errors.InputError` for anything else."""
    if isinstance(value, str):
        if value not in OPERATIONS:
            raise unknown("nasbench201 operation", value, OPERATIONS)
        return OPERATIONS.index(value)
    if isinstance(value, int | np.integer) and 0 <= int(value) < len(OPERATIONS):
        return int(value)
    raise InputError(f"nasbench201: {quoted(value)} is not an operation; give a name or 0..{len(OPERATIONS) - 1}")
