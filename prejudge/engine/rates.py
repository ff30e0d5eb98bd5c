"""The speed of each node of a cluster."""

from __future__ import annotations

from collections import Counter, deque

WINDOW_SECONDS = 60.0
"""Rates are those of the last minute."""

_MOST_NAMED = 4


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
