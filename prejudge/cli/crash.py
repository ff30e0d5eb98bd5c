"""A word about a crash: what ends a process by a segmentation fault lets it say nothing, so another one says it."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prejudge.cli.stopping import RUN_AGAIN

_CRASH = re.compile(r"Fatal Python error: ([^\n]+)")
_PLACE = re.compile(r'File "([^"\n]+)", line (\d+)')
_DONE = b"\0"


@contextmanager
def crashes_said() -> Iterator[None]:
    """Within the block a process by fork waits for this one to crash, and says so in one line.

    Python's ``faulthandler`` writes where the crash was into a pipe to it. Nothing happens where that is in use
    already, or where there is no fork.
    """
    if not hasattr(os, "fork") or faulthandler.is_enabled():
        yield
        return
    heard, told = os.pipe()
    witness = os.fork()
    if witness == 0:
        os.close(told)
        _wait(heard)
    os.close(heard)
    faulthandler.enable(told, all_threads=False)
    try:
        yield
    finally:
        faulthandler.disable()
        with suppress(OSError):
            os.write(told, _DONE)
        os.close(told)
        with suppress(ChildProcessError):
            os.waitpid(witness, 0)


def _wait(heard: int) -> None:
    """The life of the witness: it ends with the process that it was forked from."""
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):  # it has the last word
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        os.close(1)  # whoever reads our output waits for its end
        text = b""
        while part := os.read(heard, 4096):
            text += part
        if text and not text.endswith(_DONE):
            os.write(2, f"prejudge: {_words(text.decode(errors='replace'))}\n".encode())
    finally:
        os._exit(0)


def _words(text: str) -> str:
    crash, place = _CRASH.search(text), _PLACE.search(text)
    what = crash[1] if crash else "a fatal error"
    where = f" in {place[1]}, line {place[2]}" if place else ""
    return (
        f"crashed ({what}){where}; finished results are kept, {RUN_AGAIN}. Where it has --workers, with --workers 2 a "
        "crash ends one worker alone, and its architecture is named"
    )
