"""The progress of long work, on standard error: a bar in a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from prejudge.errors import visible

_REDRAW_SECONDS = 0.5
_LINE_SECONDS = 60.0


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

        self.done = self._total = 0
        console = Console(stderr=True)
        self._lines = None if quiet or console.is_terminal else threading.Event()
        self._begin = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=quiet,
        )
        self._text = visible(what)
        self._task = self._bar.add_task(self._text, total=None)

    def __enter__(self) -> Self:
        if self._lines is not None:
            threading.Thread(target=self._print_lines, args=(self._lines,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.set()
        if self.done:
            self._bar.stop()

    def __call__(self, done: int, total: int, seconds: float = 0.0) -> None:
        """Jobs done, of all jobs, after so many seconds."""
        if not self.done:  # nothing is shown where there is nothing to do
            self._bar.start()
        self.done, self._total = done, total
        self._bar.update(self._task, completed=done, total=total)

    def describe(self, text: str) -> None:
        """Change the text before the bar."""
        self._text = visible(text)
        self._bar.update(self._task, description=self._text)

    def _print_lines(self, ended: threading.Event) -> None:
        """Say every minute how far the work is, in a thread: one job may take longer than that."""
        while not ended.wait(_LINE_SECONDS):
            print(f"prejudge: {self._state(time.monotonic() - self._begin)}", file=sys.stderr, flush=True)

    def _state(self, seconds: float) -> str:
        elapsed = f"{self._text}: {duration(seconds)} so far"
        if not self.done:
            return f"{elapsed}, nothing finished yet"
        left = seconds / self.done * (self._total - self.done)
        return f"{elapsed}, {self.done} of {self._total} done, about {duration(left)} left"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, such as ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


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
