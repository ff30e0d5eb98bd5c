"""Keeping an eye on a Ray cluster: which nodes are up, and whether its head still answers."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

LOOK_SECONDS = 5.0
"""Seconds between two questions to the head."""

SILENT_SECONDS = 40.0
"""After so long without an answer the head is lost. A head that is started again in time is found again by Ray, which
itself gives up, and ends the process without a word, after 60 seconds."""


class Watch:
    """Asks the head for its nodes again and again, in a thread of its own: a question to a dead head blocks.

    Args:
        ray: The package, connected.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._nodes: list[dict[str, Any]] = ray.nodes()
        self._heard = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True, name="prejudge-ray-watch").start()

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes as they last were, as :func:`ray.nodes` describes them."""
        return self._nodes

    @property
    def silent(self) -> bool:
        """Whether the head is lost."""
        return time.monotonic() - self._heard > SILENT_SECONDS

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with suppress(Exception):  # no answer: the clock runs on
                self._nodes = self._ray.nodes()
                self._heard = time.monotonic()
