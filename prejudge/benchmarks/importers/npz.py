"""Trained accuracies from an ``.npz`` file of NumPy arrays, with one row per architecture, into a table."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.importers.columns import is_accuracy, is_metric, is_taken, no_accuracies, table_arguments
from prejudge.benchmarks.importers.nasbench101.importer import check_hashes
from prejudge.benchmarks.importers.table_import import (
    FROM_FRACTIONS,
    ImportResult,
    TableImport,
    file_sha256,
    parts,
    remark,
    require_file,
    said,
)
from prejudge.benchmarks.table.per_cent import to_per_cent
from prejudge.benchmarks.table.rows import RowNumbers
from prejudge.errors import FileFormatError, InputError, unknown
from prejudge.formats.zip import PickledObjects, read_arrays
from prejudge.spaces import space as find_space
from prejudge.spaces.nasbench101.space import OPERATIONS, record_text

ARCHITECTURES = ("architectures", "arch_str", "arch", "architecture")
"""Names of the array of architectures; the first one that the file has is read."""

CELLS = ("hash", "num_vertices", "adjacency_bits", "ops")
"""The arrays that together are cells of NAS-Bench-101."""

_FRACTION = re.compile(r"(train|valid|test)_acc_(\d+)")
_PLACES = [(i, j) for i in range(7) for j in range(i + 1, 7)]
"""Entries of the matrix's upper triangle, by their bit."""


@dataclass(frozen=True)
class _Rows:
    """Where the rows of the file go.

    Attributes:
        rows: Row of the table of each row of the file.
        size: Rows of the table.
        architectures: Listing of the table's architectures, if it has one.
        keys: Their canonical keys.
    """

    rows: np.ndarray
    size: int
    architectures: Any
    keys: Any


def import_npz(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    space: str | None = None,
    *,
    name: str | None = None,
    column: str | None = None,
    notation: str | None = None,
    fractions: bool | None = None,
) -> ImportResult:
    """Read an ``.npz`` file and write the table file. Pickled objects are refused.

    All arrays have one entry (or row) per architecture. Architectures are either

    * ``architectures`` (or ``arch_str``, ``arch``, ``architecture``, or what ``column`` says): texts in any notation of
      the space, official indices, or rows of integers in the notation that is said; or
    * cells of NAS-Bench-101: ``hash`` (16 bytes each), ``num_vertices`` (V), ``adjacency_bits`` (bit k: the k-th entry
      of the upper triangle of a 7 x 7 matrix, row by row, of which the first V vertices are used), ``ops`` (0 conv3x3,
      1 conv1x1, 2 maxpool3x3; the first V - 2 are read).

    Numbers are arrays named as the columns of a CSV file are (:func:`~prejudge.benchmarks.import_csv`):
    ``{dataset}_{split}_{epochs}ep`` in per cent, ``params``, ``flops_*``, … With cells of NAS-Bench-101 there may also
    be ``{split}_acc_{epochs}``, accuracies on CIFAR-10 that are fractions by definition; they become per cent, and the
    table's ``remark`` says so. Other arrays are left out and named in the
    provenance.

    Args:
        path: The file.
        out: The table file to write; by default one of this name among the user's own benchmarks.
        space: The search space; by default ``nasbench101`` for its cells and else ``nasbench201``.
        name: Name of the table, for ``prejudge.benchmark``; by default the file name of ``out``, or the space's.
        column: The array of architectures.
        notation: What integers in an architecture mean, as for the space's ``parse``.
        fractions: Whether accuracies are fractions: as for :func:`~prejudge.benchmarks.import_csv`.

    Returns:
        The table file, and whether it was there already, made of the same file.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is not an ``.npz`` file, it is damaged, or it holds pickled objects.
        InputError: An array that is needed is missing or has an unfit shape, type or value; the message names it and,
            where it can, the row, counted from 0.
    """
    path = require_file(Path(path), "an .npz file")
    arrays = _load(path)
    is_cells = all(array in arrays for array in CELLS)
    where = "nasbench101" if is_cells else space or "nasbench201"
    source = {
        "source": path.name,
        "bytes": path.stat().st_size,
        "space": where,
        **said(column, notation, fractions),
    }
    job = TableImport.begin(out, name, where, where, source, partial(file_sha256, path))
    if existing := job.existing():
        return existing
    found = _cells(path, arrays) if is_cells else _listed(path, arrays, where, column, notation)
    numbers, defined = _numbers(path, arrays, len(found.rows), is_cells, fractions)
    if not any(map(is_metric, numbers)):
        raise no_accuracies(path, "array", arrays)
    used = {*numbers, *(CELLS if is_cells else ARCHITECTURES), column}
    left_out = [a for a in arrays if a not in used and not (is_cells and _FRACTION.fullmatch(a))]
    return job.write(
        **table_arguments({column: _placed(values, found) for column, values in numbers.items()}),
        architectures=found.architectures,
        keys=found.keys,
        provenance={
            "rows": len(found.rows),
            "arrays left out": ", ".join(left_out) or "none",
            **remark(
                parts(len(found.rows), found.size),
                FROM_FRACTIONS if fractions else f"{', '.join(defined)}: {FROM_FRACTIONS}" if defined else "",
            ),
        },
        fractions=False,
    )


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                start = file.read(6)
            if start == b"\x93NUMPY":
                raise FileFormatError(f"{path} is a single array, not an .npz file; use numpy.savez to name it")
            if start[:1] == b"\x80":
                raise PickledObjects
            raise FileFormatError(f"{path} is not an .npz file, or it is truncated")
        return read_arrays(path)
    except PickledObjects as error:
        raise FileFormatError(
            f"{path} holds pickled objects, which may run code and are not read; save texts as numpy.array(texts)"
        ) from error


