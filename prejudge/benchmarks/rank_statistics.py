"""How well one ranking predicts another: the numbers of the correlation table, as pure functions of two vectors.

``scores`` are oriented (higher predicts better) and hold no NaN, nor do ``accuracies``. What a constant vector leaves
undefined is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 to n, tied values sharing their mean rank; shape ``(n,)``."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)


def tied(values: np.ndarray) -> int:
    """Number of entries that share their value with another one."""
    _, counts = np.unique(values, return_counts=True)
    return int(counts[counts > 1].sum())


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation; of two vectors of :func:`ranks` it is Spearman's. NaN where one is constant."""
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt(x @ x) * np.sqrt(y @ y)
    return float(np.clip(x @ y / spread, -1, 1)) if spread > 0 else float("nan")


def spearman(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Spearman's rank correlation, ties by mean rank."""
    return pearson(ranks(scores), ranks(accuracies))


def partial(xy: float, xz: float, yz: float) -> float:
    """Correlation of what is left of x and y once z is regressed out of both, from the three correlations.

    NaN where z explains one of them entirely.
    """
    left = (1 - xz * xz) * (1 - yz * yz)
    return float((xy - xz * yz) / np.sqrt(left)) if left > 1e-12 else float("nan")


def kendall(scores: np.ndarray, accuracies: np.ndarray) -> tuple[float, float]:
    """Kendall's tau-b and the share of pairs in the right order.

    Returns:
        Tau-b, and among the pairs of different accuracy the share that the scores order rightly; a pair of equal scores
        counts half.
    """
    from scipy.stats import kendalltau

    pairs = len(scores) * (len(scores) - 1) / 2
    ordered_x, ordered_y = pairs - _tied_pairs(scores), pairs - _tied_pairs(accuracies)
    if not ordered_y:
        return float("nan"), float("nan")
    if not ordered_x:
        return float("nan"), 0.5
    tau = float(kendalltau(scores, accuracies, method="asymptotic").statistic)
    balance = tau * np.sqrt(ordered_x) * np.sqrt(ordered_y)  # concordant minus discordant pairs
    return tau, float(0.5 + 0.5 * balance / ordered_y)


def weighted_tau(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Kendall's tau with hyperbolic weights (Vigna, WWW 2015): exchanges among the best weigh most."""
    from scipy.stats import weightedtau

    if scores.min() == scores.max() or accuracies.min() == accuracies.max():
        return float("nan")
    return float(weightedtau(scores, accuracies).statistic)


def precision_at(scores: np.ndarray, accuracies: np.ndarray, share: float) -> float:
    """Share of the best-scored that is truly among the best, for the top ``share`` (at least one architecture).

    Ties at either cut are broken at random, and the expectation over that is returned.
    """
    k = max(1, round(share * len(scores)))
    return float(_membership(scores, k) @ _membership(accuracies, k) / k)


def regret(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Best accuracy minus that of the best-scored architecture (the mean over those that share the best score)."""
    return float(accuracies.max() - accuracies[scores == scores.max()].mean())


def bootstrap_spearman(
    scores: np.ndarray, accuracies: np.ndarray, *, resamples: int, seed: int, level: float = 0.95
) -> np.ndarray:
    """Percentile bootstrap intervals of Spearman's correlation, for all pairs of P scores and M accuracies at once.

    Architectures are drawn with replacement and both sides are ranked anew in each resample, by counting: a resample
    is how often each architecture was drawn, and the mean rank of a tie follows from a running sum of those counts.

    Args:
        scores: Shape ``(P, n)``.
        accuracies: Shape ``(M, n)``.
        resamples: Number of resamples.
        seed: Seed of the draws.
        level: Coverage.

    Returns:
        Lower and upper ends, shape ``(2, P, M)``; NaN for a constant vector.
    """
    n = scores.shape[1]
    columns = [_codes(column) for column in (*scores, *accuracies)]
    centred = np.empty((len(columns), n))  # mean ranks, less their mean
    x, y = centred[: len(scores)], centred[len(scores) :]
    found = np.empty((resamples, len(scores), len(accuracies)))
    rng = np.random.default_rng(seed)
    for i in range(resamples):
        drawn = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        for row, (codes, groups) in zip(centred, columns, strict=True):
            counts = np.bincount(codes, weights=drawn, minlength=groups)
            below = np.cumsum(counts, dtype=np.float64)
            below -= 0.5 * counts
            below -= 0.5 * n
            below.take(codes, out=row, mode="clip")
        weighted = x * drawn
        spread = np.outer(np.einsum("pn,pn->p", weighted, x), np.einsum("mn,mn,n->m", y, y, drawn))
        with np.errstate(divide="ignore", invalid="ignore"):
            found[i] = np.where(spread > 0, weighted @ y.T / np.sqrt(spread), np.nan)
    tail = (1 - level) / 2
    ends = np.full((2, len(scores), len(accuracies)), np.nan)
    defined = np.isfinite(found).any(axis=0)
    ends[:, defined] = np.nanquantile(found[:, defined], [tail, 1 - tail], axis=0)
    return ends


def reliability(runs: Sequence[np.ndarray]) -> tuple[float, float]:
    """How well repeated trainings agree.

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


def _codes(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Position of each entry among the distinct values, and how many of those there are."""
    distinct, codes = np.unique(values, return_inverse=True)
    return codes.reshape(-1), len(distinct)


def _tied_pairs(values: np.ndarray) -> float:
    _, counts = np.unique(values, return_counts=True)
    return float((counts * (counts - 1.0) / 2).sum())


def _membership(values: np.ndarray, k: int) -> np.ndarray:
    """Probability of being among the k largest when ties are broken at random."""
    cut = np.partition(values, len(values) - k)[len(values) - k]
    above, at = values > cut, values == cut
    return above + at * ((k - above.sum()) / at.sum())
