"""Bayesian optimization of target and weight, by the package ``bayesian-optimization``, as ask and tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from prejudge.errors import unknown

Point = tuple[float, float]
"""A target as a share of the scale, and the decimal logarithm of a weight."""

ACQUISITIONS = ("ei", "ucb", "poi")


class BayesianOptimizer:
    """Asks for points and is told their values, higher is better.

    The Gaussian process is the package's default, Matérn 5/2, which is also the original's.

    Args:
        targets: Bounds of the target.
        exponents: Bounds of the weight's logarithm.
        probes: Points to ask for first.
        acquisition: ``"ei"`` (expected improvement), ``"ucb"`` (upper confidence bound, 2.576 deviations) or ``"poi"``
            (probability of improvement).
        seed: Of the package's random numbers.

    Attributes:
        seconds: Time spent in the package so far.

    Raises:
        InputError: The acquisition is none of these.
    """

    def __init__(self, targets: Point, exponents: Point, probes: Sequence[Point], acquisition: str, seed: int) -> None:
        from bayes_opt import BayesianOptimization
        from bayes_opt.acquisition import ExpectedImprovement, ProbabilityOfImprovement, UpperConfidenceBound

        if acquisition not in ACQUISITIONS:
            raise unknown("acquisition", acquisition, ACQUISITIONS)
        functions: dict[str, Callable[[], Any]] = {
            "ei": partial(ExpectedImprovement, xi=0.0),
            "ucb": UpperConfidenceBound,
            "poi": partial(ProbabilityOfImprovement, xi=0.0),
        }
        self.seconds = 0.0
        self._probes = list(probes)
        self._told: set[Point] = set()
        self._failed: list[Point] = []
        self._worst = np.inf
        with self._timed():
            self._package = BayesianOptimization(
                f=None,
                pbounds={"target": targets, "exponent": exponents},
                acquisition_function=functions[acquisition](),
                random_state=seed,
                verbose=0,
            )

    def ask(self) -> Point:
        """The next point; it may be one that was asked for before."""
        if self._probes:
            return self._probes.pop(0)
        with self._timed():
            found: dict[str, Any] = self._package.suggest()
        return float(found["target"]), float(found["exponent"])

    def take_probes(self, count: int) -> list[Point]:
        """The first points that have fixed places, at most ``count``; they are not asked for again."""
        taken, self._probes = self._probes[:count], self._probes[count:]
        return taken

    def knows(self, point: Point) -> bool:
        """Whether its value has been told."""
        return point in self._told

    def tell(self, point: Point, value: float) -> None:
        """The value of a point; NaN where it failed, which counts as the worst of all values that were told so far."""
        self._told.add(point)
        if value == value:
            self._worst = min(self._worst, value)
            told = [(point, value), *((p, self._worst) for p in self._failed)]
            self._failed = []
        elif self._worst < np.inf:
            told = [(point, self._worst)]
        else:
            told = []
            self._failed.append(point)
        with self._timed():
            for (target, exponent), known in told:
                self._package.register({"target": target, "exponent": exponent}, known)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start


def probes(count: int, targets: Point, exponents: Point) -> list[Point]:
    """The original's first points: ``count`` targets at equal distances, the middle of the weights."""
    middle = (exponents[0] + exponents[1]) / 2
    return [(float(t), middle) for t in np.linspace(*targets, count)]
