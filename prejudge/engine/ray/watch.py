"""Keeping an eye on a Ray cluster: which nodes are up, and whether its head still answers."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from prejudge.errors import PrejudgeError

LOOK_SECONDS = 5.0
"""Seconds between two questions to the head."""

SILENT_SECONDS = 30.0
"""After so long without an answer the head is lost. A head that is started again in time is found again by Ray, which
itself gives up, and ends the process without a word, after 60 seconds."""

LAST_SECONDS = 36.0
"""After so long this process ends: whoever asked Ray for something meanwhile waits in vain, and cannot be told."""

LOST = "the head of the Ray cluster has stopped answering; finished results are kept, run again to go on"


class Watch:
    """Asks the head for its nodes again and again, in a thread of its own: a question to a dead head blocks.

    Args:
        ray: The package, connected.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._nodes: list[dict[str, Any]] = []
        self._answered = threading.Event()
        self._heard = time.monotonic()
        self._over = threading.Event()
        for name, work in (("watch", self._look), ("deadline", self._hold_the_deadline)):
            threading.Thread(target=work, daemon=True, name=f"prejudge-ray-{name}").start()

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes as they last were, as :func:`ray.nodes` describes them; raises what :meth:`check` raises."""
        self._answered.wait(SILENT_SECONDS)
        self.check()
        return self._nodes

    @property
    def silent(self) -> bool:
        """Whether the head is lost."""
        return time.monotonic() - self._heard > SILENT_SECONDS

    def check(self) -> None:
        """Raise :class:`PrejudgeError` where the head is lost."""
        if self.silent:
            raise PrejudgeError(LOST)

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.is_set():
            with suppress(Exception):  # no answer: the clock runs on
                self._nodes = self._ray.nodes()
                self._heard = time.monotonic()
                self._answered.set()
            self._over.wait(LOOK_SECONDS)

    def _hold_the_deadline(self) -> None:
        while not self._over.wait(1.0):
            if time.monotonic() - self._heard > LAST_SECONDS:
                print(f"prejudge: {LOST}", file=sys.stderr, flush=True)
                os._exit(1)
