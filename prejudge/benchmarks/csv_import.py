"""Trained accuracies from a CSV file with one row per architecture, into a benchmark table."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from prejudge import __version__
from prejudge.benchmarks.library import place_for
from prejudge.benchmarks.metric import Metric
from prejudge.benchmarks.rows import RowNumbers
from prejudge.benchmarks.table import write_table
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces import space as find_space

ARCHITECTURE_COLUMNS = ("arch_str", "arch", "architecture")
_SPLITS = ("train", "valid", "test")
_EXTRAS = {
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
    path = Path(path)
    name = name or (Path(out).stem if out is not None else space)
    target = Path(out) if out is not None else place_for(name)
    content = _content(path)
    header, rows = _rows(path, content)
    values, numbers, filled = _values(path, header, rows, space)
    columns = {Metric.parse(c): v for c, v in values.items() if _is_metric(c)}
    extra, units = _extras({c: v for c, v in values.items() if not _is_metric(c)})
    datasets = {m.dataset for m in columns}
    ignored = [c for c in header if c not in values and c not in ARCHITECTURE_COLUMNS]
    return write_table(
        target,
        space,
        columns,
        architectures=numbers.architectures,
        keys=numbers.keys,
        extra=extra,
        units={"accuracy": "per cent", **units},
        provenance={
            "source": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": filled,
            "columns left out": ", ".join(ignored) or "none",
            "imported by": f"prejudge {__version__}",
        },
        name=name,
        aliases={other: d for d in datasets for other in _OTHER_NAMES.get(d, ()) if other not in datasets},
    )


def _content(path: Path) -> str:
    if not path.is_file():
        raise MissingDataError(f"no CSV file {path}")
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is no CSV file: byte {error.start} is no UTF-8 text") from error
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise FileFormatError(f"{path} is truncated or damaged: {error}") from error


def _rows(path: Path, content: str) -> tuple[list[str], Any]:
    reader = csv.reader(io.StringIO(content, newline=""))
    header = [c.strip() for c in next(reader, [])]
    if not any(header):
        raise InputError(f"{path} is empty; a CSV file with a header is needed")
    twice = [c for c in header if c and header.count(c) > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice")
    if not any(c in header for c in ARCHITECTURE_COLUMNS):
        raise InputError(f"{path} has no column {' or '.join(ARCHITECTURE_COLUMNS)} (it has {', '.join(header)})")
    if not any(map(_is_metric, header)):
        raise InputError(
            f"{path} has no accuracies: no column reads {{dataset}}_{{split}}_{{epochs}}ep with split "
            f"{', '.join(_SPLITS)}, like cifar10_test_200ep (it has {', '.join(header)})"
        )
    return header, reader


def _is_metric(column: str) -> bool:
    try:
        return Metric.parse(column).split in _SPLITS
    except InputError:
        return False


def _values(path: Path, header: list[str], reader: Any, space: str) -> tuple[dict[str, np.ndarray], RowNumbers, int]:
    """The columns that are taken, in the order of the rows of the table, and how many rows the file has."""
    where = find_space(space)
    numbers = RowNumbers(where)
    arch_at = header.index(next(c for c in ARCHITECTURE_COLUMNS if c in header))
    taken = [(i, c) for i, c in enumerate(header) if _is_metric(c) or any(p.match(c) for p in _EXTRAS)]
    found: dict[int, list[float]] = {}
    first: dict[int, int] = {}
    for fields in reader:
        line = reader.line_num
        if not fields:
            continue
        if len(fields) != len(header):
            raise InputError(f"{path}, line {line}: {len(fields)} fields, the header has {len(header)}")
        try:
            row = numbers.row(where.parse(fields[arch_at]))
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
        if row in first:
            raise InputError(f"{path}, line {line}: {fields[arch_at]} was in line {first[row]} already")
        first[row] = line
        found[row] = [_number(fields[i], path, line, column) for i, column in taken]
    if not first:
        raise InputError(f"{path} has a header but no rows")
    values = np.full((len(taken), len(numbers)), np.nan)
    values[:, list(found)] = np.array(list(found.values())).T
    return {c: values[position] for position, (_, c) in enumerate(taken)}, numbers, len(first)


def _number(text: str, path: Path, line: int, column: str) -> float:
    try:
        value = float(text) if text.strip() else math.nan
    except ValueError:
        raise InputError(f"{path}, line {line}: {column} is {text!r}, which is no number") from None
    if math.isinf(value):
        raise InputError(f"{path}, line {line}: {column} is infinite")
    if not (0 <= value <= 100 or math.isnan(value)) and _is_metric(column) and Metric.parse(column).is_accuracy:
        raise InputError(f"{path}, line {line}: {column} is {text}; an accuracy is per cent, from 0 to 100")
    return value


def _extras(values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    extra: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    for column, numbers in values.items():
        name = column.removeprefix("m") if column.startswith("mflops") else column
        extra[name] = np.rint(numbers * 1e6) if name != column else numbers
        units[name] = next(unit for pattern, unit in _EXTRAS.items() if pattern.match(column))
    return extra, units
