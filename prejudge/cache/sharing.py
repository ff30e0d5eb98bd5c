"""Sharing scores within a class of equivalent architectures, where a proxy allows it.

A space's benchmark calls architectures equal that compute the same function once dead edges are dropped
(:meth:`Space.canonical <prejudge.spaces.base.Space.canonical>`). Two members differ in the order of their parameters,
and so in the weights that they draw, and may differ in the edges that reach nothing. Only proxies declared
``invariant_to_dead_edges`` may share a score: they are computed once, for the class's representative. All others
(params, flops, l2_norm …) belong to the single architecture and are computed for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.spaces.base import Architecture, require_enumerable

if TYPE_CHECKING:
    import pandas as pd

    from prejudge.spaces.base import Space


def representatives(space: Space[Any], architectures: Iterable[Architecture]) -> list[Architecture]:
    """The representative of each class that occurs, once each, in the order of its first member."""
    return list(dict.fromkeys(space.representative(arch) for arch in architectures))


def expand_frame(
    frame: pd.DataFrame, known: Mapping[str, np.ndarray], shared: Sequence[str], space: Space[Any]
) -> pd.DataFrame:
    """Give each architecture of the space its class representative's values in the shared columns.

    Args:
        frame: Scores, indexed by architecture text.
        known: For each column which rows have any score, failed ones included, shape ``(len(frame),)``.
        shared: The columns whose proxy is declared invariant to dead edges.
        space: An enumerable space.

    Returns:
        A frame in the space's index order of every architecture that has any score, its own or its class's.
    """
    import pandas as pd

    row = {text: i for i, text in enumerate(frame.index)}
    members = list(require_enumerable(space))
    own = np.array([row.get(str(a), -1) for a in members], dtype=np.int64)
    of_class = np.array([row.get(str(space.representative(a)), -1) for a in members], dtype=np.int64)
    columns = {}
    any_score = np.zeros(len(members), dtype=bool)
    for name in frame.columns:
        values, has = frame[name].to_numpy(), known[name]
        has_own = (own >= 0) & has[own] if len(has) else np.zeros(len(members), dtype=bool)
        column = np.where(has_own, values[own], np.nan) if len(has) else np.full(len(members), np.nan)
        if name in shared and len(has):
            from_class = ~has_own & (of_class >= 0) & has[of_class]
            column = np.where(from_class, values[of_class], column)
            has_own = has_own | from_class
        columns[name] = column
        any_score |= has_own
    index = pd.Index([str(a) for a in members], name="architecture", dtype=object)
    return pd.DataFrame(columns, index=index, columns=list(frame.columns), dtype=float)[any_score]
