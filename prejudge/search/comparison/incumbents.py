"""The best architecture of every run at every budget, and the mean accuracy of those."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prejudge.report.searches.data import FEWEST_RUNS
from prejudge.search.result import SearchResult, Trajectory

_POINTS = 100
_ROUNDING = 1 + 1e-12
"""Sums of seconds may miss a budget by their last digits."""


class Incumbents:
    """The architectures that the runs of one search would recommend if they had to stop.

    Before its first valued evaluation a run has none. One that has no value at all (a pruning, which evaluates
    nothing) has its recommendation after its last step. A run that has ended keeps what it had.

    Args:
        result: The runs.

    Attributes:
        architectures: Texts of all architectures that were ever the best, or recommended; the rest are numbers of them.
        recommended: Number of each run's recommendation, shape ``(runs,)``.
        best: Number of each run's last incumbent, shape ``(runs,)``.
        queries: Evaluations of each run, shape ``(runs,)``.
        seconds: What they cost, shape ``(runs,)``.
    """

    def __init__(self, result: SearchResult) -> None:
        number: dict[str, int] = {}
        self._incumbents: list[np.ndarray] = []
        self._spent: list[np.ndarray] = []
        recommended = []
        for run in result.trajectories:
            recommended.append(number.setdefault(run.recommendation, len(number)))
            self._incumbents.append(_numbered(run, number, recommended[-1]))
            self._spent.append(np.cumsum(run.seconds) if len(run.seconds) else np.zeros(1))
        self.architectures = list(number)
        self.recommended = np.array(recommended)
        self.best = np.array([i[-1] for i in self._incumbents])
        self.queries = np.array([len(run.values) for run in result.trajectories])
        self.seconds = np.array([s[-1] for s in self._spent])

    def at(self, axis: str, budgets: np.ndarray) -> np.ndarray:
        """Number of the best architecture of each run within each budget; -1 where a run has none yet.

        Args:
            axis: ``"seconds"``: what the evaluations cost; or ``"queries"``: how many there were.
            budgets: Shape ``(points,)``.

        Returns:
            Shape ``(runs, points)``.
        """
        found = np.full((len(self._incumbents), len(budgets)), -1)
        for row, best, steps in zip(found, self._incumbents, self._steps(axis, budgets), strict=True):
            row[steps > 0] = best[steps[steps > 0] - 1]
        return found

    def used(self, axis: str, budget: float) -> tuple[np.ndarray, np.ndarray]:
        """Evaluations of each run within a budget, and their seconds, each of shape ``(runs,)``."""
        steps = [int(s[0]) for s in self._steps(axis, np.array([budget]))]
        queries = np.minimum(steps, self.queries)
        return queries, np.array([s[k - 1] if k else 0.0 for s, k in zip(self._spent, steps, strict=True)])

    def begin(self, axis: str) -> float:
        """The budget from which every run has an incumbent."""
        first = [int(np.argmax(i >= 0)) for i in self._incumbents]
        if axis == "queries":
            return float(max(first) + 1)
        return float(max(s[k] for s, k in zip(self._spent, first, strict=True)))

    def _steps(self, axis: str, budgets: np.ndarray) -> list[np.ndarray]:
        """Evaluations of each run that are over within each budget."""
        if axis == "queries":
            whole = np.floor(budgets * _ROUNDING).astype(np.intp)
            return [np.minimum(whole, len(i)) for i in self._incumbents]
        return [np.searchsorted(s, budgets * _ROUNDING, side="right") for s in self._spent]


@dataclass(frozen=True, eq=False)
class Band:
    """Accuracy over runs at each budget, arrays of shape ``(points,)``, NaN where some run has no incumbent yet.

    Attributes:
        mean: The mean over the runs whose architecture has an accuracy.
        low: Lower end of the mean's t interval; NaN where :func:`mean_interval` has none.
        high: Its upper end.
        median: The median.
        q25: The lower quartile.
        q75: The upper quartile.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    median: np.ndarray
    q25: np.ndarray
    q75: np.ndarray


def band(incumbents: Incumbents, accuracies: np.ndarray, axis: str, budgets: np.ndarray, confidence: float) -> Band:
    """Mean and quartiles over the runs of a search, at each budget.

    Args:
        incumbents: The search.
        accuracies: Of its :attr:`Incumbents.architectures`, in their order; NaN where unknown.
        axis: As in :meth:`Incumbents.at`.
        budgets: Shape ``(points,)``.
        confidence: Coverage of the intervals of the mean.
    """
    numbers = incumbents.at(axis, budgets)
    values = np.where(numbers >= 0, accuracies[numbers], np.nan)
    shown = (numbers >= 0).all(axis=0) & np.isfinite(values).any(axis=0)
    columns = np.full((6, len(budgets)), np.nan)
    if shown.any():
        kept = values[:, shown]
        mean, half = mean_interval(kept, confidence)
        q25, median, q75 = np.nanquantile(kept, [0.25, 0.5, 0.75], axis=0)
        columns[:, shown] = [mean, mean - half, mean + half, median, q25, q75]
    return Band(*columns)


def mean_interval(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis without NaN, and half the width of its t interval.

    Without an interval, NaN, are fewer than :data:`FEWEST_RUNS` values, and values that are all equal: they
    show no spread to judge by, and an interval without width would claim certainty.
    """
    from scipy.stats import t

    count = np.isfinite(values).sum(axis=0)
    known = np.where(count > 0, count, 1)
    mean = np.where(count > 0, np.nansum(values, axis=0) / known, np.nan)
    squares = np.nansum((values - mean) ** 2, axis=0)
    freedom = np.where(count > 1, count - 1, 1)
    half = t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(squares / freedom / known)
    with np.errstate(invalid="ignore"):
        finite = np.where(np.isfinite(values), values, mean)
    spread = np.max(finite, axis=0) > np.min(finite, axis=0)
    return mean, np.where((count >= FEWEST_RUNS) & spread, half, np.nan)


def grid(start: float, stop: float, marks: list[float], *, whole: bool) -> np.ndarray:
    """Budgets at which curves are drawn: evenly spaced ones and evenly spaced logarithms, and the marks.

    Args:
        start: The first; positive.
        stop: The last.
        marks: Others, such as the ends of curves.
        whole: Whether only whole numbers make sense; few of them are taken one by one.
    """
    if whole and stop - start <= 2 * _POINTS:
        return np.arange(start, stop + 1)
    spaced = np.concatenate([np.linspace(start, stop, _POINTS), np.geomspace(start, stop, _POINTS)])
    spaced[[0, _POINTS]], spaced[[_POINTS - 1, -1]] = start, stop  # not what rounding makes of them
    return np.unique(np.concatenate([np.rint(spaced) if whole else spaced, [m for m in marks if start <= m <= stop]]))


def _numbered(run: Trajectory, number: dict[str, int], recommended: int) -> np.ndarray:
    """Number of the incumbent's architecture after each step; the recommendation's at the end where there is none."""
    if not len(run.values):
        return np.array([recommended])
    steps = run.incumbents()
    kept, inverse = np.unique(steps, return_inverse=True)
    texts = [-1 if k < 0 else number.setdefault(run.architectures[k], len(number)) for k in kept.tolist()]
    found = np.array(texts)[inverse]
    if found[-1] < 0:
        found[-1] = recommended
    return found
