"""The content of a comparison of searches: plain values, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prejudge.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

AXES = ("seconds", "queries")
FEWEST_RUNS = 10
"""Runs below which a mean has no interval, and a method is not called one of the best."""
BANDS = ("mean", "low", "high", "median", "q25", "q75")

_PANEL = ("searched", "metric")
_NEEDED = {
    "final": (*_PANEL, "method", "runs", "mean", "std"),
    "curves": (*_PANEL, "method", "axis", "at", *BANDS),
    "tests": (*_PANEL, "first", "second", "pairs", "difference", "better", "p", "p_holm"),
}


@dataclass(frozen=True, eq=False)
class SearchReportData:
    """The content of one comparison of searches.

    Only values: the report knows no search, no table and no space object. A number that is not known is NaN and shown
    as a dash, never as 0. Every frame names its panel in the columns ``searched`` (what was maximized, as a text) and
    ``metric`` (the trained accuracy that is shown), and methods by a label that is unique within the report.

    Attributes:
        title: Heading of the report.
        space: Name of the search space.
        final: One row per panel and method: ``runs``; ``mean`` and ``std`` of the accuracies of their architectures;
            shows where present: ``missing`` (runs whose architecture has no such accuracy), ``low`` and ``high`` (the
            interval of the mean), ``median``, ``regret`` (of the mean), and per run ``queries``, ``seconds`` (what the
            evaluations cost) and ``overhead`` (of the method itself).
        curves: Accuracy of the best architecture so far, one row per panel, method, ``axis`` and budget ``at``: over
            runs the ``mean`` with its interval ``low``, ``high``, and the quartiles ``q25``, ``median``, ``q75``. A
            value holds until the next budget; NaN where it is not known.
        tests: One row per panel and two methods ``first`` and ``second``: ``pairs`` of runs from equal seeds, mean
            ``difference`` of first less second, the share of pairs in which the first is ``better`` (ties count half),
            ``p`` and ``p_holm`` (corrected for all pairs of methods of the panel).
        optima: Best accuracy in the table, per metric.
        descriptions: What a method was told, per method.
        limits: The budget at which methods are compared where theirs differ: per ``searched``, its axis and value.
        costs: What ``seconds`` are, to stand above the column.
        protocol: What was searched and how it is compared, label to text, in the order to be shown.
        provenance: Versions and files, label to text. A time of day belongs here or nowhere: writers add none.
        warnings: What a reader must know to trust it, one sentence or paragraph each.
        unit: Unit of accuracies and differences.
        perfect: The highest possible accuracy, from which errors are counted; None shows the distance to the optimum.
        confidence: Coverage of the intervals of means.
        level: Below which corrected p-values count as significant.

    Raises:
        InputError: A column is missing, a row is there twice, a method has no final row, or a metric no optimum.
    """

    title: str
    space: str
    final: pd.DataFrame
    curves: pd.DataFrame
    tests: pd.DataFrame
    optima: Mapping[str, float]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    costs: str = "Simulated cost"
    protocol: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    unit: str = "%"
    perfect: float | None = 100.0
    confidence: float = 0.95
    level: float = 0.05

    def __post_init__(self) -> None:
        for name, columns in _NEEDED.items():
            for column in columns:
                if column not in getattr(self, name).columns:
                    raise InputError(f"{name} lack the column {column!r}; they need {', '.join(columns)}")
        keys = self.final[[*_PANEL, "method"]]
        if keys.duplicated().any():
            raise InputError(f"final names {tuple(keys[keys.duplicated()].iloc[0])} twice; keep one row per method")
        for metric in self.final["metric"].unique():
            if metric not in self.optima:
                raise InputError(f"no optimum of {metric!r}; give the best accuracy of the table")
        for name, of in (("curves", ("method",)), ("tests", ("first", "second"))):
            known = set(keys.itertuples(index=False, name=None))
            for column in of:
                for key in getattr(self, name)[[*_PANEL, column]].drop_duplicates().itertuples(index=False, name=None):
                    if key not in known:
                        raise InputError(f"{name} name {key}, which final does not; every method needs a final row")

    @property
    def methods(self) -> list[str]:
        """The methods, in their order of appearance."""
        return [str(method) for method in self.final["method"].unique()]

    @property
    def searched(self) -> list[str]:
        """The objectives, in the order of appearance."""
        return [str(text) for text in self.final["searched"].unique()]

    @property
    def panels(self) -> list[tuple[str, str]]:
        """Objectives and the accuracies shown of each, in the order of appearance."""
        return [(str(s), str(m)) for s, m in self.final[[*_PANEL]].drop_duplicates().itertuples(index=False, name=None)]

    @property
    def axes(self) -> list[str]:
        """The axes of budgets that have curves."""
        return [axis for axis in AXES if (self.curves["axis"] == axis).any()]

    def of(self, frame: pd.DataFrame, searched: str, metric: str) -> pd.DataFrame:
        """The rows of one panel, with a fresh index."""
        return frame[(frame["searched"] == searched) & (frame["metric"] == metric)].reset_index(drop=True)

    def best(self, searched: str, metric: str) -> dict[Any, Any] | None:
        """The final row with the best mean of a panel, the first of equals; None where no mean is known."""
        rows = [row for row in self.of(self.final, searched, metric).to_dict("records") if math.isfinite(row["mean"])]
        return max(rows, key=lambda row: row["mean"], default=None)

    def undecided(self, searched: str, metric: str) -> frozenset[str]:
        """The method with the best mean, and those that no test shows to be worse."""
        row = self.best(searched, metric)
        if row is None:
            return frozenset()
        best = str(row["method"])
        found = {str(method) for method in self.of(self.final, searched, metric)["method"]}
        for test in self.of(self.tests, searched, metric).to_dict("records"):
            if best in (test["first"], test["second"]) and test["p_holm"] < self.level:
                found.discard(str(test["second"] if test["first"] == best else test["first"]))
        return frozenset(found)

    def leading(self, searched: str, metric: str) -> frozenset[str]:
        """The methods that are among the best with certainty: the undecided ones of at least :data:`FEWEST_RUNS` runs.

        None where the best has fewer, or where no method is shown to be worse.
        """
        rows = self.of(self.final, searched, metric).to_dict("records")
        enough = {str(row["method"]) for row in rows if row["runs"] - row.get("missing", 0) >= FEWEST_RUNS}
        found, best = self.undecided(searched, metric), self.best(searched, metric)
        if best is None or best["method"] not in enough or len(found) == len(rows):
            return frozenset()
        return found & enough
