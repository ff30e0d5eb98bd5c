"""A score: a float, or a stated failure."""

from __future__ import annotations

import math
from dataclasses import dataclass


class ScoreFailure(Exception):
    """Raised inside a proxy that has no value for this network; its message becomes the score's ``reason``."""


@dataclass(frozen=True, slots=True)
class Score:
    """The value of one proxy for one network, or the reason why there is none.

    Attributes:
        value: The score; NaN where it failed.
        reason: Why it failed, in one line; empty where it did not.
        seconds: What this score costs alone: the passes that it reads and its own arithmetic.
        remarks: What a reader of the value should know: that it was computed in a slow way, or why it is zero.
        digits: Decimal digits that a computation in float64 confirms, 0 to 7; None where it was not asked for, or
            cannot be made.
    """

    value: float
    reason: str = ""
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    digits: float | None = None

    @classmethod
    def failed(cls, reason: str, seconds: float = 0.0) -> Score:
        """A failed score with its reason."""
        return cls(math.nan, " ".join(reason.split()) or "unknown reason", seconds)

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return not self.reason

    @property
    def status(self) -> str:
        """``"ok"`` or ``"failed"``."""
        return "ok" if self.ok else "failed"

    def __float__(self) -> float:
        return self.value
