"""The finished trainings of a table, one checksummed line each, beside it: what makes ``bench train`` resumable."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prejudge.cache.journal import Journal, JournalContents, read_journal
from prejudge.errors import FileFormatError, InputError, quoted
from prejudge.formats.atomic import beside
from prejudge.formats.lock import writer_lock

_FIRST_LINE = re.compile(rb"[0-9a-f]{0,8}( (\{[^\n]*)?)?\Z")


class RunLog:
    """Open for appending while a ``with`` block runs; one process at a time.

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
        self.plan: dict[str, Any] = json.loads(json.dumps(plan))  # as it will be read back
        self.results: dict[tuple[str, int], dict[str, Any]] = {}
        self.environments: list[str] = []

    def __enter__(self) -> Self:
        self._lock = writer_lock(self.table)
        try:
            self._journal = self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._journal.sync()
        finally:
            self._journal.close()
            self._lock.release()

    def begin(self, environment: str) -> None:
        """Say where the next trainings are done."""
        self._journal.append([{"kind": "environment", "text": environment}])
        if environment not in self.environments:
            self.environments.append(environment)

    def put(self, architecture: str, seed: int, result: dict[str, Any]) -> None:
        """Keep one finished training; it survives the end of this process."""
        self._journal.append([{"kind": "run", "architecture": architecture, "seed": seed, "result": result}])
        self.results[architecture, seed] = result

    def _open(self) -> Journal:
        digest = hashlib.sha256(json.dumps(self.plan, sort_keys=True).encode()).hexdigest()[:16]
        found = read_journal(self.path)
        if found is None or not found.size or self._nothing_finished(found):
            if self.table.exists():
                raise InputError(
                    f"{self.table} exists, but not the trainings it was made of ({self.path.name}); "
                    f"write to another file"
                )
            journal = Journal(self.path, digest)
            journal.append([{"kind": "plan", "plan": self.plan}])
            return journal
        plans = [r["plan"] for r in found.records if r.get("kind") == "plan" and isinstance(r.get("plan"), dict)]
        if found.follows != digest:
            self._refuse(plans)
        for record in found.records:
            if _is_run(record):
                self.results[record["architecture"], record["seed"]] = record["result"]
            elif record.get("kind") == "environment" and record.get("text") not in (None, *self.environments):
                self.environments.append(str(record["text"]))
        # A line damaged in the middle costs its training, which is done again; the file itself goes on.
        return Journal(self.path, digest, resume_at=found.end)

    def _nothing_finished(self, found: JournalContents) -> bool:
        """Whether this was ended before its first training was: then it may begin again, with any plan."""
        if found.damaged:
            return False
        if not found.follows:  # ended within the first line; any other file is not ours
            return _FIRST_LINE.match(self.path.read_bytes()) is not None
        return not any(r.get("kind") == "run" for r in found.records)

    def _refuse(self, plans: list[dict[str, Any]]) -> None:
        if not plans:
            raise FileFormatError(
                f"{self.path} does not begin as a list of trainings; delete it or write to another file"
            )
        changes = _differences(plans[0], self.plan)
        old = [p for p in (self.table, self.path) if p.exists()]
        raise InputError(
            f"{self.table} was begun with {'; '.join(changes) or 'another recipe'}: "
            f"write to another file, or delete {' and '.join(p.name for p in old)} to begin again"
        )


def _is_run(record: dict[str, Any]) -> bool:
    """Whether a record is a finished training; what is none costs its training, which is done again."""
    kinds = {"architecture": str, "seed": int, "result": dict}
    return record.get("kind") == "run" and all(type(record.get(name)) is kind for name, kind in kinds.items())


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """``NAME OLD, not NEW`` for every plain value that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [d for key in keys for d in _differences(old.get(key), new.get(key), f"{name} {key}".strip())]
    was, now = (value if isinstance(value, str) else quoted(value) for value in (old, new))
    return [] if old == new else [f"{name} {was}, not {now}"]
