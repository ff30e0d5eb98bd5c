"""Trained accuracies from a CSV file with one row per architecture, into a benchmark table."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.importers.columns import is_accuracy, is_metric, is_taken, no_accuracies, table_arguments
from prejudge.benchmarks.importers.table_import import (
    FROM_FRACTIONS,
    ImportResult,
    TableImport,
    parts,
    remark,
    said,
)
from prejudge.benchmarks.table.per_cent import to_per_cent
from prejudge.benchmarks.table.rows import RowNumbers
from prejudge.spaces import Space
from prejudge.spaces import space as find_space
from prejudge.spaces.csv_file import ARCHITECTURE_COLUMNS, CsvFile


def import_csv(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    space: str = "nasbench201",
    *,
    name: str | None = None,
    column: str | None = None,
    notation: str | None = None,
    fractions: bool | None = None,
) -> ImportResult:
    """Read a CSV file (``.csv`` or ``.csv.gz``) and write the table file.

    The header must have a column ``arch_str`` (or ``arch``, ``architecture``, or what ``column`` says), in any notation
    of the space, and at least one ``{dataset}_{split}_{epochs}ep`` (then optionally ``_seed{seed}`` and ``_loss`` or
    another quantity) with split ``train``, ``valid`` or ``test``: accuracies in per cent, an empty cell where there is
    none. Columns ``params_*``, ``flops_*``, ``mflops_*`` (in millions; stored as ``flops_*``), ``*_seconds_*`` and
    ``n_seeds_*`` are taken along; others are left out and named in the provenance.

    Args:
        path: The CSV file. It need not have all architectures, nor be in index order.
        out: The table file to write; by default one of this name among the user's own benchmarks.
        space: The search space.
        name: Name of the table, for ``prejudge.benchmark``; by default the file name of ``out``, or the space's.
        column: The column of architectures; one of indices is one, too.
        notation: What integers in an architecture mean, as for the space's ``parse``.
        fractions: Whether accuracies are fractions, which become per cent. If left out they are per cent, and a column
            of which none is above 1 is refused; False says that such a column is per cent, too.

    Returns:
        The table file, and whether it was there already, made of the same file.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is not text, or its gzip stream is damaged.
        InputError: Columns are missing; or a row has an unknown architecture, one that was there before, or something
            that is not a number. The message names the line.
    """
    file = CsvFile(Path(path), column)
    if not any(map(is_metric, file.header)):
        raise no_accuracies(path, "column", file.header)
    source = {"source": file.path.name, "space": space, **said(column, notation, fractions)}
    job = TableImport.begin(out, name, space, space, source, lambda: file.sha256)
    if existing := job.existing():
        return existing
    values, numbers, filled = _values(file, find_space(space), notation, fractions)
    left_out = [c for c in file.header if c not in values and c not in (*ARCHITECTURE_COLUMNS, file.column)]
    return job.write(
        **table_arguments(values),
        architectures=numbers.architectures,
        keys=numbers.keys,
        provenance={
            "rows": filled,
            "columns left out": ", ".join(left_out) or "none",
            **remark(parts(filled, len(numbers)), FROM_FRACTIONS if fractions else ""),
        },
        fractions=False,
    )


def _values(
    file: CsvFile, space: Space[Any], notation: str | None, fractions: bool | None
) -> tuple[dict[str, np.ndarray], RowNumbers, int]:
    """The columns that are taken, in the order of the rows of the table, and how many rows the file has."""
    numbers = RowNumbers(space)
    taken = [(i, c) for i, c in enumerate(file.header) if is_taken(c)]
    accuracies = {i for i, c in taken if is_accuracy(c)}
    found: dict[int, list[float]] = {}
    first: dict[int, int] = {}
    for line, arch, fields in file.rows(space, notation):
        row = numbers.row(arch)
        if row in first:
            raise file.error(line, f"{arch} was in line {first[row]} already")
        first[row] = line
        found[row] = [file.number(line, i, fields) for i, _ in taken]
        for (i, column), value in zip(taken, found[row], strict=True):
            if i in accuracies and not (0 <= value <= (1 if fractions else 100) or math.isnan(value)):
                meant = "here a fraction, from 0 to 1" if fractions else "per cent, from 0 to 100"
                raise file.error(line, f"{column} is {fields[i]}; an accuracy is {meant}")
    values = np.full((len(taken), len(numbers)), np.nan)
    values[:, list(found)] = np.array(list(found.values())).T
    columns = {c: values[position] for position, (_, c) in enumerate(taken)}
    for c in filter(is_accuracy, columns):
        columns[c] = to_per_cent(columns[c], f"{file.path}, column {c}", fractions)
    return columns, numbers, len(found)
