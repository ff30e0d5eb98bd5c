"""What the answers of searches are worth: their trained accuracies, looked up in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prejudge.benchmarks.matched import default_metrics
from prejudge.benchmarks.metric import Metric
from prejudge.benchmarks.table import Table
from prejudge.errors import InputError
from prejudge.search.result import SearchResult

if TYPE_CHECKING:
    import pandas as pd


def answers(result: SearchResult, table: Table, metrics: list[Metric] | None = None) -> pd.DataFrame:
    """Trained accuracies of what each run of a search answered.

    Args:
        result: The runs.
        table: A table of the same space.
        metrics: By default every test column at its longest schedule.

    Returns:
        One row per run: ``seed``, ``answer``, ``queries``, ``seconds`` (what its evaluations cost), ``overhead`` (of
        the method itself, wall-clock) and a column per metric, NaN where the table has no value.

    Raises:
        InputError: The table is of another space.
    """
    import pandas as pd

    if table.space != result.space:
        raise InputError(f"the search was in {result.space}, table {table.name} is of {table.space}")
    chosen = default_metrics(table) if metrics is None else metrics
    runs = result.trajectories
    frame = pd.DataFrame(
        {
            "seed": [r.seed for r in runs],
            "answer": [r.answer for r in runs],
            "queries": [len(r.values) for r in runs],
            "seconds": [float(np.sum(r.seconds)) for r in runs],
            "overhead": [r.overhead for r in runs],
        }
    )
    for metric in chosen:
        frame[str(metric)] = table.query_many([r.answer for r in runs], metric)
    return frame
