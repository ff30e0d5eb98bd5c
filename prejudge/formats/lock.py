"""The writer lock: one process at a time writes a file; the kernel frees the lock when the process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prejudge.errors import BusyError, MissingDataError
from prejudge.formats.atomic import beside, cannot_write

if TYPE_CHECKING:
    from filelock import BaseFileLock

ORPHAN_SECONDS = 10.0
"""Seconds to wait for the workers of a killed process, which end a moment after it, to let go of its lock."""


def writer_lock(path: Path, *, wait: float = 0.0) -> BaseFileLock:
    """Take the writer lock of ``path`` (``FILE.lock``, which stays behind: removing it would let two writers in).

    Args:
        path: The file that is to be written.
        wait: Seconds to wait for another process that holds the lock.

    Raises:
        MissingDataError: The folder does not exist.
        BusyError: Another process holds the lock.
        PrejudgeError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    where = beside(path, ".lock")
    if not path.parent.is_dir():
        raise MissingDataError(f"no folder {path.parent} for {path.name}; make it first")
    lock = FileLock(where)
    try:
        lock.acquire(timeout=wait, poll_interval=0.1)
    except Timeout:
        raise BusyError(f"{path} is being written by {_holder(where)}; wait for it, or write elsewhere") from None
    except OSError as error:
        raise cannot_write(path, error) from error
    with suppress(OSError):  # Windows does not let a locked file be written
        where.write_text(str(os.getpid()))
    return lock


@contextmanager
def alone(path: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the writer lock of ``path`` within the block; raises what :func:`writer_lock` raises."""
    lock = writer_lock(path, wait=wait)
    try:
        yield
    finally:
        lock.release()


def _holder(lock: Path) -> str:
    with suppress(OSError, ValueError):
        return f"process {int(lock.read_text())}"
    return "another process"
