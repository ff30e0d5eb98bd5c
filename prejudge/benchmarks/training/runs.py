"""The finished trainings of a table, kept in a journal beside it: what makes ``bench train`` resumable."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prejudge.engine.journal import Journal
from prejudge.errors import InputError
from prejudge.formats.atomic import beside

_KINDS = {"architecture": str, "seed": int, "result": dict}


class FinishedTrainings:
    """The trainings of a table that are done; a context manager within which one process adds to them.

    A line damaged in the middle costs its training, which is done again.

    Args:
        table: The table that the trainings are for; they are kept in ``TABLE.runs``.
        plan: Everything that all of them have in common, as plain values.

    Attributes:
        path: The file.
        plan: The plan.
        results: The finished trainings by architecture (its text) and seed.
        environments: Where they were done, in the order in which that was first said.

    Raises:
        InputError: The file was begun with another plan, or there is a table without one.
        FileFormatError: The file is something else, or its beginning is damaged.
        BusyError: Another process has it open.
        PrejudgeError: It cannot be written.
    """

    def __init__(self, table: Path, plan: dict[str, Any]) -> None:
        self.table = table
        self.path = beside(table, ".runs")
        remedy = f"write to another file, or delete {table.name} and {self.path.name} to begin again"
        self._journal = Journal(self.path, plan, "trainings", remedy=remedy, keep_sound=True, lock=table, wait=0.0)
        self.plan = self._journal.plan
        self.results: dict[tuple[str, int], dict[str, Any]] = {}
        self.environments: list[str] = []
        self._here: str | None = None

    def __enter__(self) -> Self:
        if not self.path.exists():
            self._refuse_table()
        self._journal.__enter__()
        try:
            if not self._journal.records:
                self._refuse_table()
        except InputError:
            self._journal.__exit__(None, None, None)
            raise
        for record in self._journal.records:
            if record.get("kind") == "run" and all(type(record.get(name)) is kind for name, kind in _KINDS.items()):
                self.results[record["architecture"], record["seed"]] = record["result"]
            elif record.get("kind") == "environment" and isinstance(record.get("text"), str):
                self._note(record["text"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.__exit__(kind, error, trace)

    def begin(self, environment: str) -> None:
        """Say where the next trainings are done; it is written with the first of them."""
        self._here = environment

    def put(self, architecture: str, seed: int, result: dict[str, Any]) -> None:
        """Keep one finished training; it survives the end of this process."""
        if self._here is not None:
            self._journal.append({"kind": "environment", "text": self._here})
            self._note(self._here)
            self._here = None
        self._journal.append({"kind": "run", "architecture": architecture, "seed": seed, "result": result})
        self.results[architecture, seed] = result

    def _note(self, environment: str) -> None:
        if environment not in self.environments:
            self.environments.append(environment)

    def _refuse_table(self) -> None:
        if self.table.exists():
            raise InputError(
                f"{self.table} exists, but not the trainings it was made of ({self.path.name}); write to another file"
            )
