"""The correlation table on the terminal: one table per metric and stratum, best proxy first."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from prejudge.cli import output

if TYPE_CHECKING:
    import pandas as pd

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
