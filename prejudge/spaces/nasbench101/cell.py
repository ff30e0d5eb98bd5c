"""One NAS-Bench-101 cell: its text, pruning, and reading the notations of the official code and files.

Pruning and limits are those of google-research/nasbench: vertices that are not on a path from input to output are
deleted, and what remains has at most seven vertices and nine edges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from numbers import Real
from typing import Any

import numpy as np

from prejudge.errors import InputError, quoted, unknown
from prejudge.formats.literals import read_value

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""The operations in the official order; an interior vertex of :class:`Cell101` holds an index into it."""

CONV3, CONV1, POOL = range(3)
MAX_VERTICES, MAX_EDGES = 7, 9
"""The limits of the space; the vertices include input and output."""

NOTATIONS = ("naslib", "flan")
"""The meanings that 56 integers may have; see :func:`from_integers`."""

_SHORT = tuple(name.removesuffix("-bn-relu") for name in OPERATIONS)
_INDEX = {name: i for names in (OPERATIONS, _SHORT) for i, name in enumerate(names)}
_KEYS = (
    *((matrix, ops) for matrix in ("matrix", "adjacency", "adjacency_matrix") for ops in ("ops", "operations")),
    ("module_adjacency", "module_operations"),
    ("original_matrix", "original_ops"),
)
_SPACES = re.compile(r"(?<=[\d.\]])[\s,]+(?=[\d\[])")
Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Cell101:
    """One NAS-Bench-101 cell: pruned, and within the limits of the space.

    Two cells that differ by the numbering of their vertices are not equal; their hash is.

    Attributes:
        matrix: Upper-triangular adjacency, ``matrix[source][target]`` 0 or 1; vertex 0 is the input, the last one the
            output.
        operations: Index into :data:`OPERATIONS` of each interior vertex.
    """

    matrix: Matrix
    operations: tuple[int, ...]

    def __repr__(self) -> str:
        return f"Cell101({str(self)!r})"

    def __str__(self) -> str:
        # Rows of the upper triangle, then the operations: 110.01.1:conv3x3,maxpool3x3
        return f"{_matrix_text(self.matrix)}:{','.join([_SHORT[op] for op in self.operations])}"


@lru_cache(maxsize=8192)
def _matrix_text(matrix: Matrix) -> str:
    return ".".join("".join(map(str, row[x + 1 :])) for x, row in enumerate(matrix[:-1]))


def kept_vertices(rows: Sequence[Sequence[int]]) -> list[int]:
    """The vertices on a path from the first to the last, ascending; empty where none joins them."""
    last = len(rows) - 1
    reached, reaching = {0}, {last}
    for v in range(1, last + 1):
        if any(rows[u][v] for u in reached):
            reached.add(v)
    for v in reversed(range(last)):
        if any(rows[v][w] for w in reaching):
            reaching.add(v)
    return sorted(reached & reaching)


def _pruned(rows: Sequence[Sequence[int]]) -> tuple[list[int], Matrix]:
    """The vertices that :func:`kept_vertices` names, and the matrix of the edges between them."""
    kept = kept_vertices(rows)
    return kept, tuple(tuple([int(rows[x][y]) for y in kept]) for x in kept)


def _fits(matrix: Matrix) -> bool:
    return 2 <= len(matrix) <= MAX_VERTICES and sum(map(sum, matrix)) <= MAX_EDGES


def cell_of(rows: Sequence[Sequence[int]], interior: Sequence[int]) -> Cell101 | None:
    """The pruned cell; None where it is not in the space."""
    kept, matrix = _pruned(rows)
    return Cell101(matrix, tuple(interior[v - 1] for v in kept[1:-1])) if _fits(matrix) else None


def _read_matrix(matrix: Any) -> list[list[int]]:
    if isinstance(matrix, np.ndarray):
        matrix = matrix.tolist()
    try:
        rows = [list(row) for row in matrix]
    except TypeError:
        raise InputError(f"nasbench101: a matrix is V rows of V entries, not {quoted(matrix)}") from None
    if len(rows) < 2:
        raise InputError(f"nasbench101: a cell has at least two vertices, input and output, the matrix has {len(rows)}")
    for x, row in enumerate(rows):
        if len(row) != len(rows):
            raise InputError(f"nasbench101: the matrix is not square: {len(rows)} rows, row {x} has {len(row)} entries")
        for y, entry in enumerate(row):
            if not isinstance(entry, Real | np.bool_) or entry not in (0, 1):
                raise InputError(f"nasbench101: matrix[{x}][{y}] is {quoted(entry)}; an entry is 0 or 1")
            if entry and y <= x:
                raise InputError(
                    f"nasbench101: matrix[{x}][{y}] leads back to an earlier vertex; the matrix must be"
                    " upper-triangular: number the vertices in the order of their computation"
                )
    return rows


