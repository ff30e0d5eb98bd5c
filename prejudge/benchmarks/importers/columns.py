"""The names of columns in CSV and NumPy files, and what each becomes in a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from prejudge.benchmarks.table.metric import Metric
from prejudge.errors import InputError

SPLITS = ("train", "valid", "test")

EXTRAS = {
    re.compile(r"^params(_.+)?$"): "parameters",
    re.compile(r"^m?flops(_.+)?$"): "multiply-adds",
    re.compile(r"^.+_seconds(_.+)?$"): "seconds",
    re.compile(r"^n_seeds(_.+)?$"): "training runs",
}
"""Other columns that are taken, and their unit."""

_OTHER_NAMES = {"imagenet16": ("imagenet16-120", "ImageNet16-120")}


def is_metric(name: str) -> bool:
    """Whether a column is named like a metric of one of the splits that are taken."""
    try:
        return Metric.parse(name).split in SPLITS
    except InputError:
        return False


def is_accuracy(name: str) -> bool:
    """Whether a column is named like a metric that is an accuracy."""
    return is_metric(name) and Metric.parse(name).is_accuracy


def is_taken(name: str) -> bool:
    """Whether a column is named like a metric or like one of :data:`EXTRAS`."""
    return is_metric(name) or any(pattern.match(name) for pattern in EXTRAS)


def no_accuracies(source: object, what: str, known: Iterable[str]) -> InputError:
    """The error for a source without any metric."""
    return InputError(
        f"{source} has no accuracies: no {what} reads {{dataset}}_{{split}}_{{epochs}}ep with split "
        f"{', '.join(SPLITS)}, like cifar10_test_200ep (it has {', '.join(known)})"
    )


def table_arguments(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Sort columns into metrics and extras.

    Args:
        values: The columns that are taken, each of shape ``(rows,)``.

    Returns:
        ``columns``, ``extra``, ``units`` and ``aliases`` for :func:`~prejudge.benchmarks.write_table`. Columns
        ``mflops_*`` in millions become ``flops_*``.
    """
    columns = {Metric.parse(name): array for name, array in values.items() if is_metric(name)}
    extra: dict[str, np.ndarray] = {}
    units = {"accuracy": "per cent"}
    for column, array in values.items():
        if not is_metric(column):
            name = column.removeprefix("m") if column.startswith("mflops") else column
            extra[name] = np.rint(array * 1e6) if name != column else array
            units[name] = next(unit for pattern, unit in EXTRAS.items() if pattern.match(column))
    datasets = {metric.dataset for metric in columns}
    aliases = {other: d for d in datasets for other in _OTHER_NAMES.get(d, ()) if other not in datasets}
    return {"columns": columns, "extra": extra, "units": units, "aliases": aliases}
