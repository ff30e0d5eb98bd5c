"""Rank correlation of every proxy with every other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prejudge.benchmarks.statistics.rank_statistics import pearson
from prejudge.benchmarks.statistics.ranking import TiedRanking

if TYPE_CHECKING:
    import pandas as pd

_FEWEST = 3


def proxy_agreement(
    scores: pd.DataFrame, directions: Mapping[str, bool] | None = None, quality: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Compute Spearman's correlation between the scores of every two proxies.

    Args:
        scores: Raw scores: one row per architecture, one column per proxy; NaN or infinite where a score failed.
        directions: Whether a higher score means better, per proxy; by default it does.
        quality: A number per proxy, such as its correlation with accuracy: the end of the order where it is higher
            comes first.

    Returns:
        One row per ordered pair of proxies: ``proxy``, ``other``, ``spearman`` (each proxy turned so that higher is
        better; NaN where the two share fewer than three architectures or one of them is constant), and ``n``
        architectures on which both have a finite score. Proxies stand in the order of an average-linkage clustering,
        similar ones side by side.
    """
    import pandas as pd

    names = [str(column) for column in scores.columns]
    raw = scores.to_numpy(dtype=float, na_value=np.nan)
    signs = np.array([1.0 if (directions or {}).get(name, True) else -1.0 for name in names])
    finite = np.isfinite(raw)
    counts = finite.T.astype(np.int64) @ finite.astype(np.int64)
    values = np.full((len(names), len(names)), np.nan)
    rankings = [TiedRanking.of(column) for column in raw.T]
    own = [rankings[i].among(finite[:, i]).ranks for i in range(len(names))]
    for i in range(len(names)):
        for j in range(i, len(names)):
            if counts[i, j] < _FEWEST:
                continue
            both = finite[:, i] & finite[:, j]
            x, y = (own[k] if counts[i, j] == counts[k, k] else rankings[k].among(both).ranks for k in (i, j))
            values[i, j] = values[j, i] = signs[i] * signs[j] * pearson(x, y)
    order = _clustered(values, [(quality or {}).get(name, 0.0) for name in names])
    rows = [(names[i], names[j], values[i, j], counts[i, j]) for i in order for j in order]
    return pd.DataFrame(rows, columns=["proxy", "other", "spearman", "n"])


def _clustered(values: NDArray[np.float64], quality: list[float]) -> list[int]:
    if len(values) < 3:
        return list(range(len(values)))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = 1 - np.nan_to_num(values)
    np.fill_diagonal(distance, 0)
    order = [int(i) for i in leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))]
    half = len(order) // 2
    first, last = (np.mean([quality[i] for i in part]) for part in (order[:half], order[half:]))
    return order if first >= last else order[::-1]
