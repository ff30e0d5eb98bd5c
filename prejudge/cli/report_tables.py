"""The tables of reports on the terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from prejudge.cli import output

if TYPE_CHECKING:
    import pandas as pd

    from prejudge.report import SearchReportData, TrainingReportData

_COLUMNS = {
    "proxy": "proxy",
    "n": "n",
    "failed": "failed",
    "spearman": "Spearman ρ",
    "interval": "95 %",
    "kendall": "Kendall τ",
    "partial_spearman": "ρ | params",
    "precision_at_10pct": "P@10 %",
    "regret": "regret",
    "seconds": "s/arch",
}
_LESS_URGENT = ("failed", "partial_spearman", "precision_at_10pct")
_NARROW = 110


def print_correlations(rows: pd.DataFrame, *, strata: Collection[str]) -> None:
    """Print correlations.

    Args:
        rows: What :func:`prejudge.correlate` returns.
        strata: The strata to print.
    """
    width = output.terminal_width()
    shown = [key for key in _COLUMNS if width is None or width >= _NARROW or key not in _LESS_URGENT]
    for (metric, stratum), part in rows.groupby(["metric", "stratum"], sort=False):
        if stratum not in strata:
            continue
        ordered = part.sort_values("spearman", ascending=False, na_position="last")
        ceiling = ordered["noise_ceiling"].iloc[0]
        note = f"; noise ceiling {ceiling:.3f}" if math.isfinite(ceiling) else ""
        output.print_table(
            f"{metric}, {stratum} architectures{note}",
            [_COLUMNS[key] for key in shown],
            [[_text(row, key) for key in shown] for row in ordered.to_dict("records")],
            numeric=[heading for key, heading in _COLUMNS.items() if key != "proxy"],
            fold_first=True,
        )


def _text(row: Mapping[Any, Any], key: str) -> Any:
    if key == "interval":
        low, high = row.get("spearman_low", math.nan), row.get("spearman_high", math.nan)
        return f"{low:+.2f} … {high:+.2f}" if math.isfinite(low) and math.isfinite(high) else None
    value = row.get(key)
    if key in ("proxy", "n", "failed") or value is None or not math.isfinite(value):
        return value
    if key in ("spearman", "kendall", "partial_spearman"):
        return f"{value:+.3f}"
    return f"{value:.2f}" if key in ("precision_at_10pct", "regret") else f"{value:.3g}"


def print_searches(data: SearchReportData) -> None:
    """Print what searches found, and which of their differences are certain."""
    from prejudge.report.searches.columns import final_tables, p_text, signed

    for table in final_tables(data):
        headings = ["method", *table.metrics, *(c.heading.lower() for c in table.columns)]
        rows = [[r.method, *r.accuracies, *r.others] for r in table.rows]
        optimum = ["optimum of the table", *table.optima, *([""] * len(table.columns))]
        title = f"found by searches of {table.searched}, {data.unit}, mean ± std"
        output.print_table(title, headings, [*rows, optimum], numeric=headings[1:])
    for searched, metric in data.panels:
        tests = data.of(data.tests, searched, metric).to_dict("records")
        if tests:
            rows = [
                [f"{t['first']} − {t['second']}", t["pairs"], signed(t["difference"]), p_text(t["p_holm"])]
                for t in tests
            ]
            headings = ["pair", "equal seeds", "difference", "p (Holm)"]
            output.print_table(f"{metric}, searches of {searched}", headings, rows, numeric=headings[1:])


def print_trainings(data: TrainingReportData) -> None:
    """Print what trainings came to."""
    from prejudge.report.training.columns import summary_columns, summary_rows

    columns = summary_columns(data)
    headings = ["training", *(column.heading for column in columns)]
    output.print_table(data.title, headings, summary_rows(data), numeric=headings[1:])
