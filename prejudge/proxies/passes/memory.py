"""Limits on how much of a job runs at once, and the smaller ones that are tried when memory runs out.

No score depends on it: a batch is never split, because batch norm couples its images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

IMAGES_IN_CACHE = 16
"""Images whose unfolded patches are held together on a CPU: few enough to stay in its cache."""


@dataclass(frozen=True)
class Limits:
    """Limits on what is held at once.

    Attributes:
        repeats: Networks that run as one.
        images: Images whose unfolded patches are held together.
    """

    repeats: int = 1
    images: int = IMAGES_IN_CACHE

    def smaller(self) -> Limits | None:
        """The next to try when these are too much: fewer repeats, then fewer images; None after one of each."""
        if self.repeats > 1:
            return replace(self, repeats=(self.repeats + 1) // 2)
        return replace(self, images=max(1, self.images // 4)) if self.images > 1 else None


def widest(device: torch.device, repeats: int, images: int) -> Limits:
    """The limits for a device with plenty of memory.

    Args:
        device: Where the passes run.
        repeats: How many there are to run.
        images: N.
    """
    return Limits(repeats) if device.type == "cpu" else Limits(repeats, images=repeats * images)


class Memory:
    """A device's memory: which limits fit, learned from what ran there.

    Args:
        device: The device; only CUDA's memory is watched.
        free: Gives the free bytes, or None where nobody knows.
    """

    def __init__(self, device: torch.device, free: Callable[[], int | None] | None = None):
        self.device = device
        self._free = free or self._free_on_device
        self._needs: dict[int, float] = {}  # bytes of one repeat, by the images held at once

    def fitting(self, limits: Limits) -> Limits:
        """The widest of ``limits`` and its smaller ones that should fit into what is free now."""
        free = self._free() if self._needs else None
        while free is not None and limits.repeats * self._needs.get(limits.images, 0) > free:
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
        self._needs[limits.images] = max(self._needs.get(limits.images, 0.0), needed / limits.repeats)

    def _free_on_device(self) -> int | None:
        if self.device.type != "cuda":
            return None
        held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + held
