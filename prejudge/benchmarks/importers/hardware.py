"""Costs of architectures on real devices: latency and energy from a CSV file, joined to a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prejudge.benchmarks.table.library import shipped_folder
from prejudge.benchmarks.table.rows import NotListed
from prejudge.benchmarks.table.table import Table
from prejudge.benchmarks.table.writer import extend_table
from prejudge.errors import InputError, unknown
from prejudge.spaces import space as find_space
from prejudge.spaces.csv_file import ARCHITECTURE_COLUMNS, CsvFile

UNITS = {"latency": "milliseconds", "energy": "millijoules", "arithmetic_intensity": "operations per byte"}
"""Unit of a column by what its name says, as HW-NAS-Bench (Li et al., ICLR 2021) has them: ``edgegpu_latency`` …"""


def join_hardware(
    table: Table,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    units: Mapping[str, str] | None = None,
    column: str | None = None,
    notation: str | None = None,
) -> Path:
    """Add the columns of a CSV file to a table as extras.

    The header must have a column ``arch_str`` (or ``arch``, ``architecture``, or what ``column`` says), in any notation
    of the table's space; columns whose name says ``latency``, ``energy`` or ``arithmetic_intensity`` are taken, and
    those that ``units`` names.

    Args:
        table: The table.
        path: The CSV file (``.csv`` or ``.csv.gz``); architectures that it lacks get NaN.
        out: The table file to write; by default the table's own is replaced, in one step.
        units: Unit of columns, where it is not HW-NAS-Bench's.
        column: The column of architectures.
        notation: What integers in an architecture mean, as for the space's ``parse``.

    Returns:
        The file written; ``open_table(it).extra("edgegpu_latency")`` has the values.

    Raises:
        InputError: Nothing to join, a malformed row (the message names the line), or an extra that is there already.
        MissingDataError: The file does not exist.
        FileFormatError: It is not text, or damaged.
    """
    target = Path(out) if out is not None else table.path
    if target.absolute().parent == shipped_folder():
        raise InputError(f"table {table.name} comes with prejudge; say with out (--out) where the joined one goes")
    file = CsvFile(Path(path), column)
    named = dict(units or {})
    for name in named:
        if name not in file.header:
            raise unknown(f"column of {path}", name, [c for c in file.header if c not in ARCHITECTURE_COLUMNS])
    taken = {i: c for i, c in enumerate(file.header) if c in named or _unit(c)}
    if not taken:
        raise InputError(
            f"{path} has no column to join: none is named after {', '.join(UNITS)} (it has {', '.join(file.header)})"
        )
    for name in taken.values():
        if name in table.extras:
            raise InputError(f"table {table.name} has an extra {name!r} already; rename the column of {path}")
    values = {c: np.full(table.index.size, np.nan) for c in taken.values()}
    first: dict[int, int] = {}
    elsewhere = 0
    for line, arch, fields in file.rows(find_space(table.space), notation):
        try:
            row = table.architectures.index(arch)
        except NotListed:
            elsewhere += 1
            continue
        if row in first:
            raise file.error(line, f"{arch} was in line {first[row]} already")
        first[row] = line
        for i, name in taken.items():
            values[name][row] = file.number(line, i, fields)
    if not first:
        raise InputError(f"none of the {elsewhere} architectures of {path} is in table {table.name}")
    return extend_table(
        table.path,
        target,
        values,
        units={c: named.get(c, _unit(c)) for c in taken.values()},
        provenance={
            f"joined {', '.join(taken.values())}": f"{file.path.name}, sha256 {file.sha256}, {len(first)} rows"
        },
    )


def _unit(column: str) -> str:
    return next((unit for what, unit in UNITS.items() if what in column), "")
