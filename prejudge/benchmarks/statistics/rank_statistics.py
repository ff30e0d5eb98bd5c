"""The numbers of the correlation table as pure functions of two vectors: how well one ranking predicts another.

``scores`` are oriented (higher predicts better) and hold no NaN, nor do ``accuracies``. What a constant vector leaves
undefined is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

import numpy as np

from prejudge.benchmarks.statistics.ranking import TiedRanking


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 to n, tied values sharing their mean rank; shape ``(n,)``."""
    return TiedRanking.of(values).ranks


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation; of two vectors of :func:`ranks` it is Spearman's. NaN where one is constant."""
    x, y = x - x.mean(), y - y.mean()
    # Plain sums: vectors gain nothing from BLAS threads, which stall a busy machine.
    spread = np.sqrt((x * x).sum()) * np.sqrt((y * y).sum())
    return float(np.clip((x * y).sum() / spread, -1, 1)) if spread > 0 else float("nan")


def spearman(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Spearman's rank correlation, ties by mean rank."""
    return pearson(ranks(scores), ranks(accuracies))


def partial(xy: float, xz: float, yz: float) -> float:
    """Correlation of what is left of x and y once z is regressed out of both, from the three correlations.

    NaN where z explains one of them entirely.
    """
    left = (1 - xz * xz) * (1 - yz * yz)
    return float((xy - xz * yz) / np.sqrt(left)) if left > 1e-12 else float("nan")


def precision_at(scores: np.ndarray, accuracies: np.ndarray, share: float) -> float:
    """Share of the best-scored that is truly among the best, for the top ``share`` (at least one architecture).

    Ties at either cut are broken at random, and the expectation over that is returned.
    """
    k = max(1, round(share * len(scores)))
    return float(_membership(scores, k) @ _membership(accuracies, k) / k)


def regret(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Best accuracy minus that of the best-scored architecture (the mean over those that share the best score)."""
    return float(accuracies.max() - accuracies[scores == scores.max()].mean())


EXACT_BOOTSTRAP_UP_TO = 20_000
"""Number of architectures up to which the bootstrap really draws its resamples; above it, see below."""

FEWEST_FOR_INTERVAL = 10
"""Number of architectures below which no interval is given: so few resamples differ that it would claim too much."""

MOST_UNDEFINED = 0.05
"""Share of resamples without a correlation (one side is constant in them) above which no interval is given."""

_LARGEST_SHARE = 0.005
"""Of the variance, due to one architecture. Where none has more, 200 or more contribute, and the limit is normal."""

_ROUNDING = 1e-9
"""Equal correlations of different resamples may differ by this."""


@dataclass(frozen=True)
class BootstrapInterval:
    """A percentile bootstrap interval of one correlation, or the reason why there is none.

    Attributes:
        low: Lower end; NaN where there is no interval.
        high: Upper end; NaN where there is no interval.
        undefined: Share of the resamples in which the correlation is undefined; NaN where none was drawn.
        reason: Why there is no interval; empty where there is one.
    """

    low: float = float("nan")
    high: float = float("nan")
    undefined: float = float("nan")
    reason: str = ""


def bootstrap_spearman(
    x: Sequence[TiedRanking], y: Sequence[TiedRanking], *, resamples: int, seed: int, level: float = 0.95
) -> list[list[BootstrapInterval]]:
    """Percentile bootstrap intervals of Spearman's correlation, for all pairs of P scores and M accuracies at once.

    Architectures are drawn with replacement and both sides are ranked anew in each resample. Above
    :data:`EXACT_BOOTSTRAP_UP_TO` architectures the interval is the bootstrap's normal limit
    (:func:`spearman_influence`; the infinitesimal jackknife of Jaeckel, 1972) wherever no single architecture weighs
    enough to spoil it: the ends then differ from those of infinitely many resamples by less than 1,000 resamples do.

    No interval is given that would claim more than is known: below :data:`FEWEST_FOR_INTERVAL` architectures, where
    more than :data:`MOST_UNDEFINED` of the resamples have no correlation, and where the resamples do not lie on both
    sides of the correlation itself (as with a perfect one, which every resample repeats).

    Args:
        x: P rankings of ``n`` architectures by score.
        y: M rankings of them by accuracy.
        resamples: Number of resamples.
        seed: Seed of the draws.
        level: Coverage.

    Returns:
        P lists of M intervals.
    """
    found = [[BootstrapInterval() for _ in y] for _ in x]
    left = []
    for p, m in product(range(len(x)), range(len(y))):
        if len(x[p]) < FEWEST_FOR_INTERVAL:
            found[p][m] = BootstrapInterval(reason=f"n = {len(x[p])} is less than {FEWEST_FOR_INTERVAL}")
        elif x[p].constant or y[m].constant:
            found[p][m] = BootstrapInterval(reason=f"all {'scores' if x[p].constant else 'accuracies'} are equal")
        elif len(x[p]) > EXACT_BOOTSTRAP_UP_TO and (limit := _normal_limit(x[p], y[m], level)) is not None:
            found[p][m] = limit
        else:
            left.append((p, m))
    if not left:
        return found
    rows, columns = sorted({p for p, _ in left}), sorted({m for _, m in left})
    drawn = _resampled([x[p] for p in rows], [y[m] for m in columns], resamples, seed)
    for p, m in left:
        rho = pearson(x[p].ranks, y[m].ranks)
        found[p][m] = _percentiles(rho, drawn[:, rows.index(p), columns.index(m)], level)
    return found


def _percentiles(rho: float, drawn: np.ndarray, level: float) -> BootstrapInterval:
    """The interval around ``rho`` that resamples of it give, shape ``(resamples,)``, NaN where one is undefined."""
    undefined = float(np.mean(np.isnan(drawn)))
    if undefined > MOST_UNDEFINED:
        share = f"{100 * undefined:.0f} % of the resamples have no correlation (all drawn scores or accuracies equal)"
        return BootstrapInterval(undefined=undefined, reason=share)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return _enclosing(rho, float(low), float(high), undefined)


def _enclosing(rho: float, low: float, high: float, undefined: float) -> BootstrapInterval:
    """An interval that lies on both sides of ``rho``; else the reason why there is none."""
    if low < rho - _ROUNDING and rho + _ROUNDING < high:
        return BootstrapInterval(low, high, undefined)
    reason = "the resamples do not lie on both sides of the correlation"
    return BootstrapInterval(undefined=undefined, reason=reason)


def spearman_influence(x: TiedRanking, y: TiedRanking) -> tuple[float, np.ndarray]:
    """Derivatives of Spearman's correlation by the weight of each architecture, both sides being ranked anew.

    Returns:
        The correlation, and its derivatives by the weights at 1, shape ``(n,)``. Their sum is 0; the sum of their
        squares is the variance of the bootstrap as n grows.
    """
    a, b = (r.ranks - (len(r) + 1) / 2 for r in (x, y))
    aa, bb, ab = (a * a).sum(), (b * b).sum(), (a * b).sum()
    spread = np.sqrt(aa * bb)
    # An architecture adds its own product of ranks, and lifts the rank of all above it by 1, of its equals by 1/2.
    by_ab = a * b + _sum_above(x, b) + _sum_above(y, a)
    by_aa = a * a + 2 * _sum_above(x, a)
    by_bb = b * b + 2 * _sum_above(y, b)
    return float(ab / spread), by_ab / spread - (by_aa / aa + by_bb / bb) * (ab / spread / 2)


def _sum_above(order: TiedRanking, values: np.ndarray) -> np.ndarray:
    """For each entry the sum of the values of all entries that rank above it, its equals counting half."""
    sums = np.bincount(order.codes, weights=values, minlength=order.groups)
    result: np.ndarray = (sums.sum() - np.cumsum(sums) + sums / 2)[order.codes]
    return result


def _normal_limit(x: TiedRanking, y: TiedRanking, level: float) -> BootstrapInterval | None:
    """The limit of the bootstrap; None where a few architectures decide, so that it does not hold."""
    rho, influence = spearman_influence(x, y)
    if abs(rho) > 1 - _ROUNDING:
        return _enclosing(rho, rho, rho, 0.0)
    squares = influence * influence
    variance = float(squares.sum())
    if squares.max() > _LARGEST_SHARE * variance:
        return None
    half = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance)
    return _enclosing(rho, max(-1.0, float(rho - half)), min(1.0, float(rho + half)), 0.0)


def _resampled(x: Sequence[TiedRanking], y: Sequence[TiedRanking], resamples: int, seed: int) -> np.ndarray:
    """Spearman's correlation in each resample, shape ``(resamples, len(x), len(y))``; NaN where one is constant.

    Ranking is counting: a resample is how often each architecture was drawn, and the mean rank of a tie follows from a
    running sum of those counts.
    """
    n = len(x[0])
    centered = np.empty((len(x) + len(y), n))  # mean ranks, less their mean
    a, b = centered[: len(x)], centered[len(x) :]
    found = np.empty((resamples, len(x), len(y)))
    rng = np.random.default_rng(seed)
    for i in range(resamples):
        drawn = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        for row, order in zip(centered, (*x, *y), strict=True):
            counts = np.bincount(order.codes, weights=drawn, minlength=order.groups)
            below = np.cumsum(counts, dtype=np.float64)
            below -= 0.5 * counts
            below -= 0.5 * n
            below.take(order.codes, out=row, mode="clip")
        weighted = a * drawn
        spread = np.outer(np.einsum("pn,pn->p", weighted, a), np.einsum("mn,mn,n->m", b, b, drawn))
        with np.errstate(divide="ignore", invalid="ignore"):
            found[i] = np.where(spread > 0, np.einsum("pn,mn->pm", weighted, b) / np.sqrt(spread), np.nan)
    return found


def reliability(runs: Sequence[np.ndarray]) -> tuple[float, float]:
    """Spearman's correlation between repeated trainings.

    Args:
        runs: Accuracies of single training seeds, each of shape ``(n,)``; NaN where a seed was not trained.

    Returns:
        The mean Spearman correlation of two seeds, and by the Spearman-Brown formula that of two means over
        ``len(runs)`` seeds each. NaN with fewer than two seeds or three common architectures.
    """
    if len(runs) < 2:
        return float("nan"), float("nan")
    common = np.isfinite(np.vstack(runs)).all(axis=0)
    if common.sum() < 3:
        return float("nan"), float("nan")
    known = [ranks(r[common]) for r in runs]
    pairs = [pearson(known[i], known[j]) for i in range(len(known)) for j in range(i)]
    single = float(np.mean(pairs))
    if single <= 0:  # seeds that contradict each other do not agree more for being averaged
        return single, single
    return single, float(len(runs) * single / (1 + (len(runs) - 1) * single))


def _membership(values: np.ndarray, k: int) -> np.ndarray:
    """Probability of being among the k largest when ties are broken at random."""
    cut = np.partition(values, len(values) - k)[len(values) - k]
    above, at = values > cut, values == cut
    result: np.ndarray = above + at * ((k - above.sum()) / at.sum())
    return result
