"""Reading the file of a benchmark table: its index when it is opened, its arrays when they are first asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.rows import ListedRows, Rows
from prejudge.errors import FileFormatError, MissingDataError, PrejudgeError
from prejudge.formats import hdf5
from prejudge.formats.text import parse_json
from prejudge.spaces import space as find_space
from prejudge.spaces.base import EnumerableSpace

FORMAT = "prejudge-table"
VERSION = 2
_READABLE = (1, 2)
"""Version 2 added quantities beside accuracies, and lists of architectures."""

KEYS, TEXTS = "architectures/keys", "architectures/texts"
"""The arrays of a table that lists its architectures."""

_NAMES = ("units", "aliases", "provenance")
_TYPES = {KEYS: "<u8", TEXTS: "|u1", "answers": "<i8"}


@dataclass(frozen=True)
class TableIndex:
    """Everything about a table but its arrays.

    Attributes:
        space: Name of the search space.
        size: Rows: the architectures of the space, or those that the table lists.
        name: Name of the table in messages and reports.
        per_class: Whether only one representative of each class of equivalent architectures was trained.
        metrics: The columns, in the order of the file.
        curves: The metrics that have a learning curve (their value after each epoch).
        extras: Names of the other arrays (parameters, FLOPs, seconds …).
        units: Unit of each quantity of the metrics (``"accuracy"``, ``"loss"`` …) and of each extra.
        aliases: Other names of datasets, to the name that the columns use.
        provenance: Where the numbers come from.
        listed: Whether the table brings the list of its architectures; else its rows are in the space's index order.
        digest: SHA-256 prefix of all of the above and of the arrays.
    """

    space: str
    size: int
    name: str
    per_class: bool
    metrics: tuple[Metric, ...]
    curves: tuple[Metric, ...]
    extras: tuple[str, ...]
    units: dict[str, str]
    aliases: dict[str, str]
    provenance: dict[str, str]
    listed: bool = False
    digest: str = ""

    def to_json(self) -> str:
        """The document that the file holds."""
        plain = {k: getattr(self, k) for k in self.__dataclass_fields__}
        for key in ("metrics", "curves"):
            plain[key] = [[m.dataset, m.split, m.epochs, m.seed, m.quantity] for m in plain[key]]
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> TableIndex:
        """Read :meth:`to_json`; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        plain = parse_json(text)
        for key in ("metrics", "curves"):
            plain[key] = tuple(Metric(*m) for m in plain[key])
        plain["extras"] = tuple(plain["extras"])
        return cls(**plain)

    def check(self, most_bytes: int) -> None:
        """Raise :class:`ValueError` unless every field has its type and the arrays fit into so many bytes."""
        named = {"extras": self.extras, **{key: (*getattr(self, key), *getattr(self, key).values()) for key in _NAMES}}
        texts = {"space": (self.space,), "name": (self.name,), "digest": (self.digest,), **named}
        for field, values in texts.items():
            if not all(isinstance(value, str) for value in values):
                raise ValueError(f"its {field} is not text")
        if type(self.size) is not int or self.size < 1 or type(self.per_class) is not bool:
            raise ValueError("it does not say how many rows it has")
        arrays = len(self.metrics) + len(self.extras)
        if 8 * self.size * max(arrays, 1) > most_bytes:
            raise ValueError(f"it claims {arrays} columns of {self.size} rows, more than the file can hold")


def read_index(path: Path) -> TableIndex:
    """Read what opening a table needs.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is truncated, not a benchmark table, or written by a newer prejudge.
    """
    with _reading(path) as file:
        try:
            if hdf5.attribute(file, "format") != FORMAT:
                raise FileFormatError(f"{path} is an HDF5 file but not a prejudge benchmark table")
            version = hdf5.attribute(file, "version")
            if version not in _READABLE:
                raise FileFormatError(
                    f"{path} has table format {version}, this prejudge reads up to format {VERSION}; upgrade prejudge"
                )
            index = TableIndex.from_json(hdf5.text(file, "index", hdf5.ReadBudget(path.stat().st_size)))
            index.check(8 * (hdf5.FREE_BYTES + hdf5.MOST_GROWTH * path.stat().st_size))
            return index
        except hdf5.READ_ERRORS as error:
            raise FileFormatError(
                f"{path} is damaged: its index cannot be read ({hdf5.describe(error)}); get or import it again"
            ) from error


def read_array(path: Path, index: TableIndex, key: str) -> np.ndarray:
    """One array of the table, with a row for each architecture.

    Raises:
        FileFormatError: The array is damaged, or the file is no longer the one that ``index`` was read from.
    """
    with _reading(path) as file:
        try:
            if hdf5.attribute(file, "digest") != index.digest:
                raise FileFormatError(f"{path} was replaced since it was opened; open it again")
            budget = hdf5.ReadBudget(path.stat().st_size)
            node = hdf5.member(file, key)
            kind, dims = _TYPES.get(key, "<f8"), 2 if key.startswith("curves/") else 1
            if hdf5.has(node, "codes"):
                values = hdf5.array(node, "values", budget, kind, (1,))
                array: np.ndarray = values[hdf5.array(node, "codes", budget, "u", (dims,))]
            else:
                array = hdf5.array(node, "values", budget, kind, (dims,))
        except hdf5.READ_ERRORS as error:
            raise FileFormatError(
                f"{path} is damaged: {key} cannot be read ({hdf5.describe(error)}); get or import it again"
            ) from error
    if key != TEXTS and array.shape[:1] != (index.size,):
        raise FileFormatError(f"{path} is damaged: {key} has {array.shape[:1]} rows, not {index.size}")
    return array


def read_rows(path: Path, index: TableIndex) -> Rows:
    """The architectures of the rows; raises as :func:`read_array` does."""
    where = find_space(index.space)
    if not index.listed:
        if isinstance(where, EnumerableSpace) and len(where) == index.size:
            return where
        raise FileFormatError(f"{path} is damaged: it lists no architectures and has {index.size} rows")

    def texts() -> list[str]:
        lines = read_array(path, index, TEXTS).tobytes().decode("utf-8", errors="replace").split("\n")
        if len(lines) != index.size:
            raise FileFormatError(f"{path} is damaged: it names {len(lines)} architectures, not {index.size}")
        return lines

    return ListedRows(where, read_array(path, index, KEYS), texts)


def _reading(path: Path) -> Any:
    if not path.is_file():
        raise MissingDataError(f"no benchmark table {path}")
    try:
        # Table files are only ever replaced whole: a reader needs no lock, and some network disks have none.
        return hdf5.open_file(path)
    except hdf5.READ_ERRORS as error:
        if isinstance(error, PermissionError):
            raise PrejudgeError(f"cannot read {path}: permission denied") from error
        raise FileFormatError(f"{path} is not an HDF5 file, or it is truncated") from error