def _read_pair(matrix: Any, names: Any) -> Cell101:
    """Check and prune a matrix (nested, or the V * V digits of a record) with its operations, as the official API does.

    Limits and operations are those of the pruned cell: what is pruned away may be anything.
    """
    if isinstance(matrix, str):
        # NumPy prints a matrix without commas.
        matrix = _literal(_SPACES.sub(",", matrix)) if "[" in matrix else _record_rows(matrix)
    rows = _read_matrix(matrix)
    if isinstance(names, str):
        names = _literal(names) if names.lstrip().startswith(("[", "(")) else names.split(",")
    elif not isinstance(names, Sequence | np.ndarray):
        raise InputError(f"nasbench101: operations are a list of names, not {quoted(names)}")
    if len(names) != len(rows):
        raise InputError(
            f"nasbench101: the matrix has {len(rows)} vertices but there are {len(names)} operations (with input and"
            " output)"
        )
    for place, end in ((0, "input"), (-1, "output")):
        if names[place] != end:
            raise InputError(
                f"nasbench101: the {'first' if place == 0 else 'last'} operation is {quoted(names[place])}, not {end!r}"
            )
    kept, small = _pruned(rows)
    if not kept:
        raise InputError(f"nasbench101: no path leads from the input (vertex 0) to the output (vertex {len(rows) - 1})")
    if len(small) > MAX_VERTICES:
        raise InputError(
            f"nasbench101: the cell has {len(small)} vertices after pruning; at most {MAX_VERTICES} are allowed"
        )
    if not _fits(small):
        raise InputError(
            f"nasbench101: the cell has {sum(map(sum, small))} edges after pruning; at most {MAX_EDGES} are allowed"
        )
    return Cell101(small, tuple(_operation(names[v]) for v in kept[1:-1]))


def _operation(name: Any) -> int:
    if not isinstance(name, str) or name not in _INDEX:
        raise unknown("nasbench101 operation", name, OPERATIONS)
    return _INDEX[name]


def _record_rows(adjacency: str) -> list[list[int]]:
    side = isqrt(len(adjacency))
    if side * side != len(adjacency) or set(adjacency) - {"0", "1"}:
        raise InputError(f"nasbench101: {quoted(adjacency)} is not an adjacency; give V * V digits 0 or 1")
    return [[int(entry) for entry in adjacency[side * x : side * (x + 1)]] for x in range(side)]


@lru_cache(maxsize=8192)
def _read_text_matrix(text: str) -> tuple[Matrix, bool]:
    """The matrix of the first half of a canonical text, and whether it is pruned and within the limits."""
    rows = text.split(".")
    side = len(rows) + 1
    for x, row in enumerate(rows):
        if len(row) != side - 1 - x or set(row) - {"0", "1"}:
            raise InputError(f"nasbench101: {quoted(row)} in {quoted(text)} should be {side - 1 - x} digits 0 or 1")
    matrix = tuple((0,) * (x + 1) + tuple(map(int, row)) for x, row in enumerate([*rows, ""]))
    return matrix, len(kept_vertices(matrix)) == side and _fits(matrix)


@lru_cache(maxsize=8192)
def _read_text_operations(text: str) -> tuple[int, ...]:
    return tuple(_operation(name.strip()) for name in text.split(",")) if text else ()


def _read_text(text: str) -> Cell101:
    first, colon, second = text.partition(":")
    if not colon:
        raise InputError(
            f"nasbench101: {quoted(text)} is not a cell; give a text such as 110.01.1:conv3x3,maxpool3x3, a hash of 32"
            " hexadecimal digits, or an index"
        )
    (matrix, fits), operations = _read_text_matrix(first), _read_text_operations(second)
    if fits and len(operations) == len(matrix) - 2:
        return Cell101(matrix, operations)
    return _read_pair(matrix, ["input", *(OPERATIONS[op] for op in operations), "output"])


