"""The writer lock: one process at a time writes a file; the kernel frees the lock when the process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prejudge.cache.files import beside, cannot_write
from prejudge.errors import BusyError, MissingDataError

if TYPE_CHECKING:
    from filelock import FileLock


def writer_lock(path: Path) -> FileLock:
    """Take the writer lock of ``path`` (``FILE.lock``, which stays behind: removing it would let two writers in).

    Raises:
        MissingDataError: The folder does not exist.
        BusyError: Another process holds it.
        PrejudgeError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    where = beside(path, ".lock")
    if not path.parent.is_dir():
        raise MissingDataError(f"no folder {path.parent} for {path.name}; make it first")
    lock = FileLock(where)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{path} is being written by {_holder(where)}; wait for it, or write elsewhere") from None
    except OSError as error:
        raise cannot_write(path, error) from error
    with suppress(OSError):  # Windows does not let a locked file be written
        where.write_text(str(os.getpid()))
    return lock


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within it, this process alone writes ``path``; raises what :func:`writer_lock` raises."""
    lock = writer_lock(path)
    try:
        yield
    finally:
        lock.release()


def _holder(lock: Path) -> str:
    with suppress(OSError, ValueError):
        return f"process {int(lock.read_text())}"
    return "another process"
