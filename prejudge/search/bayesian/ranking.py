"""HNAS's ranking: a target and a weight turn two training-free scores into one order of architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prejudge.errors import InputError

_GUARD = 1e-6
"""Added to the metric under the condition number; the original's constant."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Architectures and the two scores of each.

    Attributes:
        architectures: Their texts.
        metric: M, the training-free metric: NaN where it failed, shape ``(n,)``.
        condition: kappa, the condition number: NaN where it failed, shape ``(n,)``.
        lacking: Architectures that were left out since one of their scores is missing.
    """

    architectures: Sequence[str]
    metric: np.ndarray
    condition: np.ndarray
    lacking: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.architectures),)
        if self.metric.shape != shape or self.condition.shape != shape:
            raise InputError(
                f"{shape[0]} architectures need a metric and a condition number each, not arrays of shapes "
                f"{self.metric.shape} and {self.condition.shape}"
            )

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def valid(self) -> np.ndarray:
        """Where neither score failed, shape ``(n,)``."""
        result: np.ndarray = np.isfinite(self.metric) & np.isfinite(self.condition)
        return result

    def scale(self, quantile: float) -> float:
        """This quantile of the metric's size over the candidates whose scores did not fail: what a target of 1 means.

        A quantile below 1 leaves out the few networks whose metric is a thousand times the median and more.

        Raises:
            InputError: The quantile is not in (0, 1], no candidate has scores, or the metric is zero for all.
        """
        if not 0 < quantile <= 1:
            raise InputError(f"the quantile of the metric that scales the target must be in (0, 1], not {quantile}")
        known = np.abs(self.metric[self.valid])
        found = float(np.quantile(known, quantile)) if len(known) else 0.0
        if found == 0:
            raise InputError(
                f"the target cannot be scaled by the metric: none of {len(self)} candidates has both scores, or it is "
                "zero for almost all"
            )
        return found


class CandidateRanking:
    """The order of candidates under a target and a weight; the smallest value is the best.

    For metric M and condition number kappa, target t and weight mu,
    ``mu * |M**2 - t**2| + kappa / (M + 1e-6)`` (Shu et al., NeurIPS 2022, arXiv:2201.09785; convention of
    shuyao95/HNAS 970789c). M keeps its sign, so that the second term rewards a negative one. A candidate with a failed
    score is infinitely bad.

    Args:
        candidates: What is ranked.
    """

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        metric = np.where(candidates.valid, candidates.metric, 0.0)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            squares, penalty = metric**2, candidates.condition / (metric + _GUARD)
        good = candidates.valid & np.isfinite(squares) & np.isfinite(penalty)
        self._squares = np.where(good, squares, 0.0)
        self._penalty = np.where(good, penalty, np.inf)

    def balance(self, scale: float) -> float:
        """The weight under which both terms are alike: the median size of the second over the scale's square.

        Args:
            scale: The metric that a target of 1 means.
        """
        known = self._penalty[self._penalty < np.inf]
        return float(np.median(np.abs(known))) / scale**2 if len(known) else 1.0

    def values(self, target: float, weight: float, rows: np.ndarray | None = None) -> np.ndarray:
        """The ranking's values, smaller is better, infinite where a score failed.

        Args:
            target: t, in the metric's unit.
            weight: mu.
            rows: Candidates, shape ``(k,)``; all by default.

        Returns:
            Shape ``(k,)``.
        """
        squares, penalty = self._squares, self._penalty
        if rows is not None:
            squares, penalty = squares[rows], penalty[rows]
        found: np.ndarray = weight * np.abs(squares - target**2) + penalty
        return found

    def best(self, target: float, weight: float, rows: np.ndarray) -> int | None:
        """The best of ``rows``, the first of equals; None where there is none whose scores did not fail."""
        if not len(rows):
            return None
        values = self.values(target, weight, rows)
        first = int(np.argmin(values))
        return int(rows[first]) if values[first] < np.inf else None
