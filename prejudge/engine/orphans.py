"""Processes that end with the one that started them, whatever kills it; and threads that may never end."""

from __future__ import annotations

import os
import signal
import sys
import threading

HUNG = "prejudge-hung"
"""The name of a thread that may never come back: the process must end without it, and without what it is in."""

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def end_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process when the thread that started it ends; elsewhere than on Linux nothing happens.

    It needs no turn of the interpreter, so that a process ends that is in the middle of a long operation, too.

    Args:
        parent: The process that started this one, where it may have ended already: then this one ends here.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def is_hung() -> bool:
    """Whether a thread has not come back, so that the usual end of the process might not, either."""
    return any(thread.name == HUNG for thread in threading.enumerate())
