"""Writing a file so that it is the old one or the new one, and saying in one line why it could not be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prejudge.errors import PrejudgeError

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
BINARY = getattr(os, "O_BINARY", 0)
"""For :func:`os.open`: Windows changes line ends without it."""


def beside(path: Path, suffix: str) -> Path:
    """``FILE`` + ``suffix`` in the same folder."""
    return path.with_name(path.name + suffix)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Replace ``path`` by ``content``: at any moment, and after a power failure, it is the old file or the new one.

    Raises:
        PrejudgeError: The disk is full or the folder is read-only; ``path`` is untouched and nothing is left behind.
    """
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write; when the block ends well, it takes the place of ``path`` in one step.

    Raises:
        PrejudgeError: The disk is full or the folder is read-only; ``path`` is untouched and nothing is left behind.
    """
    part = beside(path, ".part")
    try:
        part.unlink(missing_ok=True)  # of a process that was killed: it may be a second name of a whole file
        part.touch()
        with suppress(OSError):
            part.chmod(path.stat().st_mode & 0o777)
        yield part
        descriptor = os.open(part, os.O_RDWR | BINARY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power failure, where the system can."""
    with suppress(OSError):  # Windows cannot open a folder, and some network disks cannot sync one
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> PrejudgeError:
    """The one line for a failed write."""
    if error.errno in _FULL:
        return PrejudgeError(
            f"cannot write {path}: the disk is full; what was saved before is safe, free space and run again"
        )
    if error.errno in _FORBIDDEN:
        return PrejudgeError(f"cannot write {path}: no permission or a read-only folder; choose another place")
    return PrejudgeError(f"cannot write {path}: {error.strerror or error}")
