"""What a pruning search asks to be measured, and what comes back; plain values."""

from __future__ import annotations

from typing import NamedTuple

from prejudge.search.pruning.pruning_space import Active


class NetworkTask(NamedTuple):
    """A network to measure.

    Attributes:
        stage: Number of the draws.
        repeat: Which of them.
        name: Which network.
        active: What is left of the supernet.
        kernel: Whether the condition number is wanted.
        regions: Whether the regions are.
    """

    stage: int
    repeat: int
    name: str
    active: Active
    kernel: bool = True
    regions: bool = True

    def __str__(self) -> str:
        wanted = ("kernel " if self.kernel else "") + ("regions" if self.regions else "")
        return f"stage {self.stage}, repeat {self.repeat}: {self.name}: {wanted.strip()}"


class NetworkMeasurement(NamedTuple):
    """The figures of a network; NaN where one was not wanted or could not be had.

    Attributes:
        condition: Condition number of the kernel.
        regions: Number of linear regions.
        seconds: What it took.
        reason: Why a figure that was wanted is missing, in one line.
    """

    condition: float
    regions: float
    seconds: float
    reason: str = ""
