"""NAS-Bench-101's published TFRecord files (Ying et al., ICML 2019) into a table, without TensorFlow or protobuf."""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.importers.nasbench101.model_metrics import QUANTITIES, VALUES
from prejudge.benchmarks.importers.nasbench101.records import read_records
from prejudge.benchmarks.importers.nasbench101.runs import REPEATS, ScheduleRuns, TooManyRuns, columns
from prejudge.benchmarks.importers.table_import import (
    ImportResult,
    TableImport,
    file_sha256,
    require_file,
)
from prejudge.engine import Progress
from prejudge.errors import FileFormatError, InputError, PrejudgeError
from prejudge.formats.tfrecord import read_blocks
from prejudge.spaces.nasbench101.space import NASBench101, record_text

SPACE = "nasbench101"
PUBLISHED = {
    "nasbench_full.tfrecord": "3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c",
    "nasbench_only108.tfrecord": "4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
}
"""SHA-256 of the published files, as their publishers state it."""

UNITS = {
    "accuracy": "per cent",
    "halfway-accuracy": "per cent",
    "seconds": "seconds",
    "halfway-seconds": "seconds",
    "total-seconds": "seconds",
    "params": "parameters",
}

_API_NAMES = [f"{m}_{q}" for m in ("halfway", "final") for q in ("training_time", "train_accuracy",
                                                                 "validation_accuracy", "test_accuracy")]  # fmt: skip
_API_RECORDS = 20_000
_HASHES_CHECKED = 20
_MOST_SCHEDULES = 16

RecordedCell = tuple[str, str]
"""Adjacency digits and operations, as a record has them."""


def import_nasbench101(
    source: str | os.PathLike[str] | Any,
    out: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    check_published: bool = True,
    progress: Progress | None = None,
) -> ImportResult:
    """Read ``nasbench_full.tfrecord`` or ``nasbench_only108.tfrecord`` and write the table file.

    Every checksum of the file is verified. The three runs of a cell on a schedule become seeds 0, 1 and 2 in the order
    of the file (the file names no seeds), and ``"mean"`` is their mean. Columns, all of dataset ``cifar10``, for each
    schedule of 4, 12, 36 and 108 epochs that the file has:

    * splits ``train``, ``valid``, ``test``, quantity ``accuracy``: after training. 100 times the file's fraction, in
      float64: per cent.
    * the same, ``halfway-accuracy``: after half of the epochs, in the middle of the same cosine schedule.
    * split ``train``, ``seconds`` and ``halfway-seconds``: training time until the end and until half way;
      ``total-seconds``: training and evaluation (the official API does not give it).

    The extra ``params`` is the published number of trainable parameters. Queries take the cell in any notation, and its
    hash.

    Args:
        source: The file; or an open ``nasbench.api.NASBench``, whose ``fixed_statistics`` and ``computed_statistics``
            are read (it has no total times).
        out: The table file to write; by default one of this name among the user's own benchmarks.
        name: Name of the table, for ``prejudge.benchmark``; by default the file name of ``out``, or ``nasbench101``.
        check_published: Whether a file that is called like a published one must have its SHA-256.
        progress: Told (megabytes read, megabytes of the file, seconds) after each block.

    Returns:
        The table file, and whether it was there already, made of the same file.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is not a TFRecord file, truncated, damaged, not the published one, or a record is not one of
            NAS-Bench-101; the message names record and byte.
        InputError: The name is unusable, or the object is not a ``NASBench``.
        PrejudgeError: The table cannot be written.
    """
    if not isinstance(source, str | os.PathLike):
        known: dict[str, object] = {"source": "an open nasbench.api.NASBench"}
        return _write(TableImport.begin(out, name, SPACE, SPACE, known), _of_api(source))
    path = require_file(Path(source), "a TFRecord file of NAS-Bench-101")
    known = {"source": path.name, "bytes": path.stat().st_size}
    job = TableImport.begin(out, name, SPACE, SPACE, known, partial(file_sha256, path))
    if existing := job.existing():
        return existing
    digest = hashlib.sha256()
    runs = read_file(path, digest=digest, progress=progress)
    sha256 = digest.hexdigest()
    published = next((known for known, value in PUBLISHED.items() if value == sha256), None)
    if check_published and published is None and path.name in PUBLISHED:
        raise FileFormatError(
            f"{path} is not the published file: its SHA-256 is {sha256}, not {PUBLISHED[path.name]}; download it "
            f"again, or say that it need not be checked"
        )
    job = replace(job, digest=lambda: sha256)
    return _write(job, runs, {"published as": published or "unknown to prejudge"})


