"""The runs of a search that have ended, kept for a search that is interrupted; for runs too short to keep each answer.

A journal beside the result (:mod:`prejudge.engine.journal`) has one record for each seed. It is begun after a second:
a search that takes less leaves no file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from prejudge.engine.journal import Journal
from prejudge.errors import FileFormatError
from prejudge.formats.atomic import beside, make_folder
from prejudge.search.result import Trajectory

KEEP_SECONDS = 1.0
"""A process that is killed loses the runs of so many seconds; one that is interrupted loses none that has ended."""

_ARRAYS = {"epochs": np.int32, "values": np.float64, "seconds": np.float64}


class FinishedRuns:
    """The journal of finished runs: a context manager.

    Args:
        path: The file; None keeps nothing.
        plan: Everything that the runs depend on, but for their seeds.

    Attributes:
        runs: By their seeds.

    Raises:
        InputError: The file belongs to another search.
        FileFormatError: It is damaged, or no such journal.
        BusyError: Another process runs the same search.
    """

    def __init__(self, path: Path | None, plan: Mapping[str, Any]) -> None:
        self.path = path
        self.runs: dict[int, Trajectory] = {}
        self._plan = json.loads(json.dumps(plan, default=str))
        self._waiting: list[Trajectory] = []
        self._journal: Journal | None = None
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        if self.path is not None and self.path.exists():
            for line, record in enumerate(self._open(self.path).records, start=2):
                run = _read(record, f"{self.path}, line {line}")
                self.runs[run.seed] = run
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None or self._journal is not None:
                self._write()
        finally:
            if self._journal is not None:
                self._journal.__exit__(kind, error, trace)
                self._journal = None

    def add(self, run: Trajectory) -> None:
        """Keep a run that has ended."""
        self.runs[run.seed] = run
        if self.path is None:
            return
        self._waiting.append(run)
        if time.monotonic() - self._written >= KEEP_SECONDS:
            self._write()

    def _write(self) -> None:
        if self.path is None or not self._waiting:
            return
        journal = self._journal or self._open(self.path)
        while self._waiting:
            journal.append(_record(self._waiting[0]))
            del self._waiting[0]
        self._written = time.monotonic()

    def _open(self, path: Path) -> Journal:
        make_folder(path.parent)
        journal = Journal(path, self._plan, "search runs").__enter__()
        self._journal = journal  # once it is open: an interruption before that opens it anew
        return journal


def discard(path: Path) -> None:
    """Remove the journal, and its folder if there is nothing else in it: all that it holds is in the result."""
    for file in (path, beside(path, ".lock")):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def _record(run: Trajectory) -> dict[str, Any]:
    content = {**vars(run), **{name: getattr(run, name).tolist() for name in _ARRAYS}}
    return {"seed": run.seed, "run": json.dumps(content)}  # a text, since JSON proper has no NaN


def _read(record: Mapping[str, Any], where: str) -> Trajectory:
    try:
        content = json.loads(record["run"])
        arrays = {name: np.array(content[name], dtype=kind) for name, kind in _ARRAYS.items()}
        return Trajectory(**{**content, **arrays})
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise FileFormatError(f"{where}: not a run of a search ({error})") from None
