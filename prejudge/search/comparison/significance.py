"""Paired tests of the differences between searches, over equal seeds."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

_MOST_EXCHANGES = 13
"""Differing results up to which all exchanges of their signs are counted: 2 to that power."""


class Paired(NamedTuple):
    """Two searches, run by run from equal seeds.

    Attributes:
        pairs: Seeds from which both have an accuracy.
        difference: Mean of first less second; NaN without pairs.
        better: Share of the pairs in which the first is better, ties counting half.
        p: Two-sided p-value of Wilcoxon's signed-rank test; NaN without pairs.
    """

    pairs: int
    difference: float
    better: float
    p: float


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two searches over the same seeds.

    Wilcoxon's signed-rank test. Searches often end with the same architecture: equal results are ranked with the others
    and then carry no sign (Pratt, JASA 1959), so that a tiny difference does not count as the smallest there was. Where
    few results differ every exchange of signs is counted: the normal limit would claim too much.

    Args:
        first: Accuracies of one search, shape ``(seeds,)``; NaN where unknown.
        second: Those of the other, from the same seeds.
    """
    # Differences in the last digits are no differences, but would count as such.
    differences = np.round((first - second)[np.isfinite(first) & np.isfinite(second)], 10)
    count = len(differences)
    if not count:
        return Paired(0, np.nan, np.nan, np.nan)
    better = float((np.count_nonzero(differences > 0) + 0.5 * np.count_nonzero(differences == 0)) / count)
    return Paired(count, float(differences.mean()), better, _signed_rank(differences))


def _signed_rank(differences: np.ndarray) -> float:
    from scipy.stats import rankdata, wilcoxon

    differing = differences != 0
    if np.count_nonzero(differing) > _MOST_EXCHANGES:
        return float(wilcoxon(differences, zero_method="pratt").pvalue)
    ranks = rankdata(np.abs(differences))[differing]
    exchanges = np.array(list(product((-1, 1), repeat=len(ranks))))
    return float(np.mean(np.abs(exchanges @ ranks) >= abs(np.sign(differences[differing]) @ ranks) - 1e-9))


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
