"""Trained accuracies from a CSV file with one row per architecture, into a benchmark table."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from prejudge._version import __version__
from prejudge.benchmarks.table.library import place_for
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.rows import RowNumbers
from prejudge.benchmarks.table.table import write_table
from prejudge.errors import InputError
from prejudge.formats.csv import ARCHITECTURE_COLUMNS, CsvFile
from prejudge.spaces import Space
from prejudge.spaces import space as find_space

_SPLITS = ("train", "valid", "test")
EXTRAS = {
    re.compile(r"^params(_.+)?$"): "parameters",
    re.compile(r"^m?flops(_.+)?$"): "multiply-adds",
    re.compile(r"^.+_seconds(_.+)?$"): "seconds",
    re.compile(r"^n_seeds(_.+)?$"): "training runs",
}
"""Other columns that are taken, and their unit."""

_OTHER_NAMES = {"imagenet16": ("imagenet16-120", "ImageNet16-120")}


def import_csv(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    space: str = "nasbench201",
    *,
    name: str | None = None,
) -> Path:
    """Read a CSV file (``.csv`` or ``.csv.gz``) and write the table file.

    The header must have a column ``arch_str`` (or ``arch``, ``architecture``), in any notation of the space, and at
    least one ``{dataset}_{split}_{epochs}ep`` (then optionally ``_seed{seed}`` and ``_loss`` or another quantity) with
    split ``train``, ``valid`` or ``test``: accuracies in per cent, an empty cell where there is none. Columns
    ``params_*``, ``flops_*``, ``mflops_*`` (in millions; stored as ``flops_*``), ``*_seconds_*`` and ``n_seeds_*`` are
    taken along; others are left out and named in the provenance.

    Args:
        path: The CSV file. It need not have all architectures, nor be in index order.
        out: The table file to write; by default one of this name among the user's own benchmarks.
        space: The search space.
        name: Name of the table, for ``prejudge.benchmark``; by default the file name of ``out``, or the space's.

    Returns:
        The file written.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no text, or its gzip stream is damaged.
        InputError: Columns are missing; or a row has an unknown architecture, one that was there before, or something
            that is no number. The message names the line.
    """
    file = CsvFile(Path(path))
    if not any(map(is_metric, file.header)):
        raise InputError(
            f"{path} has no accuracies: no column reads {{dataset}}_{{split}}_{{epochs}}ep with split "
            f"{', '.join(_SPLITS)}, like cifar10_test_200ep (it has {', '.join(file.header)})"
        )
    name = name or (Path(out).stem if out is not None else space)
    target = Path(out) if out is not None else place_for(name)
    values, numbers, filled = _values(file, find_space(space))
    columns = {Metric.parse(c): v for c, v in values.items() if is_metric(c)}
    extra, units = extras_of({c: v for c, v in values.items() if not is_metric(c)})
    ignored = [c for c in file.header if c not in values and c not in ARCHITECTURE_COLUMNS]
    return write_table(
        target,
        space,
        columns,
        architectures=numbers.architectures,
        keys=numbers.keys,
        extra=extra,
        units={"accuracy": "per cent", **units},
        provenance={
            "source": file.path.name,
            "sha256": file.sha256,
            "rows": filled,
            "columns left out": ", ".join(ignored) or "none",
            "imported by": f"prejudge {__version__}",
        },
        name=name,
        aliases=other_names(columns),
    )


def is_metric(column: str) -> bool:
    """Whether a column is named like a metric of one of the splits that are taken."""
    try:
        return Metric.parse(column).split in _SPLITS
    except InputError:
        return False


def _values(file: CsvFile, space: Space[Any]) -> tuple[dict[str, np.ndarray], RowNumbers, int]:
    """The columns that are taken, in the order of the rows of the table, and how many rows the file has."""
    numbers = RowNumbers(space)
    taken = [(i, c) for i, c in enumerate(file.header) if is_metric(c) or any(p.match(c) for p in EXTRAS)]
    accuracies = {i for i, c in taken if is_metric(c) and Metric.parse(c).is_accuracy}
    found: dict[int, list[float]] = {}
    first: dict[int, int] = {}
    for line, arch, fields in file.rows(space):
        row = numbers.row(arch)
        if row in first:
            raise file.error(line, f"{arch} was in line {first[row]} already")
        first[row] = line
        found[row] = [file.number(line, i, fields) for i, _ in taken]
        for (i, column), value in zip(taken, found[row], strict=True):
            if i in accuracies and not (0 <= value <= 100 or math.isnan(value)):
                raise file.error(line, f"{column} is {fields[i]}; an accuracy is per cent, from 0 to 100")
    values = np.full((len(taken), len(numbers)), np.nan)
    values[:, list(found)] = np.array(list(found.values())).T
    return {c: values[position] for position, (_, c) in enumerate(taken)}, numbers, len(found)


def other_names(metrics: Iterable[Metric]) -> dict[str, str]:
    """Other names of the metrics' datasets, to the name that they use."""
    datasets = {m.dataset for m in metrics}
    return {other: d for d in datasets for other in _OTHER_NAMES.get(d, ()) if other not in datasets}


def extras_of(values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The columns that are no metrics as extras, and their units; millions of FLOPs become FLOPs."""
    extra: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    for column, numbers in values.items():
        name = column.removeprefix("m") if column.startswith("mflops") else column
        extra[name] = np.rint(numbers * 1e6) if name != column else numbers
        units[name] = next(unit for pattern, unit in EXTRAS.items() if pattern.match(column))
    return extra, units
