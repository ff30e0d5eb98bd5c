"""The correlation table: which numbers it has, and how each is shown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from prejudge.report import numbers
from prejudge.report.blocks import Bar, DataTable, TableCell, TableColumn, TableRow
from prejudge.report.correlation.data import ROLES, ReportData

if TYPE_CHECKING:
    import pandas as pd

_PRECISION = re.compile(r"precision_at_(\d+(?:\.\d+)?)(pct|%|_?percent)?$")
_BAR = TableColumn("interval", "ρ and interval", "Rank correlation with its interval.", layout="bar", printed=False)


def correlation_columns(data: ReportData) -> list[TableColumn]:
    """The columns that ``data`` has numbers for: Spearman's first, those that are absent or entirely NaN left out."""
    rho = numbers.correlation
    known = [
        TableColumn("spearman", "Spearman ρ", "Rank correlation of score and accuracy, −1 to 1, and its interval.",
                    rho, "high", notes_printed=True),
        TableColumn("kendall", "Kendall τ", "τ-b: how much more often pairs agree than not.", rho, "high"),
        TableColumn("weighted_tau", "Weighted τ", "τ with more weight on the best architectures.", rho, "high"),
        TableColumn("partial_spearman", "Partial ρ", "What is left of ρ given the parameter count.", rho, "high"),
        TableColumn("pairs", "Pairs right %", "Pairs of architectures that the score orders rightly.",
                    numbers.percent, "high", printed=False),
        *_precision_columns(data.correlations),
        TableColumn("regret", f"Regret {data.unit}".strip(), "Accuracy lost by taking the best-scored.",
                    numbers.points, "low"),
        TableColumn("repeats_std", "± seeds", "Deviation of ρ over repeats (new batch and weights).", rho,
                    printed=False),
        TableColumn("n", "n", "Architectures with both a score and an accuracy."),
        TableColumn("failed", "Failed", "Architectures whose score failed: left out, not replaced.", printed=False),
        TableColumn("ties", "Ties", "Architectures that share their score with another one.", printed=False),
        TableColumn("seconds", "s/arch", "Seconds per architecture of this proxy by itself.", numbers.significant),
    ]  # fmt: skip
    return [column for column in known if any(map(math.isfinite, _values(data.correlations, column.key)))]


def _values(frame: pd.DataFrame, key: str) -> list[float]:
    """A column of ``frame`` as floats; NaN where there is no such column, or no number in it."""
    import pandas as pd

    if key not in frame.columns:
        return [math.nan] * len(frame)
    return [float(value) for value in pd.to_numeric(frame[key], errors="coerce").astype(float)]


def _precision_columns(frame: pd.DataFrame) -> list[TableColumn]:
    """Those that are there, shares before numbers; papers have P@10 % where there is one, else the first."""
    found = []
    for key in map(str, frame.columns):
        if match := _PRECISION.match(key):
            k = f"{match[1]} %" if match[2] else match[1]
            meaning = f"Share of the score's top {k} that belongs to the true top {k}, in per cent."
            column = TableColumn(key, f"P@{k}", meaning, numbers.percent, "high", printed=False)
            found.append((bool(match[2]), float(match[1]), column))
    columns = [column for *_, column in sorted(found, key=lambda item: item[:2])]
    printed = next((k for k, column in enumerate(columns) if column.heading == "P@10 %"), 0)
    return [replace(column, printed=k == printed) for k, column in enumerate(columns)]


def correlation_tables(data: ReportData, metrics: list[str], strata: list[str]) -> Iterator[DataTable]:
    """The correlations of every metric and stratum that has some, best Spearman first."""
    columns = correlation_columns(data)
    lowest = min(map(_finite_or_zero, [*_values(data.correlations, "spearman"),
                                       *_values(data.correlations, "spearman_low")]), default=0.0)  # fmt: skip
    axis = (max(-1.0, min(0.0, math.floor(lowest * 4) / 4)), 1.0)  # from 0, or the next lower multiple of 0.25
    for metric in metrics:
        for stratum in strata:
            frame = data.rows(metric, stratum)
            if len(frame):
                yield _table(data, frame, columns, axis, (metric, stratum))


