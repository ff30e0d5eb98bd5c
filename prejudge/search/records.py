"""The answers that a run keeps as they come, and finds again when it was interrupted and is started again.

A method draws from its seed alone, so a search that starts again asks the same questions in the same order. Answers
that are on file are given from there; with the first one that is not, it goes on live.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prejudge.engine.journal import Journal
from prejudge.errors import FileFormatError, InputError
from prejudge.formats.atomic import make_folder
from prejudge.search.objectives.base import Evaluation
from prejudge.spaces.base import Architecture


class RunRecords:
    """The journal of one run: evaluations by their number, and other records by a key. A context manager.

    Args:
        path: The file; its folder is made if need be.
        plan: Everything that the answers depend on.

    Raises:
        InputError: The file belongs to another search.
        FileFormatError: It is damaged, or not a journal of a search.
        BusyError: Another process runs the same search.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        make_folder(path.parent)
        self._journal = Journal(path, json.loads(json.dumps(plan, default=str)), "search")
        self._evaluations: dict[int, tuple[int, dict[str, Any]]] = {}
        self._others: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._journal.__enter__()
        for line, record in enumerate(self._journal.records, start=2):
            if isinstance(record.get("key"), str):
                self._others[record["key"]] = record.get("record")
            elif isinstance(record.get("step"), int):
                self._evaluations[record["step"]] = line, record
            else:
                self.__exit__(None, None, None)
                raise FileFormatError(f"{self._journal.path}, line {line}: not an answer of a search")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.__exit__(kind, error, trace)

    def evaluation(self, step: int, arch: Architecture, epochs: int | None) -> Evaluation | None:
        """The answer to a question if it is on file.

        Raises:
            InputError: What is on file answers another question, so it is not this search's.
            FileFormatError: It is not an evaluation.
        """
        if step not in self._evaluations:
            return None
        line, record = self._evaluations[step]
        where = f"{self._journal.path}, line {line}"
        if (record.get("architecture"), record.get("epochs")) != (str(arch), epochs):
            raise InputError(
                f"{where}: the search now asks for {arch}; the file was written by another version; remove it to "
                "start again"
            )
        try:
            return Evaluation(float(record["value"]), float(record["seconds"]))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise FileFormatError(f"{where}: not an evaluation of a search ({error})") from None

    def put(self, step: int, arch: Architecture, epochs: int | None, found: Evaluation) -> None:
        """Keep the answer to a question."""
        value = found.value if math.isfinite(found.value) else str(found.value)
        self._journal.append(
            {"step": step, "architecture": str(arch), "epochs": epochs, "value": value, "seconds": found.seconds}
        )

    def find(self, key: str) -> Any:
        """The record of a key; None where there is none."""
        return self._others.get(key)

    def keep(self, key: str, record: Any) -> None:
        """Keep a record of plain values under a key."""
        self._journal.append({"key": key, "record": record})
        self._others[key] = record
