"""Resuming a search: its evaluations are kept as they come, and replayed when it is started again.

A method draws from its seed alone, so a search that starts again asks the same questions in the same order. Answers
that are on file are given from there; with the first one that is not, it goes on live.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from prejudge.errors import FileFormatError, InputError
from prejudge.formats.text import parse_json
from prejudge.search.objectives.base import Evaluation
from prejudge.spaces.base import Architecture


class Journal:
    """The evaluations of one search, one JSON line each; a context manager.

    Args:
        path: The file; made if need be. A half-written last line is dropped.
        plan: What the search is: method, options, objective, budget and seed. It opens the file.

    Raises:
        InputError: The file belongs to another search.
        FileFormatError: It is no journal.
    """

    def __init__(self, path: Path, plan: dict[str, object]) -> None:
        self.path = path
        self._known: list[tuple[str, int | None, Evaluation]] = []
        self._next = 0
        head = json.dumps({"search": plan}, sort_keys=True, default=str)
        end = 0
        if path.is_file():
            content = path.read_bytes()
            end = content.rfind(b"\n") + 1
            lines = content[:end].decode("utf-8", errors="replace").splitlines()
            if lines and lines[0] != head:
                raise InputError(f"{path} was begun by another search; remove it, or choose another output file")
            self._known = [_read(path, number, line) for number, line in enumerate(lines[1:], start=2)]
        self._file = path.open("r+b" if path.is_file() else "w+b")
        self._file.truncate(end)
        self._file.seek(end)
        if end == 0:
            self._write(head)

    def answer(self, arch: Architecture, epochs: int | None, evaluate: Callable[[], Evaluation]) -> Evaluation:
        """The next evaluation: as it is on file, or a new one, which is kept.

        Raises:
            InputError: What is on file answers another question, so it is not this search's.
        """
        text = str(arch)
        if self._next < len(self._known):
            known, schedule, found = self._known[self._next]
            if (known, schedule) != (text, epochs):
                raise InputError(
                    f"{self.path}, line {self._next + 2}: the search now asks for {text}; the file was written by "
                    "another version; remove it to start again"
                )
            self._next += 1
            return found
        found = evaluate()
        value = None if math.isnan(found.value) else found.value
        self._write(json.dumps([text, epochs, value, found.seconds]))
        return found

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.write(line.encode() + b"\n")
        self._file.flush()


def _read(path: Path, number: int, line: str) -> tuple[str, int | None, Evaluation]:
    try:
        text, epochs, value, seconds = parse_json(line)
        if not isinstance(text, str) or not isinstance(epochs, int | None):
            raise TypeError("no architecture and schedule")
        return text, epochs, Evaluation(math.nan if value is None else float(value), float(seconds))
    except (ValueError, TypeError, OverflowError) as error:
        raise FileFormatError(f"{path}, line {number}: no evaluation of a search ({error})") from None
