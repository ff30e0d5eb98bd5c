"""How much of a job runs at once, and what is tried when the device's memory does not hold it.

No score depends on it: a batch is never split, because batch norm couples its images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

IMAGES_IN_CACHE = 16
"""Images whose unfolded patches are held together on a CPU: few enough to stay in its cache."""

ROWS_AT_ONCE = 8
"""Rows of the exact kernel in one backward pass of an accelerator, where launches are the cost."""


@dataclass(frozen=True)
class Limits:
    """How much is held at once.

    Attributes:
        repeats: Networks that run as one.
        batched: Whether the first-order backwards run as one, which holds the gradients of all of them.
        images: Images whose unfolded patches are held together.
        rows: Rows of the exact kernel in one backward pass.
    """

    repeats: int = 1
    batched: bool = False
    images: int = IMAGES_IN_CACHE
    rows: int = 1

    def smaller(self) -> Limits | None:
        """The next to try when these are too much: fewer repeats, then backwards one by one, then fewer images."""
        if self.repeats > 1:
            return replace(self, repeats=(self.repeats + 1) // 2)
        if self.batched:
            return replace(self, batched=False)
        if self.images > 1 or self.rows > 1:
            return replace(self, images=max(1, self.images // 4), rows=max(1, self.rows // 4))
        return None


def widest(device: torch.device, repeats: int, images: int) -> Limits:
    """What suits a device whose memory is no concern.

    Args:
        device: Where the passes run.
        repeats: How many there are to run.
        images: N.
    """
    if device.type == "cpu":
        return Limits(repeats)
    return Limits(repeats, batched=device.type == "cuda", images=repeats * images, rows=min(ROWS_AT_ONCE, images))


class Memory:
    """What fits on a device, learned from what ran there.

    Args:
        device: The device; only CUDA's memory is watched.
        free: Gives the free bytes, or None where nobody knows.
    """

    def __init__(self, device: torch.device, free: Callable[[], int | None] | None = None):
        self.device = device
        self._free = free or self._free_on_device
        self._needs: dict[tuple[bool, int], float] = {}  # bytes of one repeat, by what else is held at once

    def fitting(self, limits: Limits) -> Limits:
        """The widest of ``limits`` and its smaller ones that should fit into what is free now."""
        free = self._free() if self._needs else None
        while free is not None and limits.repeats * self._needs.get(_kind(limits), 0) > free:
            smaller = limits.smaller()
            if smaller is None:
                break
            limits = smaller
        return limits

    def start(self) -> None:
        """Begin to watch one job."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def fitted(self, limits: Limits) -> None:
        """Learn from a job that ran within ``limits``."""
        if self.device.type == "cuda":
            self._learn(limits, torch.cuda.max_memory_allocated(self.device))

    def ran_out(self, limits: Limits) -> None:
        """Learn from a job that did not fit, and give back what the allocator holds."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._learn(limits, (self._free() or 0) + 1)

    def _learn(self, limits: Limits, needed: float) -> None:
        kind = _kind(limits)
        self._needs[kind] = max(self._needs.get(kind, 0.0), needed / limits.repeats)

    def _free_on_device(self) -> int | None:
        if self.device.type != "cuda":
            return None
        held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + held


def _kind(limits: Limits) -> tuple[bool, int]:
    return limits.batched, limits.rows
