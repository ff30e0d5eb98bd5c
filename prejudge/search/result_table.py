"""The worth of what searches recommend: their trained accuracies, looked up in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.selection import default_metrics
from prejudge.benchmarks.table.table import Table
from prejudge.errors import InputError
from prejudge.search.result import SearchResult

if TYPE_CHECKING:
    import pandas as pd


def outcomes(result: SearchResult) -> pd.DataFrame:
    """The recommendation of each run of a search, and what it took.

    Returns:
        One row per run: ``seed``, ``recommendation``, ``value`` (the best that the objective said), ``queries``,
        ``seconds`` (what its evaluations cost) and ``overhead`` (of the method itself, wall-clock).
    """
    import pandas as pd

    runs = result.trajectories
    return pd.DataFrame(
        {
            "seed": [r.seed for r in runs],
            "recommendation": [r.recommendation for r in runs],
            "value": [float(r.values[r.incumbents()[-1]]) for r in runs],
            "queries": [len(r.values) for r in runs],
            "seconds": [float(np.sum(r.seconds)) for r in runs],
            "overhead": [r.overhead for r in runs],
        }
    )


def recommended_accuracies(result: SearchResult, table: Table, metrics: list[Metric] | None = None) -> pd.DataFrame:
    """Trained accuracies of what each run of a search recommends.

    Args:
        result: The runs.
        table: A table of the same space.
        metrics: By default every test column at its longest schedule.

    Returns:
        The columns of :func:`outcomes`, and one per metric, NaN where the table has no value.

    Raises:
        InputError: The table is of another space.
    """
    if table.space != result.space:
        raise InputError(f"the search was in {result.space}, table {table.name} is of {table.space}")
    frame = outcomes(result)
    for metric in default_metrics(table) if metrics is None else metrics:
        frame[str(metric)] = table.query_many(frame["recommendation"].tolist(), metric)
    return frame
