"""The columns of the correlation table: heading, number format and meaning, the same in every output format."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from prejudge.report.data import ReportData

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["correlation", "share", "count", "points", "seconds"]
DASH = "–"
_PRECISION = re.compile(r"precision_at_(\d+(?:\.\d+)?)(pct|%|_?percent)?$")


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        key: Its name in ``ReportData.correlations``.
        heading: What stands above it.
        kind: How a number is written: ``correlation`` (3 decimals, signed), ``share`` (a fraction, as per
            cent), ``count``, ``points`` (accuracy points), ``seconds``.
        meaning: One sentence for the reader.
        higher_is_better: The direction in which it is good; None where it says nothing about quality.
    """

    key: str
    heading: str
    kind: Kind
    meaning: str
    higher_is_better: bool | None = None

    def text(self, value: float) -> str:
        """``value`` as a reader wants to see it; a dash where there is none (NaN or infinite)."""
        if not math.isfinite(value):
            return DASH
        match self.kind:
            case "correlation":
                return _minus(f"{value:.3f}")
            case "share":
                return _minus(f"{100 * value:.1f}")
            case "count":
                return f"{round(value):,}"
            case "points":
                return _minus(f"{value:.2f}")
            case "seconds":
                return duration(value)


def columns(data: ReportData) -> list[Column]:
    """The columns that ``data`` has numbers for, in the order of the table.

    Args:
        data: The report's content.

    Returns:
        Spearman first; columns that are absent or entirely NaN are left out.
    """
    known = [
        Column("spearman", "Spearman ρ", "correlation", "Rank correlation of score and accuracy, −1 to 1.", True),
        Column("kendall", "Kendall τ", "correlation", "τ-b: how much more often pairs agree than not.", True),
        Column("weighted_tau", "Weighted τ", "correlation", "τ with more weight on the best architectures.", True),
        Column("partial_spearman", "Partial ρ", "correlation", "What is left of ρ given the parameter count.", True),
        Column("pairs", "Pairs right %", "share", "Pairs of architectures that the score orders rightly.", True),
        *_precision_columns(data.correlations),
        Column("regret", f"Regret {data.unit}".strip(), "points", "Accuracy lost by taking the best-scored.", False),
        Column("repeats_std", "± seeds", "correlation", "Deviation of ρ over repeats (new batch and weights)."),
        Column("n", "n", "count", "Architectures with both a score and an accuracy."),
        Column("failed", "Failed", "count", "Architectures whose score failed: left out, not replaced.", False),
        Column("ties", "Ties", "count", "Architectures that share their score with another one."),
        Column("seconds", "Time / arch", "seconds", "Seconds per architecture of this proxy by itself.", False),
    ]  # fmt: skip
    return [column for column in known if _has_numbers(data.correlations, column.key)]


def precision_column(data: ReportData) -> Column | None:
    """The precision column that a paper shows: P@10 % where there is one, else the first, else None."""
    found = [column for column in columns(data) if column.key.startswith("precision_at_")]
    return next((column for column in found if column.heading == "P@10 %"), found[0] if found else None)


def numbers(frame: pd.DataFrame, key: str) -> list[float]:
    """A column of ``frame`` as floats; NaN where there is no such column, or no number in it."""
    import pandas as pd

    if key not in frame.columns:
        return [math.nan] * len(frame)
    return [float(value) for value in pd.to_numeric(frame[key], errors="coerce").astype(float)]


def duration(seconds: float) -> str:
    """A duration in the unit that reads best, three significant digits: ``"12.3 ms"``, ``"4.56 s"``, ``"2.1 h"``."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.1f} h"


def _precision_columns(frame: pd.DataFrame) -> list[Column]:
    found = []
    for key in map(str, frame.columns):
        if match := _PRECISION.match(key):
            k = f"{match[1]} %" if match[2] else match[1]
            meaning = f"Share of the score's top {k} that belongs to the true top {k}."
            found.append((bool(match[2]), float(match[1]), Column(key, f"P@{k}", "share", meaning, True)))
    return [column for *_, column in sorted(found, key=lambda item: item[:2])]


def _has_numbers(frame: pd.DataFrame, key: str) -> bool:
    return any(math.isfinite(value) for value in numbers(frame, key))


def _minus(text: str) -> str:
    """A true minus sign; and no minus in front of a zero."""
    return text if not text.startswith("-") else ("−" + text[1:] if float(text) else text[1:])
