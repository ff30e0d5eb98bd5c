"""A table of trained accuracies: opened in milliseconds, queried in microseconds, and never without a named metric."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from prejudge.benchmarks.table.index import TableIndex, read_array, read_index, read_rows
from prejudge.benchmarks.table.metric import ACCURACY, Metric, MetricFields
from prejudge.benchmarks.table.rows import ListedRows, Rows
from prejudge.benchmarks.table.writer import write_table
from prejudge.errors import InputError, unknown
from prejudge.spaces import space as find_space
from prejudge.spaces.base import Architecture

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Metric", "RepresentativeWarning", "Table", "open_table", "write_table"]


class RepresentativeWarning(UserWarning):
    """A table that was trained on one architecture of each class answered for another member of the class."""


def open_table(path: str | os.PathLike[str]) -> Table:
    """Open a benchmark table.

    Args:
        path: A file that :func:`write_table` or an importer wrote.

    Returns:
        The table. Its columns are read from the file when they are first asked for.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is truncated, foreign, damaged, or of a newer format.
    """
    path = Path(path).absolute()
    return Table(path, read_index(path))


class Table:
    """Trained accuracies of the architectures of one space; open one with :func:`open_table` or ``prejudge.benchmark``.

    A metric is given as a :class:`Metric`, as its text (``"cifar10_test_200ep"``), or by the keywords ``dataset``,
    ``split``, ``epochs``, ``seed`` and ``quantity``. Only the last two have a default: the mean over all training runs,
    and the accuracy.

    Attributes:
        path: The file.
        index: Everything that the file says about itself.

    Example:
        >>> table = prejudge.benchmark("digits")
        >>> table.query(arch, dataset="digits", split="test", epochs=12)
    """

    def __init__(self, path: Path, index: TableIndex) -> None:
        self.path = path
        self.index = index
        self._columns: dict[Any, np.ndarray] = {}
        self._rows: dict[Any, int] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._warned = False

    @property
    def name(self) -> str:
        """Name of the table in messages and reports."""
        return self.index.name

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.index.space

    @property
    def per_class(self) -> bool:
        """Whether only one representative of each class of equivalent architectures was trained."""
        return self.index.per_class

    @cached_property
    def architectures(self) -> Rows:
        """The architectures in the order of the rows (``len``, iteration, ``[row]``, ``.index(arch)``).

        It is the search space itself where the space can be enumerated at once, else the table's own list in ascending
        order of the canonical key; for all of NAS-Bench-101 that is its index order.
        """
        return read_rows(self.path, self.index)

    @property
    def extras(self) -> tuple[str, ...]:
        """Names that :meth:`extra` takes."""
        return self.index.extras

    def metrics(self) -> list[Metric]:
        """The columns that the table has."""
        return list(self.index.metrics)

    def info(self) -> dict[str, Any]:
        """Contents of the table, units and provenance, as plain values."""
        known = {m: int(np.isfinite(self.column(m)).sum()) for m in self.index.metrics}
        return {
            "name": self.name,
            "space": self.space,
            "file": str(self.path),
            "bytes": self.path.stat().st_size,
            "digest": self.index.digest,
            "architectures": self.index.size,
            "per class": self.per_class,
            "metrics": {str(m): n for m, n in known.items()},
            "learning curves": [str(m) for m in self.index.curves],
            "extras": list(self.extras),
            "units": dict(self.index.units),
            "aliases": dict(self.index.aliases),
            "provenance": dict(self.index.provenance),
        }

    def query(
        self,
        arch: Any,
        metric: Metric | str | None = None,
        *,
        notation: str | None = None,
        **which: Unpack[MetricFields],
    ) -> float:
        """Trained accuracy (or another quantity) of one architecture.

        Args:
            arch: An architecture in any notation of the space: its text, its index, an object of the space …
            metric: The metric; or say by keyword which.
            notation: What integers in ``arch`` mean, as for the space's ``parse``.
            **which: ``dataset``, ``split``, ``epochs``; ``seed`` for one training run; ``quantity`` for a loss, a cost.

        Returns:
            The value; the unit of an accuracy is ``index.units["accuracy"]``, per cent. A per-class table answers with
            the value of the representative of the class and says so once with a :class:`RepresentativeWarning`.

        Raises:
            InputError: The architecture is malformed or was not trained, or the table does not have the metric;
                the message names what it has.
        """
        key = metric if metric is not None else tuple(which.items())
        if notation is not None:
            arch = find_space(self.space).parse(arch, notation=notation)
        try:
            value = self._columns[key].item(self._rows[arch])
        except (KeyError, TypeError):
            value = self._column(key).item(self._row(arch))
        if value != value:
            raise self._untrained(arch, self.metric(key))
        return value  # type: ignore[no-any-return]

    def query_many(
        self,
        archs: np.ndarray | Iterable[Any],
        metric: Metric | str | None = None,
        *,
        notation: str | None = None,
        **which: Unpack[MetricFields],
    ) -> np.ndarray:
        """Trained accuracies of many architectures.

        Args:
            archs: Rows as an integer array of any shape (fast), or architectures in any notation of the space. With a
                notation, an integer array of shape ``(N, edges)`` is N architectures.
            metric: As in :meth:`query`.
            notation: As in :meth:`query`.
            **which: As in :meth:`query`.

        Returns:
            Values in the shape of ``archs``, NaN where an architecture was not trained. A per-class table answers
            for every member of a class, as :meth:`query` does.
        """
        column = self._column(metric if metric is not None else tuple(which.items()))
        if notation is not None:
            parse = find_space(self.space).parse
            archs = [parse(arch, notation=notation) for arch in archs]
        if not isinstance(archs, np.ndarray):
            rows, asked = self._rows, list(archs)
            try:
                return column[[rows[a] if a in rows else self._row(a) for a in asked]]
            except TypeError:  # some are lists or dicts, which no dict remembers
                return column[[self._row(a) for a in asked]]
        if archs.dtype.kind not in "iu":
            return self.query_many(archs.ravel().tolist(), metric, **which).reshape(archs.shape)
        if archs.size and not 0 <= archs.min() <= archs.max() < self.index.size:
            wrong = archs.min() if archs.min() < 0 else archs.max()
            raise InputError(f"{self.space}: index {wrong} is outside 0..{self.index.size - 1}")
        if self.per_class:
            answers = self.answering[archs]
            if not self._warned and (answers != archs).any():
                self._warn()
            archs = answers
        return np.asarray(column.take(archs))

    def column(
        self, metric: Metric | str | None = None, *, expand: bool = False, **which: Unpack[MetricFields]
    ) -> np.ndarray:
        """All values of one metric.

        Args:
            metric: As in :meth:`query`.
            expand: For a per-class table: repeat the representative's value for every member of its class. By default
                members that were not trained are NaN, so that what is counted was trained.
            **which: As in :meth:`query`.

        Returns:
            Shape ``(len(table.architectures),)``, in their order, NaN where an architecture was not trained.
        """
        column = self._column(metric if metric is not None else tuple(which.items()))
        return column[self.answering] if expand else column.copy()

    def curve(
        self,
        arch: Any,
        metric: Metric | str | None = None,
        *,
        notation: str | None = None,
        **which: Unpack[MetricFields],
    ) -> np.ndarray:
        """Value after each epoch of one architecture, shape ``(epochs,)``; arguments as in :meth:`query`.

        Raises:
            InputError: The table has no learning curve of this metric; the message names those that it has.
        """
        wanted = self.metric(metric if metric is not None else tuple(which.items()), self.index.curves)
        if notation is not None:
            arch = find_space(self.space).parse(arch, notation=notation)
        result: np.ndarray = self._array(f"curves/{self.index.curves.index(wanted)}")[self._row(arch)].copy()
        return result

    def frame(self, metrics: Iterable[Metric | str] | None = None, *, expand: bool = False) -> pd.DataFrame:
        """The table as a DataFrame: one row per architecture, one column per metric.

        Args:
            metrics: The columns; by default all that the table has.
            expand: As in :meth:`column`.

        Returns:
            float64, indexed by the architectures' texts in the order of :attr:`architectures`; columns are named as
            ``str(metric)``, NaN where an architecture was not trained. Each column takes eight bytes a row: name the
            metrics of a table of many.

        Raises:
            InputError: The table does not have a metric; the message names what it has.
        """
        import pandas as pd

        chosen = [self.metric(m) for m in (self.index.metrics if metrics is None else metrics)]
        rows = self.architectures
        texts = rows.texts if isinstance(rows, ListedRows) else [str(arch) for arch in rows]
        index = pd.Index(texts, name="architecture")
        return pd.DataFrame({str(m): self.column(m, expand=expand) for m in chosen}, index=index)

    def extra(self, name: str, *, dataset: str | None = None) -> np.ndarray:
        """Another number of every architecture.

        Args:
            name: One of :attr:`extras`; its unit is ``index.units[name]``.
            dataset: Ask for ``{name}_{dataset}`` where the table has it.

        Returns:
            Shape ``(len(table.architectures),)``, in their order, NaN where unknown.

        Raises:
            InputError: The table has no such array; the message names those that it has.
        """
        specific = f"{name}_{self.index.aliases.get(dataset, dataset)}" if dataset else name
        found = specific if specific in self.extras else name
        if found not in self.extras:
            raise unknown(f"extra of table {self.name}", name, self.extras)
        return self._array(f"extras/{found}").copy()

    @cached_property
    def answering(self) -> np.ndarray:
        """Row of the architecture whose training answers for each one, shape ``(len(table.architectures),)``."""
        return self._array("answers").astype(np.intp) if self.per_class else np.arange(self.index.size)

    def answers_for(self, arch: Architecture) -> Architecture:
        """The architecture whose training a query for ``arch`` returns: itself, or its class's representative."""
        return self.architectures[self._answering(self._own_row(arch))]

    def metric(self, key: Metric | str | tuple[Any, ...], among: Sequence[Metric] | None = None) -> Metric:
        """The table's metric that ``key`` asks for; raises :class:`InputError` naming what the table has.

        Args:
            key: A metric, its text, or ``(field, value)`` pairs.
            among: The metrics to choose from; by default the table's columns.
        """
        if isinstance(key, str):
            key = Metric.parse(key)
        fields: dict[str, Any] = {"dataset": None, "split": None, "epochs": None, "seed": "mean", "quantity": ACCURACY}
        asked = {f: getattr(key, f) for f in fields} if isinstance(key, Metric) else dict(key)
        for field in asked:
            if field not in fields:
                raise unknown("field of a metric", field, fields)
        asked = fields | asked
        if isinstance(asked["dataset"], str):
            asked["dataset"] = self.index.aliases.get(asked["dataset"], asked["dataset"])
        what = "" if among is None else "learning curve with "
        left = self.index.metrics if among is None else among
        given = ""
        for field, value in asked.items():
            known = ", ".join(dict.fromkeys(str(getattr(m, field)) for m in left)) or "none"
            if value is None:
                raise InputError(f"table {self.name}: say which {field} (it has {known}{given})")
            left = [m for m in left if getattr(m, field) == value]
            if not left:
                raise InputError(f"table {self.name} has no {what}{field} {value!r}{given} (it has {known})")
            given += f"{',' if given else ' for'} {field} {value}"
        return left[0]

    def __repr__(self) -> str:
        datasets = ", ".join(dict.fromkeys(metric.dataset for metric in self.index.metrics))
        return (
            f"<table {self.name}: {self.index.size:,} architectures of {self.space}, {len(self.index.metrics)} metrics "
            f"of {datasets}>"
        )

    def _column(self, key: Any) -> np.ndarray:
        try:
            return self._columns[key]
        except (KeyError, TypeError):
            metric = self.metric(key)
            self._columns[key] = self._array(f"columns/{self.index.metrics.index(metric)}")
            return self._columns[key]

    def _array(self, key: str) -> np.ndarray:
        if key not in self._arrays:
            array = read_array(self.path, self.index, key)
            array.flags.writeable = False
            self._arrays[key] = array
        return self._arrays[key]

    def _row(self, arch: Any) -> int:
        """Row that answers for an architecture, remembered under the form in which it was asked."""
        asked = self._own_row(arch)
        row = self._answering(asked)
        if row != asked and not self._warned:
            self._warn()
        with contextlib.suppress(TypeError):  # a list, a dict, an array
            self._rows[arch] = row
        return row

    def _own_row(self, arch: Any) -> int:
        # A listing finds a canonical key without parsing it.
        return self.architectures.index(arch if self.index.listed else find_space(self.space).parse(arch))

    def _answering(self, row: int) -> int:
        return int(self.answering[row]) if self.per_class else row

    def _warn(self) -> None:
        self._warned = True
        warnings.warn(
            f"table {self.name} was trained on one architecture of each class of equivalent ones; it answers for the "
            f"others with the representative's accuracy (Table.answers_for names it)",
            RepresentativeWarning,
            stacklevel=4,
        )

    def _untrained(self, arch: Any, metric: Metric) -> InputError:
        trained = int(np.isfinite(self.column(metric)).sum())
        return InputError(
            f"table {self.name} has no {metric} of {arch}; it has {trained} of {self.index.size} architectures"
        )
