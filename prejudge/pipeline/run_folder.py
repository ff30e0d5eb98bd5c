"""The folder of a run: which steps are done, with which arguments, and what they took."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prejudge.engine.journal import Journal
from prejudge.errors import InputError
from prejudge.formats.atomic import make_folder
from prejudge.pipeline.chain import Chain, Step

JOURNAL = "run.journal"
REPLACED = "replaced"
"""Subfolder for results whose step has other arguments now."""


class RunFolder:
    """The folder of a chain while its steps are done: a context manager that lets one process at a time work there.

    Args:
        out: The folder; it is made if need be.
        chain: The steps to do there.

    Raises:
        InputError: The folder holds something else.
        FileFormatError: Its journal is damaged, or of a later version.
        BusyError: Another process works there.
    """

    def __init__(self, out: Path, chain: Chain) -> None:
        self.out, self.chain = out, chain
        self._latest: dict[str, dict[str, Any]] = {}
        self._journal = Journal(
            out / JOURNAL, {}, "run", remedy="remove it to do all steps again, or choose another --out"
        )

    def __enter__(self) -> Self:
        if self.out.is_dir() and not (self.out / JOURNAL).exists() and any(map(_is_foreign, self.out.iterdir())):
            raise InputError(f"{self.out} is not empty and not the folder of a run; choose another --out")
        make_folder(self.out)
        self._journal.__enter__()
        self._latest = {str(record.get("step")): record for record in self._journal.records}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.__exit__(kind, error, trace)

    def is_done(self, step: Step) -> bool:
        """Whether the result of a step is there, made with the arguments that it has now."""
        latest = self._latest.get(step.name, {})
        made = latest.get("done") and latest.get("key") == self.chain.key(step)
        return bool(made) and step.place(self.out).exists()

    def seconds(self, step: Step) -> float | None:
        """Seconds that a step took, in all calls together; None where that is not known."""
        found = self._latest.get(step.name, {}).get("seconds")
        return float(found) if isinstance(found, int | float) and 0 <= found < 1e12 else None

    def begin(self, step: Step) -> Path | None:
        """Record that a step is begun, and make room for it.

        Returns:
            The place to which the results of other arguments were moved; None where there were none.
        """
        key, latest = self.chain.key(step), self._latest.get(step.name, {})
        moved = None
        folder = self.out / step.folder
        if latest.get("key") != key and folder.exists() and any(folder.iterdir()):
            moved = _free(self.out / REPLACED / step.folder)
            make_folder(moved.parent)
            folder.rename(moved)
        make_folder(folder)
        before = self.seconds(step) if latest.get("key") == key else None
        self._record(step, done=False, seconds=before or 0.0)
        return moved

    def end(self, step: Step, seconds: float, *, done: bool) -> None:
        """Record that a step has ended or was interrupted, ``seconds`` after it was begun by this call."""
        self._record(step, done=done, seconds=(self.seconds(step) or 0.0) + seconds)

    def _record(self, step: Step, *, done: bool, seconds: float) -> None:
        record = {
            "step": step.name,
            "key": self.chain.key(step),
            "command": " ".join(["prejudge", *self.chain.words(step, self.out)]),
            "result": str(step.place(self.out).relative_to(self.out)),
            "done": done,
            "seconds": round(seconds, 2),
            "at": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        self._journal.append(record)
        self._latest[step.name] = record


def _is_foreign(path: Path) -> bool:
    """Whether an entry of the folder was not left by a run that was killed at its start."""
    if path.is_dir() and not path.is_symlink():
        return any(path.iterdir())
    return not path.name.startswith("run.")


def _free(path: Path) -> Path:
    number = 1
    while (found := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return found
