"""The published settings of HNAS, by the space that it searches."""

from __future__ import annotations

from dataclasses import dataclass

from prejudge.errors import unknown
from prejudge.search.bayesian.optimizer import Point


@dataclass(frozen=True)
class Setting:
    """Numbers of one search.

    Attributes:
        iterations: Points that the optimization asks for, probes included.
        exponents: Bounds of the decimal logarithm of the weight.
        acquisition: ``"ei"`` or ``"ucb"``.
        scale: The original's constant: the metric that a target of 1 means.
        draws: Candidates that are added to the pool before every selection; 0 for a pool that is there from the start.
    """

    iterations: int
    exponents: Point
    acquisition: str
    scale: float
    draws: int


TARGETS: Point = (0.0, 1.0)
"""Bounds of the target, as a share of the scale."""

SETTINGS = {
    "nasbench201": Setting(20, (-4.0, 0.0), "ei", 5e3, 2000),
    "darts": Setting(25, (-4.0, 1.0), "ucb", 1e2, 0),
}
"""As in shuyao95/HNAS 970789c; on ImageNet it makes 10 iterations."""


def probe_count(iterations: int) -> int:
    """How many of the points are at fixed places: a quarter, at most 10."""
    return min(10, iterations // 4)


def setting_for(space: str, name: str | None = None) -> Setting:
    """The setting called ``name``; by default ``darts`` for its spaces and ``nasbench201`` for any other.

    Raises:
        InputError: There is none of that name.
    """
    if name is None:
        name = "darts" if space.startswith("darts") else "nasbench201"
    if name not in SETTINGS:
        raise unknown("setting of hnas", name, SETTINGS)
    return SETTINGS[name]