def _table(
    data: ReportData, frame: pd.DataFrame, columns: list[TableColumn], axis: tuple[float, float], when: tuple[str, str]
) -> DataTable:
    values = {column.key: _values(frame, column.key) for column in columns}
    rho, low, high, undefined, ceilings = (
        _values(frame, key) for key in ("spearman", "spearman_low", "spearman_high", "undefined", "noise_ceiling")
    )
    reasons = [str(reason) for reason in frame["no_interval"]] if "no_interval" in frame else [""] * len(frame)
    best = _best(rho, low, high)
    rows = []
    for i, proxy in enumerate(map(str, frame["proxy"])):
        note, title = _interval(low[i], high[i], undefined[i], reasons[i])
        value, *ends, mark = (numbers.finite(column[i]) for column in (rho, low, high, ceilings))
        cells = [
            column.cell(
                values[column.key][i],
                **({"bold": i in best, "note": note, "title": title} if column.key == "spearman" else {}),
            )
            for column in columns
        ]
        rows.append(
            TableRow(
                proxy,
                (TableCell("", value, title=title, bar=Bar(value, ends[0], ends[1], mark)), *cells),
                data.role(proxy),
            )
        )
    rows.sort(key=lambda row: (row.cells[0].value is None, -(row.cells[0].value or 0.0), row.name))
    known = sorted(filter(math.isfinite, ceilings))
    metric, stratum = when
    return DataTable(
        heading=f"{data.space}: {metric}, {stratum} architectures",
        names="Proxy",
        columns=(_BAR, *columns),
        rows=tuple(rows),
        caption=_caption(
            known[len(known) // 2] if known else math.nan,
            bootstrap=any(map(math.isfinite, low)),
            bold=bool(best),
            missing=any(reason and math.isfinite(r) for r, reason in zip(rho, reasons, strict=True)),
        ),
        groups=ROLES,
        axis=axis,
        ticks=tuple(dict.fromkeys((axis[0], 0.0, 0.5, 1.0))),
        sortable=True,
        printed=True,
        when=when,
    )


def _finite_or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _interval(low: float, high: float, undefined: float, reason: str) -> tuple[str, str]:
    """The interval, and what to say of it to a reader who points at it; the reason where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "", f"no interval: {reason}" if reason else ""
    note = f"[{numbers.correlation(low)}, {numbers.correlation(high)}]"
    left_out = f"; left out: {100 * undefined:.2g} % of the resamples, undefined" if undefined > 0 else ""
    return note, note + left_out


def _best(rho: list[float], low: list[float], high: list[float]) -> frozenset[int]:
    """The row with the best correlation and those whose intervals overlap with its own.

    None where the best has no interval, or one that reaches 0 (it may be chance), and where all overlap with it.
    """
    known = [i for i, value in enumerate(rho) if math.isfinite(value)]
    first = max(known, key=lambda i: rho[i], default=None)
    if first is None or not low[first] > 0:
        return frozenset()
    found = frozenset(i for i in known if high[i] >= low[first])
    return found if len(found) < len(known) else frozenset()


def _caption(ceiling: float, *, bootstrap: bool, bold: bool, missing: bool) -> str:
    parts = ["Correlations are signed by each proxy's declared direction"]
    if bootstrap:
        parts.append("brackets are bootstrap intervals")
    if missing:
        parts.append("where they are missing, an interval would claim too much")
    if bold:
        parts.append("bold: the best, and all whose intervals overlap with its own")
    if math.isfinite(ceiling):
        parts.append(f"the noise ceiling of ρ is {ceiling:.3f}")
    return "; ".join(parts) + "."
