"""The progress bar of work on a cluster: it says how fast each node is, too."""

from __future__ import annotations

import time
from collections import Counter, deque

from prejudge.cli.progress import ProgressBar

WINDOW_SECONDS = 60.0
"""Rates are those of the last minute."""

_MOST_NAMED = 4
_REDRAW_SECONDS = 0.5


class NodeRates:
    """Jobs that each node has done, in all and lately."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self._lately: deque[tuple[float, str]] = deque()
        self._start: float | None = None

    def add(self, node: str, now: float) -> None:
        """Note a job that ``node`` has done at ``now`` (seconds)."""
        if self._start is None:
            self._start = now
        self.done[node] += 1
        self._lately.append((now, node))
        while self._lately[0][0] < now - WINDOW_SECONDS:
            self._lately.popleft()

    def rates(self, now: float) -> dict[str, float]:
        """Jobs per second of each node over the last minute, 0 for one that has done none in it."""
        if self._start is None:
            return {}
        seconds = max(1e-9, min(WINDOW_SECONDS, now - self._start))
        recent = Counter(node for at, node in self._lately if at >= now - WINDOW_SECONDS)
        return {node: recent[node] / seconds for node in self.done}

    def text(self, now: float) -> str:
        """The rates in a few words."""
        rates = self.rates(now)
        if len(rates) <= _MOST_NAMED:
            return ", ".join(f"{node} {rate:.3g}/s" for node, rate in sorted(rates.items()))
        low, high = min(rates.values()), max(rates.values())
        return f"{len(rates)} nodes {sum(rates.values()):.3g}/s, {low:.3g} to {high:.3g}/s each"


class ClusterBar(ProgressBar):
    """A progress bar whose :meth:`watch` is told the node of every job.

    Attributes:
        nodes: What each node has done; empty where the work is done on this machine.
    """

    def __init__(self, what: str, *, quiet: bool = False) -> None:
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
            self._bar.update(self._task, description=f"{self._what} ({self.nodes.text(now)})")

    @property
    def summary(self) -> str:
        """What each node has done, for the last line; empty where the work was done on this machine."""
        return ", ".join(f"{node} {count}" for node, count in sorted(self.nodes.done.items()))
