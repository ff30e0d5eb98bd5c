"""The numbers of a comparison as a reader wants to see them, the same in every output format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prejudge.report.columns import DASH, Column, numbers
from prejudge.report.searches.data import SearchReportData


@dataclass(frozen=True)
class FinalRow:
    """One method in the final table.

    Attributes:
        method: Its label.
        accuracies: Mean ± deviation, one per metric.
        intervals: The interval of each mean; empty where there is none.
        others: The cells of :func:`other_columns`.
        best: Per metric, whether no method is told to be better.
    """

    method: str
    accuracies: tuple[str, ...]
    intervals: tuple[str, ...]
    others: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class FinalTable:
    """What the searches of one objective found, best first by the first metric.

    Attributes:
        searched: What was maximized.
        metrics: The accuracies that are shown.
        columns: What else is shown.
        rows: The methods.
        optima: The table's best, one per metric.
    """

    searched: str
    metrics: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[FinalRow, ...]
    optima: tuple[str, ...]


def other_columns(data: SearchReportData) -> list[Column]:
    """The columns beside the accuracies that ``data`` has numbers for."""
    known = [
        Column("runs", "Runs", "count", "Runs, each from its own seed."),
        Column("missing", "Missing", "count", "Runs whose architecture has no such accuracy in the table: left out."),
        Column("queries", "Queries", "count", "Evaluations per run, on average."),
        Column("seconds", data.costs, "seconds", "What the evaluations of a run cost together, on average."),
        Column("overhead", "Overhead", "seconds", "Wall-clock time per run of the method itself, without evaluations."),
    ]
    return [c for c in known if any(math.isfinite(v) for v in numbers(data.final, c.key)) and _tells(data, c)]


def final_tables(data: SearchReportData) -> list[FinalTable]:
    """The final tables, one for each objective."""
    return [_final_table(data, searched) for searched in data.searched]


def signed(value: float) -> str:
    """A difference in accuracy, with its sign."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:+.2f}".replace("-", "−")
    return text if float(text.replace("−", "-")) else "0.00"


def points(value: float) -> str:
    """An accuracy."""
    return f"{value:.2f}" if math.isfinite(value) else DASH


def p_text(value: float) -> str:
    """A p-value."""
    return DASH if not math.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def mean_and_deviation(row: Mapping[Any, Any]) -> str:
    """Mean ± deviation over runs; no deviation where there is but one."""
    known = row["runs"] - row.get("missing", 0)
    return points(row["mean"]) + (f" ± {points(row['std'])}" if known > 1 and math.isfinite(row["std"]) else "")


def interval(row: Mapping[Any, Any]) -> str:
    """The interval of the mean; empty where there is none."""
    low, high = row.get("low", math.nan), row.get("high", math.nan)
    return f"{points(low)} – {points(high)}" if math.isfinite(low) and math.isfinite(high) else ""


def _other(column: Column, value: float) -> str:
    # Budgets are given in seconds, and compared in them.
    return f"{value:,.0f} s" if column.key == "seconds" and value >= 100 else column.text(value)


def _tells(data: SearchReportData, column: Column) -> bool:
    return column.key != "missing" or max(numbers(data.final, "missing")) > 0


def _final_table(data: SearchReportData, searched: str) -> FinalTable:
    metrics = tuple(m for s, m in data.panels if s == searched)
    columns = tuple(other_columns(data))
    panels = {m: {str(r["method"]): r for r in data.of(data.final, searched, m).to_dict("records")} for m in metrics}
    first = panels[metrics[0]]
    best = {m: data.undecided(searched, m) for m in metrics}

    def row(method: str) -> FinalRow:
        found = [panels[m].get(method) for m in metrics]
        return FinalRow(
            method,
            tuple(mean_and_deviation(r) if r else DASH for r in found),
            tuple(interval(r) if r else "" for r in found),
            tuple(_other(c, max(float(r[c.key]) for r in found if r)) for c in columns),
            tuple(method in best[m] for m in metrics),
        )

    order = sorted(first, key=lambda method: (-_or_last(first[method]["mean"]), method))
    return FinalTable(
        searched, metrics, columns, tuple(map(row, order)), tuple(points(data.optima[m]) for m in metrics)
    )


def _or_last(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
