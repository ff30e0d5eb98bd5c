"""Paired tests of the differences between searches, over equal seeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Paired(NamedTuple):
    """Two searches, run by run from equal seeds.

    Attributes:
        pairs: Seeds from which both have an accuracy.
        difference: Mean of first less second; NaN without pairs.
        better: Share of the pairs in which the first is better, ties counting half.
        p: Two-sided p-value of Wilcoxon's signed-rank test.
    """

    pairs: int
    difference: float
    better: float
    p: float


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two searches over the same seeds.

    Wilcoxon's signed-rank test. Searches often end with the same architecture: equal results are ranked with the others
    and then carry no sign (Pratt, JASA 1959), so that a tiny difference does not count as the smallest there was.

    Args:
        first: Accuracies of one search, shape ``(seeds,)``; NaN where unknown.
        second: Those of the other, from the same seeds.
    """
    from scipy.stats import wilcoxon

    # Differences in the last digits are no differences, but would count as such.
    differences = np.round((first - second)[np.isfinite(first) & np.isfinite(second)], 10)
    count = len(differences)
    if not count:
        return Paired(0, np.nan, np.nan, np.nan)
    better = float((np.count_nonzero(differences > 0) + 0.5 * np.count_nonzero(differences == 0)) / count)
    p = float(wilcoxon(differences, zero_method="pratt").pvalue) if differences.any() else 1.0
    return Paired(count, float(differences.mean()), better, p)


def holm(p: np.ndarray) -> np.ndarray:
    """P-values corrected for all tests together (Holm, Scandinavian Journal of Statistics 1979); NaN stays, uncounted.

    Args:
        p: Shape ``(tests,)``.

    Returns:
        Shape ``(tests,)``; below a level just where Holm's procedure rejects at that level.
    """
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    found = np.full(len(p), np.nan)
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return found
