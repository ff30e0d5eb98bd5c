"""Seconds spent in each stage of a probe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Clock:
    """Adds up the time of stages by name; a stage inside another one takes its time away from that.

    On CUDA it marks the stream with events and never waits: they are read when :attr:`seconds` is, after the pass.

    Args:
        device: Where the work runs.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._open: str | None = None
        self._seconds: dict[str, float] = {}
        self._unread: list[tuple[str, str | None, Any, Any]] = []

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        outer, self._open = self._open, stage
        start = self._mark()
        try:
            yield
        finally:
            self._unread.append((stage, outer, start, self._mark()))
            self._open = outer

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage so far; waits for work that is still under way."""
        for stage, outer, start, end in self._unread:
            spent = self._between(start, end)
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent
            if outer is not None:
                self._seconds[outer] = self._seconds.get(outer, 0.0) - spent
        self._unread.clear()
        return dict(self._seconds)

    def _mark(self) -> Any:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            return event
        if self._device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def _between(self, start: Any, end: Any) -> float:
        if self._device.type == "cuda":
            end.synchronize()
            return float(start.elapsed_time(end) / 1000)
        return float(end - start)