class CollectedCells:
    """Cells and their runs, as they arrive.

    Attributes:
        rows: Row of each cell, by its hash; a new hash gets the next one.
        texts: Text of each cell.
        params: Its trainable parameters, in pieces; -1 where they are not known.
        schedules: The runs of each schedule, by its epochs.
    """

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = defaultdict(count().__next__)
        self.texts: list[str] = []
        self.params: list[np.ndarray] = []
        self.schedules: dict[int, ScheduleRuns] = {}

    def add(
        self,
        hashes: Sequence[bytes],
        epochs: np.ndarray,
        values: np.ndarray,
        params: np.ndarray,
        cells: Callable[[list[int]], Iterable[RecordedCell]],
        wrong: Callable[[int, object], PrejudgeError],
    ) -> None:
        """Take records.

        Args:
            hashes: Hash of each record's cell.
            epochs: Its schedule.
            values: Its numbers, shape ``(records, len(VALUES))``.
            params: Its trainable parameters.
            cells: Gives the cells of some records; asked for the first one of each hash.
            wrong: Makes the error for a record.
        """
        before = len(self.texts)
        rows = np.fromiter(map(self.rows.__getitem__, hashes), dtype=np.int64, count=len(hashes))
        reached = np.maximum.accumulate(np.maximum(rows, before - 1))  # numbers are given in the order of arrival
        firsts = np.flatnonzero(np.diff(reached, prepend=before - 1)).tolist()
        for i, cell in zip(firsts, cells(firsts), strict=True):
            try:
                self.texts.append(record_text(*cell))
            except InputError as error:
                raise wrong(i, error) from error
        self.params.append(params[firsts])
        for schedule in np.unique(epochs).tolist():
            chosen = np.flatnonzero(epochs == schedule)
            if schedule not in self.schedules:
                if len(self.schedules) >= _MOST_SCHEDULES:
                    raise wrong(
                        int(chosen[0]), f"{schedule} epochs are schedule {_MOST_SCHEDULES + 1}, the data set has 4"
                    )
                self.schedules[schedule] = ScheduleRuns()
            try:
                self.schedules[schedule].add(rows[chosen], values[chosen])
            except TooManyRuns as error:
                i = int(chosen[error.args[0]])
                raise wrong(
                    i, f"it is run {REPEATS + 1} of cell {hashes[i].decode()} with {schedule} epochs"
                ) from error


class _Decoded(Sequence[str]):
    """Hashes as texts, each made when it is asked for: a third less memory."""

    def __init__(self, hashes: list[bytes]) -> None:
        self._hashes = hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def __getitem__(self, row: Any) -> Any:
        return self._hashes[row].decode()


def read_file(path: Path, *, digest: hashlib._Hash | None = None, progress: Progress | None = None) -> CollectedCells:
    """Read all runs of a TFRecord file; arguments and errors as for :func:`import_nasbench101`.

    Args:
        path: The file.
        digest: Is fed every byte of the file.
        progress: Told after each block.
    """
    start, size = time.perf_counter(), path.stat().st_size
    collected = CollectedCells()
    for block in read_blocks(path, digest=digest):
        records = read_records(path, block)
        collected.add(
            records.hashes, records.epochs, records.values, records.params, cells=records.cells, wrong=records.wrong
        )
        if progress is not None:
            progress((block.offset + len(block.data)) // 10**6, size // 10**6, time.perf_counter() - start)
    check_hashes(path, collected.texts, _Decoded(list(collected.rows)))
    return collected


def check_hashes(path: Path, texts: Sequence[str], keys: Sequence[str]) -> None:
    """Check that some cells, all over the file, have the hash that it says: a table's rows are found by it.

    Raises:
        FileFormatError: One has another.
    """
    space = NASBench101()
    for row in np.unique(np.linspace(0, len(keys) - 1, _HASHES_CHECKED).astype(int)).tolist():
        found = space.canonical(space.parse(texts[row]))
        if keys[row] != found:
            raise FileFormatError(f"{path}: cell {texts[row]} is called {keys[row]}, but its hash is {found}")


def _of_api(benchmark: Any) -> CollectedCells:
    """The runs of an open ``nasbench.api.NASBench``."""
    fixed, computed = (getattr(benchmark, f"{kind}_statistics", None) for kind in ("fixed", "computed"))
    if not isinstance(fixed, Mapping) or not isinstance(computed, Mapping) or not fixed:
        raise InputError(
            f"cannot import {type(benchmark).__name__!r}; give the path of a TFRecord file, or a NASBench object"
        )
    collected = CollectedCells()
    records = _api_records(fixed, computed)
    while part := list(islice(records, _API_RECORDS)):
        hashes, epochs, values, params, cells = zip(*part, strict=True)

        def of(chosen: list[int], cells: Sequence[RecordedCell] = cells) -> list[RecordedCell]:
            return [cells[i] for i in chosen]

        def wrong(i: int, reason: object, hashes: Sequence[bytes] = hashes) -> InputError:
            return InputError(f"NASBench object, cell {hashes[i].decode()}: {reason}")

        numbers = np.array(values, dtype=np.float64)
        collected.add(hashes, np.array(epochs), numbers, np.array(params), cells=of, wrong=wrong)
    return collected


def _api_records(
    fixed: Mapping[str, Any], computed: Mapping[str, Any]
) -> Iterator[tuple[bytes, int, list[float], int, RecordedCell]]:
    for key, cell in fixed.items():
        try:
            adjacency = "".join(str(int(entry)) for entry in np.asarray(cell["module_adjacency"]).ravel())
            written = (adjacency, ",".join(cell["module_operations"]))
            for epochs, repeats in computed[key].items():
                for run in repeats:
                    numbers = [float(run[n]) for n in _API_NAMES] + [np.nan] * (len(VALUES) - 2 * len(QUANTITIES))
                    yield key.encode(), int(epochs), numbers, int(cell["trainable_parameters"]), written
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"NASBench object, cell {key}: {type(error).__name__} {error}") from error


def _write(job: TableImport, collected: CollectedCells, provenance: Mapping[str, object] | None = None) -> ImportResult:
    cells = len(collected.texts)
    params = np.concatenate(collected.params).astype(np.float64)
    known = params >= 0
    keys = _Decoded(list(collected.rows))
    collected.rows.clear()
    return job.write(
        dict(columns(list(collected.schedules.items()), cells)),
        architectures=collected.texts,
        keys=keys,
        extra={"params": np.where(known, params, np.nan)} if known.any() else None,
        units=UNITS,
        fractions=False,
        provenance={
            **(provenance or {}),
            "cells": cells,
            "training runs": sum(runs.runs(cells) for runs in collected.schedules.values()),
            "seeds": "0, 1 and 2 in the order of the file",
        },
    )
