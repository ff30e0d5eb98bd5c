"""The progress bar of long work, on standard error, with the time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from prejudge.errors import visible

_REDRAW_SECONDS = 0.5


class ProgressBar:
    """A bar while a ``with`` block runs; itself what the rooms take as their ``progress``.

    Args:
        what: The work, e.g. ``"scoring"``.
        quiet: Show nothing.

    Attributes:
        done: Jobs that were done in this block; 0 where there was nothing to do.
    """

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.done = 0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task = self._bar.add_task(visible(what), total=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.done:
            self._bar.stop()

    def __call__(self, done: int, total: int, seconds: float = 0.0) -> None:
        """Jobs done, of all jobs, after so many seconds."""
        if not self.done:  # nothing is shown where there is nothing to do
            self._bar.start()
        self.done = done
        self._bar.update(self._task, completed=done, total=total)

    def describe(self, text: str) -> None:
        """Change the text before the bar."""
        self._bar.update(self._task, description=visible(text))


class ClusterBar(ProgressBar):
    """The progress bar of work that may run on a cluster: :meth:`watch` is called with the node of every job.

    Attributes:
        nodes: The jobs of each node; empty where the work is done on this machine.
    """

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        from prejudge.engine.rates import NodeRates

        super().__init__(what, quiet=quiet)
        self.nodes = NodeRates()
        self._what = what
        self._drawn = 0.0

    def watch(self, node: str) -> None:
        """Note a job that ``node`` has just done."""
        now = time.monotonic()
        self.nodes.add(node, now)
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            self.describe(f"{self._what} ({self.nodes.text(now)})")

    @property
    def summary(self) -> str:
        """The number of jobs of each node, in words; empty where the work was done on this machine."""
        return ", ".join(f"{node} {count}" for node, count in sorted(self.nodes.done.items()))
