"""The training runs of NAS-Bench-101, collected by cell and schedule as they arrive, and the columns that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prejudge.benchmarks.importers.nasbench101.model_metrics import VALUES
from prejudge.benchmarks.table.metric import Metric, Seed

REPEATS = 3
"""Training runs of a cell on each schedule; their seeds are 0, 1 and 2, in the order of the file."""

DATASET = "cifar10"


_GROUPS = (VALUES[:-1], VALUES[-1:])
"""Values that are kept in one array: what was measured at an evaluation, and the total time."""

_ORDER = sorted(VALUES, key=lambda value: (value.startswith("halfway"), "seconds" in value))
"""Columns in the order of demand."""


class TooManyRuns(ValueError):
    """A cell has more than :data:`REPEATS` runs on one schedule; ``args[0]`` is the position of the first."""


class ScheduleRuns:
    """All runs of one schedule.

    They are kept as float32 for as long as that is exact, which it is for the published accuracies and times: half the
    memory.
    """

    def __init__(self) -> None:
        self._values = [np.zeros((REPEATS, 0, len(group)), dtype=np.float32) for group in _GROUPS]
        self._count = np.zeros(0, dtype=np.uint8)

    def add(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Take more runs.

        Args:
            rows: The row of each run's cell, shape ``(runs,)``.
            values: Its numbers, shape ``(runs, len(VALUES))``.

        Raises:
            TooManyRuns: A cell would have too many.
        """
        self._make_room(int(rows.max()) + 1)
        order = np.argsort(rows, kind="stable")
        sorted_rows = rows[order]
        starts = np.flatnonzero(np.diff(sorted_rows, prepend=-1))
        earlier = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
        repeats = np.empty(len(rows), dtype=np.int64)
        repeats[order] = self._count[sorted_rows] + earlier
        if (repeats >= REPEATS).any():
            raise TooManyRuns(int(np.argmax(repeats >= REPEATS)))
        np.maximum.at(self._count, rows, (repeats + 1).astype(np.uint8))
        start = 0
        for i, group in enumerate(_GROUPS):
            part = values[:, start : start + len(group)]
            start += len(group)
            if self._values[i].dtype == np.float32:
                narrow = part.astype(np.float32)
                if ((narrow == part) | np.isnan(part)).all():
                    part = narrow
                else:
                    self._values[i] = self._values[i].astype(np.float64)
            self._values[i][repeats, rows] = part

    def _make_room(self, cells: int) -> None:
        have = len(self._count)
        if cells > have:  # one array at a time, so never two copies of all; zeros take no memory before they are used
            size = max(cells, 2 * have)
            self._count = np.concatenate([self._count, np.zeros(size - have, dtype=np.uint8)])
            for i, values in enumerate(self._values):
                self._values[i] = np.zeros((REPEATS, size, values.shape[2]), dtype=values.dtype)
                self._values[i][:, :have] = values

    def runs(self, cells: int) -> int:
        """ScheduleRuns of the first so many cells."""
        return int(self._count[:cells].sum(dtype=np.int64))

    def column(self, value: str, seed: Seed, cells: int) -> np.ndarray:
        """One of :data:`VALUES` of the first so many cells as float64, NaN where a run is missing.

        Accuracies are in per cent: 100 times the fraction of the file, in float64. ``"mean"`` is that of the runs there
        are.
        """
        self._make_room(cells)
        group = next(i for i, names in enumerate(_GROUPS) if value in names)
        values = self._values[group][:, :, _GROUPS[group].index(value)]
        total, number = np.zeros(cells), np.zeros(cells)
        for repeat in range(REPEATS) if seed == "mean" else (seed,):
            found = values[repeat, :cells].astype(np.float64)
            if "seconds" not in value:
                found *= 100
            known = (repeat < self._count[:cells]) & ~np.isnan(found)
            np.add(total, found, out=total, where=known)
            number += known
        result: np.ndarray = np.divide(total, number, out=np.full(cells, np.nan), where=number > 0)
        return result


@dataclass(frozen=True)
class RunColumn:
    """A column that is computed when an array is asked for: all of them at once would not fit the memory promised."""

    runs: ScheduleRuns
    value: str
    seed: Seed
    cells: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The numbers, shape ``(cells,)``."""
        return self.runs.column(self.value, self.seed, self.cells).astype(dtype or np.float64, copy=False)


def columns(schedules: Sequence[tuple[int, ScheduleRuns]], cells: int) -> Iterator[tuple[Metric, RunColumn]]:
    """Every column that has a value: schedules ascending, means before single runs.

    Args:
        schedules: Epochs and runs.
        cells: Rows of the table.
    """
    seeds: tuple[Seed, ...] = ("mean", *range(REPEATS))
    for epochs, runs in sorted(schedules, key=lambda schedule: schedule[0]):
        for seed in seeds:
            for value in _ORDER:
                moment, _, name = value.rpartition("-")
                is_time = name == "seconds"
                quantity = "-".join(part for part in (moment, name if is_time else "accuracy") if part)
                column = RunColumn(runs, value, seed, cells)
                if not np.isnan(np.asarray(column)).all():
                    yield Metric(DATASET, "train" if is_time else name, epochs, seed, quantity), column
