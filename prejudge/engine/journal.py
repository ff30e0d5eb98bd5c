"""The journal of a long run: its plan, and everything it has found, one checksummed line each, only ever appended to.

A line is the CRC-32 of the rest in eight hexadecimal digits, a blank and a JSON object. The first line holds the kind
of the journal, its format version and the plan. A process that is killed while it writes leaves at most one incomplete
last line, which the next one drops.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prejudge.engine.plan import check_plan, plain_plan
from prejudge.errors import FileFormatError, InputError, quoted
from prejudge.formats.atomic import BINARY, cannot_write, sync_folder
from prejudge.formats.lock import ORPHAN_SECONDS, writer_lock
from prejudge.formats.text import parse_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

VERSION = 1
SYNC_SECONDS = 1.0
"""A power failure loses about this much at most; a killed process loses nothing that was appended."""

_UNFINISHED = re.compile(rb"[0-9a-f]{0,8}( (\{[^\n]*)?)?\0*\Z")  # what a writer killed within the first line leaves


@dataclass
class JournalContents:
    """Everything in a journal.

    Attributes:
        kind: As the first line says; empty where that is damaged or not whole.
        plan: As the first line says; None where that is damaged or not whole.
        records: The sound records, in order.
        damaged: Numbers (from 1) of the lines in the middle whose checksum is wrong.
        end: Bytes up to which it is worth keeping; what follows is an incomplete last line.
        size: Bytes of the whole file.
    """

    kind: str = ""
    plan: dict[str, Any] | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    end: int = 0
    size: int = 0


def read_journal(path: Path) -> JournalContents | None:
    """Read the journal at ``path``, without a lock; None where there is none.

    Raises:
        FileFormatError: It cannot be read, its first line is another record, or it is of a newer version.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    found = JournalContents(size=len(content))
    unsound: list[int] = []
    position = 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        position += len(line)
        record = _decode(line)
        if record is None:
            unsound.append(number)
            continue
        found.end = position
        found.damaged += unsound
        unsound = []
        if number > 1:
            found.records.append(record)
            continue
        found.kind, found.plan, version = record.get("journal", ""), record.get("plan"), record.get("version")
        if not isinstance(found.kind, str) or not isinstance(found.plan, dict):
            raise FileFormatError(f"{path} does not begin with a plan, so it is not a journal; remove it")
        if version != VERSION:
            raise FileFormatError(
                f"{path} is of journal version {quoted(version)}; this prejudge reads {VERSION}: update it"
            )
    if unsound and (len(unsound) > 1 or content.endswith(b"\n")):  # a killed writer leaves one unfinished line
        found.damaged += unsound
        found.end = len(content)
    return found


