"""Rank correlation of every proxy with every other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prejudge.benchmarks.statistics.ranking import Ranking
from prejudge.report.data import ReportData


@dataclass(frozen=True)
class AgreementMatrix:
    """Spearman correlations between proxies, similar proxies side by side.

    Attributes:
        proxies: Names, in the order of rows and columns ``(P,)``.
        values: Signed correlations ``(P, P)``, each proxy turned so that higher is better; NaN where two
            proxies share fewer than three architectures or one is constant.
        counts: Architectures that each pair shares ``(P, P)``.
    """

    proxies: tuple[str, ...]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]


def agreement(data: ReportData) -> AgreementMatrix:
    """How alike the proxies of a report rank.

    Args:
        data: The report's content.

    Returns:
        The matrix over all architectures on which both proxies of a pair have a finite score, ordered by
        average-linkage clustering; the end with the better first-metric Spearman comes first.
    """
    names = [str(column) for column in data.scores.columns]
    scores = data.scores.to_numpy(dtype=float, na_value=np.nan)
    signs = np.array([1.0 if data.higher_is_better(name) else -1.0 for name in names])
    finite = np.isfinite(scores)
    counts = finite.T.astype(np.int64) @ finite.astype(np.int64)
    values = np.full((len(names), len(names)), np.nan)
    order = [Ranking.of(column) for column in scores.T]
    own = [order[i].among(finite[:, i]).ranks for i in range(len(names))]
    for i in range(len(names)):
        for j in range(i, len(names)):
            if counts[i, j] < 3:
                continue
            both = finite[:, i] & finite[:, j]
            x, y = (own[k] if counts[i, j] == counts[k, k] else order[k].among(both).ranks for k in (i, j))
            values[i, j] = values[j, i] = signs[i] * signs[j] * _pearson(x, y)
    clustered = _order(data, names, values)
    grid = np.ix_(clustered, clustered)
    return AgreementMatrix(tuple(names[i] for i in clustered), values[grid], counts[grid])


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    # Plain sums: vectors this short gain nothing from BLAS threads, which stall a busy machine.
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float(np.clip((x * y).sum() / scale, -1, 1)) if scale > 0 else np.nan


def _order(data: ReportData, names: list[str], values: NDArray[np.float64]) -> list[int]:
    if len(names) < 3:
        return list(range(len(names)))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = 1 - np.nan_to_num(values)
    np.fill_diagonal(distance, 0)
    order = [int(i) for i in leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))]
    first = data.rows(data.metrics[0], data.strata[0]) if data.metrics else data.correlations
    quality = {
        str(name): float(value) for name, value in zip(first["proxy"], first["spearman"], strict=True) if value == value
    }
    ends = [
        np.mean([quality.get(names[i], 0.0) for i in part])
        for part in (order[: len(order) // 2], order[len(order) // 2 :])
    ]
    return order if ends[0] >= ends[1] else order[::-1]