def _listed(
    path: Path, arrays: Mapping[str, np.ndarray], where: str, column: str | None, notation: str | None
) -> _Rows:
    if column is not None and column not in arrays:
        raise unknown(f"array of {path}", column, arrays)
    name = column or next((name for name in ARCHITECTURES if name in arrays), None)
    if name is None:
        raise InputError(
            f"{path} has no array {ARCHITECTURES[0]!r} (it has {', '.join(arrays) or 'none'}); say which one names the "
            "architectures: --column NAME (column=), and for integers --notation (notation=)"
        )
    texts = arrays[name]
    is_listed = texts.ndim == 1 and texts.dtype.kind in "US"
    is_numbered = column is not None and texts.ndim in (1, 2) and texts.dtype.kind in "iu"
    if not (is_listed or is_numbered) or not texts.size:
        raise InputError(f"{path}: {name} must be a list of texts, not {texts.dtype} of shape {texts.shape}")
    space = find_space(where)
    numbers = RowNumbers(space)
    first: dict[int, int] = {}
    for i, text in enumerate(texts.tolist()):
        try:
            row = numbers.row(space.parse(text.decode() if isinstance(text, bytes) else text, notation=notation))
        except ValueError as error:
            raise InputError(f"{path}, row {i} of {name}: {error}") from error
        if row in first:
            raise InputError(f"{path}, row {i} of {name}: the architecture was in row {first[row]} already")
        first[row] = i
    return _Rows(np.array(list(first)), len(numbers), numbers.architectures, numbers.keys)


def _cells(path: Path, arrays: Mapping[str, np.ndarray]) -> _Rows:
    count = len(np.atleast_1d(arrays["hash"]))
    shapes = {"hash": (count, 16), "num_vertices": (count,), "adjacency_bits": (count,), "ops": (count, 5)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "iu" or not count:
            raise InputError(
                f"{path}: {name} must be integers of shape {shape}, not {arrays[name].dtype} of {arrays[name].shape}"
            )
    vertices, bits, operations = (arrays[name].astype(np.int64) for name in CELLS[1:])
    digests = arrays["hash"].astype(np.uint8).tobytes().hex()
    keys = [digests[i : i + 32] for i in range(0, len(digests), 32)]
    texts = []
    for i, (v, b, ops) in enumerate(zip(vertices.tolist(), bits.tolist(), operations.tolist(), strict=True)):
        try:
            if not 2 <= v <= 7:
                raise InputError(f"{v} vertices; a cell has 2 to 7")
            texts.append(_text(v, b, ops[: v - 2]))
        except (InputError, IndexError) as error:
            raise InputError(f"{path}, row {i}: {error}") from error
    check_hashes(path, texts, keys)
    return _Rows(np.arange(count), count, texts, keys)


def _text(vertices: int, bits: int, operations: list[int]) -> str:
    unknown = [op for op in operations if not 0 <= op < len(OPERATIONS)]
    if unknown:
        raise InputError(f"operation {unknown[0]}; there are 0, 1 and 2")
    names = ",".join(["input", *(OPERATIONS[op] for op in operations), "output"])
    return record_text(_adjacency(vertices, bits), names)


@cache
def _adjacency(vertices: int, bits: int) -> str:
    """The digits of a record's matrix."""
    edges = {place for k, place in enumerate(_PLACES) if bits >> k & 1}
    if bits >> len(_PLACES) or any(j >= vertices for _, j in edges):
        raise InputError(f"adjacency bits {bits:#x} name an edge beyond vertex {vertices - 1}")
    return "".join(str(int((i, j) in edges)) for i in range(vertices) for j in range(vertices))


def _numbers(
    path: Path, arrays: Mapping[str, np.ndarray], rows: int, is_cells: bool, fractions: bool | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of numbers that are taken, by the name of their column, as float64; those that were fractions."""
    found: dict[str, np.ndarray] = {}
    defined: list[str] = []
    for name, array in arrays.items():
        fraction = _FRACTION.fullmatch(name) if is_cells else None
        if not (fraction or is_taken(name)):
            continue
        if array.shape != (rows,) or array.dtype.kind not in "iuf":
            raise InputError(f"{path}: {name} must be {rows} numbers, not {array.dtype} of shape {array.shape}")
        column = f"cifar10_{fraction[1]}_{fraction[2]}ep" if fraction else name
        bounded = is_accuracy(column)
        is_fraction = bool(fraction) or (bool(fractions) and bounded)
        values = array.astype(np.float64) * (100 if is_fraction else 1)
        wrong = np.isinf(values) | (bounded & ((values < 0) | (values > 100)))
        if wrong.any():
            row = int(np.argmax(wrong))
            meant = "a fraction, from 0 to 1" if is_fraction else "per cent, from 0 to 100"
            reason = f"an accuracy here is {meant}" if bounded else "it is not a finite number"
            raise InputError(f"{path}, row {row}: {name} is {array[row]:g}; {reason}")
        if column in found:
            raise InputError(f"{path}: {name} and another array are both {column}")
        if fraction:
            defined.append(name)
        elif bounded and not is_fraction:
            values = to_per_cent(values, f"{path}, array {name}", fractions)
        found[column] = values
    return found, defined


def _placed(values: np.ndarray, found: _Rows) -> np.ndarray:
    placed = np.full(found.size, np.nan)
    placed[found.rows] = values
    return placed