class JournalWriter:
    """A journal open for appending; the caller holds a writer lock.

    Args:
        path: The journal.
        kind: The kind of run; it is written in the first line.
        plan: Plain values, for the first line.
        resume_at: Bytes of an existing journal to keep; 0 starts a new one.

    Attributes:
        size: Bytes of the file.

    Raises:
        PrejudgeError: The file cannot be written.
    """

    def __init__(self, path: Path, kind: str, plan: Mapping[str, Any], resume_at: int = 0) -> None:
        self.path = path
        self.size = resume_at
        self._synced = time.monotonic()
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o666)
            os.ftruncate(self._descriptor, resume_at)
            if not resume_at:
                self.append({"journal": kind, "version": VERSION, "plan": plan})
                sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise cannot_write(path, error) from error
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record so that it survives the end of this process.

        Raises:
            InputError: JSON cannot write it.
            PrejudgeError: It cannot be written; what was appended before is untouched.
        """
        try:
            content = _encode(record)
        except (TypeError, ValueError) as error:
            raise InputError(f"not plain values: {error}") from None
        start = os.fstat(self._descriptor).st_size
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self.size = start + len(content)
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self.sync()
        except OSError as error:
            os.ftruncate(self._descriptor, start)  # half a record must not stand in front of later ones
            raise cannot_write(self.path, error) from error

    def sync(self) -> None:
        """Make everything appended survive a power failure."""
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close the file; the journal stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Journal:
    """The journal of one run: what it found before, and what it finds now; a context manager.

    Within the block this process alone writes the file. One without a record, as a run that was killed at its start
    leaves it, begins again with any plan.

    Args:
        path: The file; it is made with its first line. Its folder must exist.
        plan: Everything on which the records depend, as plain JSON values.
        kind: The kind of run, such as ``"search"``.
        remedy: What to do about a journal of another run, for the message.
        keep_sound: Whether damaged lines in the middle cost only themselves; else a file that has any is refused.
        lock: The file whose writer lock is taken, if not that of ``path``.
        wait: Seconds to wait for that lock: by default as long as the workers of a killed process may take to end.

    Attributes:
        plan: The plan, as JSON gives it back.
        records: The records that were on file when the block was entered, in order.
        damaged: Numbers (from 1) of damaged lines, with ``keep_sound``.

    Raises:
        InputError: JSON cannot write the plan, or the file has another plan: the message names the fields that differ.
        FileFormatError: The file is something else, damaged or of a newer version.
        BusyError: Another process writes it.
        MissingDataError: The folder does not exist.
        PrejudgeError: The file cannot be written.

    Example:
        >>> with Journal(Path("run.journal"), {"seed": 0}, "search") as journal:        # doctest: +SKIP
        ...     done = len(journal.records)
        ...     journal.append({"architecture": "…", "value": 0.5})
    """

    def __init__(
        self,
        path: Path,
        plan: Mapping[str, Any],
        kind: str,
        *,
        remedy: str = "remove it, or choose another place",
        keep_sound: bool = False,
        lock: Path | None = None,
        wait: float | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.plan = plain_plan(plan)
        self.records: list[dict[str, Any]] = []
        self.damaged: list[int] = []
        self._remedy, self._keep_sound = remedy, keep_sound
        self._locked, self._wait = lock or path, wait
        self._writer: JournalWriter | None = None
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> Self:
        self._lock = writer_lock(self._locked, wait=ORPHAN_SECONDS if self._wait is None else self._wait)
        try:
            self._writer = JournalWriter(self.path, self.kind, self.plan, self._read())
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.sync()
        except OSError as failed:
            if error is None:
                raise cannot_write(self.path, failed) from failed
        finally:
            self._release()

    def append(self, record: Mapping[str, Any]) -> None:
        """Keep a record so that it survives the end of this process; it costs no wait for the disk.

        Raises:
            InputError: JSON cannot write it, or the journal is not open.
            PrejudgeError: It cannot be written; what was appended before is untouched.
        """
        if self._writer is None:
            raise InputError(f"{self.path} is not open: append within its with block")
        self._writer.append(record)

    def _read(self) -> int:
        """Take over the file that is there; returns how many of its bytes are kept."""
        found = read_journal(self.path)
        if found is None or not found.size:
            return 0
        if found.plan is None and not found.records:
            if _UNFINISHED.match(self.path.read_bytes()) is None:
                raise FileFormatError(f"{self.path} does not begin as a journal; {self._remedy}")
            return 0
        if found.plan is None or (found.damaged and not self._keep_sound):
            raise FileFormatError(f"{self.path}: line {(found.damaged or [1])[0]} is damaged; {self._remedy}")
        if found.kind != self.kind:
            raise FileFormatError(f"{self.path} is a journal of kind {quoted(found.kind)}; {self._remedy}")
        if not found.records and not found.damaged and found.plan != self.plan:
            return 0
        check_plan(self.path, found.plan, self.plan, self._remedy)
        self.records, self.damaged = found.records, found.damaged
        return found.end

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _encode(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _decode(line: bytes) -> dict[str, Any] | None:
    if len(line) < 10 or line[8:9] != b" " or line[-1:] != b"\n":
        return None
    text = line[9:-1]
    try:
        record = parse_json(text) if int(line[:8], 16) == zlib.crc32(text) else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
