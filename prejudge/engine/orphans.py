"""Processes that end with the one that started them, whatever kills it."""

from __future__ import annotations

import os
import signal
import sys

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
