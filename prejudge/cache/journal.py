"""The journal: new scores since the HDF5 file was last written, one checksummed line each, only ever appended to.

A line is the CRC-32 of the rest in eight hexadecimal digits, a blank and a JSON object. The first line says which state
of the HDF5 file the journal continues. A process killed while it writes leaves at most one incomplete last line.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from prejudge.cache.scores import Record
from prejudge.errors import FileFormatError, quoted
from prejudge.formats.atomic import BINARY, cannot_write, sync_folder
from prejudge.formats.text import parse_json

FORMAT = 1
SYNC_SECONDS = 1.0
"""A power failure loses about this much at most; a killed process loses nothing that was appended."""


@dataclass
class JournalContents:
    """What is in a journal.

    Attributes:
        follows: Identity of the HDF5 state that it continues; empty where not even the first line is whole.
        records: The sound records in order.
        damaged: Numbers (from 1) of the lines in the middle whose checksum is wrong.
        end: Bytes up to which it is worth keeping; what follows is an incomplete last line.
        size: Bytes of the whole file.
    """

    follows: str = ""
    records: list[Record] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    end: int = 0
    size: int = 0


def read_journal(path: Path) -> JournalContents | None:
    """Read the journal at ``path``; None where there is none.

    Raises:
        FileFormatError: It is of a newer format.
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
        found.damaged, unsound = found.damaged + unsound, []
        if record.get("kind") != "journal":
            found.records.append(record)
        elif not isinstance(record.get("follows"), str):
            raise FileFormatError(f"{path} does not say what it follows, so it is no journal; delete it")
        elif record.get("format") != FORMAT:
            raise FileFormatError(
                f"{path} is of journal format {quoted(record.get('format'))}; this prejudge reads {FORMAT}: update it"
            )
        else:
            found.follows = record["follows"]
    if unsound and (len(unsound) > 1 or content.endswith(b"\n")):  # a killed writer leaves one unfinished line
        found.damaged += unsound
        found.end = len(content)
    return found


def _encode(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _decode(line: bytes) -> Record | None:
    if len(line) < 10 or line[8:9] != b" " or line[-1:] != b"\n":
        return None
    text = line[9:-1]
    try:
        record = parse_json(text) if int(line[:8], 16) == zlib.crc32(text) else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


class Journal:
    """A journal open for appending; the caller holds the writer lock."""

    def __init__(self, path: Path, follows: str, resume_at: int = 0) -> None:
        """Open the journal.

        Args:
            path: The journal.
            follows: Identity of the HDF5 state that it continues.
            resume_at: Bytes of an existing journal to keep; 0 starts a new one.
        """
        self.path = path
        self.size = resume_at
        self._synced = time.monotonic()
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o666)
            os.ftruncate(self._descriptor, resume_at)
        except OSError as error:
            raise cannot_write(path, error) from error
        if not resume_at:
            self.append([{"kind": "journal", "format": FORMAT, "follows": follows}])
            sync_folder(path.parent)

    def append(self, records: Iterable[Record]) -> None:
        """Write records so that they survive the end of this process.

        Raises:
            PrejudgeError: They cannot be written; what was appended before is untouched.
        """
        content = b"".join(map(_encode, records))
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