def from_integers(numbers: Sequence[Any], notation: str) -> Cell101:
    """Read a cell from the 49 entries of a matrix of seven vertices, row by row, and the seven operations.

    Args:
        numbers: 56 of them. Vertices without edges fill smaller cells up.
        notation: What the operations 2, 3 and 4 are: max pooling, 1x1 and 3x3 in ``"naslib"`` (NASLib,
            NAS-Bench-Suite-Zero), 3x3, 1x1 and max pooling in ``"flan"``; 0 and 1 are input and output.

    Raises:
        InputError: There are not 56, an operation is outside 0..4, or the cell is not in the space.
    """
    side = MAX_VERTICES
    values = [int(n) for n in numbers if isinstance(n, int | np.integer) and not isinstance(n, bool)]
    if len(values) != len(numbers) or len(values) != side * (side + 1):
        raise InputError(f"nasbench101: notation {notation!r} has {side * (side + 1)} integers, not {quoted(numbers)}")
    names = ("input", "output", *(reversed(OPERATIONS) if notation == "naslib" else OPERATIONS))
    if not all(0 <= code < len(names) for code in values[side * side :]):
        raise InputError(f"nasbench101: the operations {values[side * side :]} are not all within 0..{len(names) - 1}")
    matrix = [values[side * row : side * (row + 1)] for row in range(side)]
    return _read_pair(matrix, [names[code] for code in values[side * side :]])


def read_cell(value: Any, notation: str | None = None) -> Cell101:
    """Read, check and prune a cell in any notation that spells it out: all that the space reads but hash and index.

    Args:
        value: The canonical text (``110.01.1:conv3x3,maxpool3x3``: rows of the upper triangle, operations); a mapping
            with ``matrix`` and ``ops``, or ``module_adjacency`` and ``module_operations``; a ``ModelSpec``; or a pair
            of matrix and operations, of which either may be the string of a record. A mapping or pair may be written
            as a JSON or Python text. With a notation, 56 integers too.
        notation: See :func:`from_integers`.

    Raises:
        InputError: It is none of these, or not a cell of the space; the message names the offending part.
    """
    if isinstance(value, str):
        return read_cell(_literal(value), notation) if value.lstrip()[:1] in ("{", "[", "(") else _read_text(value)
    if isinstance(value, Mapping):
        for matrix, ops in _KEYS:
            if matrix in value and ops in value:
                return _read_pair(value[matrix], value[ops])
        raise InputError(f"nasbench101: a cell has keys 'matrix' and 'ops', not {', '.join(map(quoted, value))}")
    for matrix, ops in _KEYS:
        # An invalid ModelSpec has matrix None; its original matrix says what is wrong with it.
        if getattr(value, matrix, None) is not None and getattr(value, ops, None) is not None:
            return _read_pair(getattr(value, matrix), getattr(value, ops))
    if isinstance(value, Sequence | np.ndarray) and len(value) == MAX_VERTICES * (MAX_VERTICES + 1):
        if notation is None:
            raise InputError("nasbench101: 56 integers need notation='naslib' or 'flan', which name operations 2 and 4")
        return from_integers(list(value), notation)
    if isinstance(value, Sequence) and len(value) == 2:
        return _read_pair(value[0], value[1])
    raise InputError(f"nasbench101: cannot read a cell from {type(value).__name__} {quoted(value)}")


def _literal(text: str) -> Any:
    try:
        return read_value(text)
    except ValueError as error:
        raise InputError(f"nasbench101: not a cell: {error}") from None


@lru_cache(maxsize=8192)
def _record_matrix(adjacency: str) -> tuple[str, int]:
    """Text of the matrix of a record, and its number of vertices."""
    rows = _read_matrix(_record_rows(adjacency))
    kept, matrix = _pruned(rows)
    if len(kept) != len(rows) or not _fits(matrix):
        raise InputError(
            f"nasbench101: adjacency {quoted(adjacency)} of a record is not pruned, or too large for the space"
        )
    return _matrix_text(matrix), len(rows)


@lru_cache(maxsize=8192)
def _record_operations(operations: str) -> tuple[str, int]:
    """Text of the interior operations of a record, and the number of all its operations."""
    names = operations.split(",")
    if len(names) < 2 or names[0] != "input" or names[-1] != "output":
        raise InputError(f"nasbench101: operations {quoted(operations)} of a record should read input,…,output")
    return ",".join(_SHORT[_operation(name)] for name in names[1:-1]), len(names)


def record_text(adjacency: str, operations: str) -> str:
    """Text of the cell of one record of the official files, checked but not pruned (records are); about a microsecond.

    Args:
        adjacency: V * V digits 0 or 1, row by row.
        operations: ``"input,…,output"``, V names.

    Raises:
        InputError: They are not the pruned cell of a record.
    """
    matrix, vertices = _record_matrix(adjacency)
    names, count = _record_operations(operations)
    if count != vertices:
        raise InputError(f"nasbench101: a record has {vertices} vertices but {count} operations: {quoted(operations)}")
    return f"{matrix}:{names}"
