"""From the plain values of a report to what its page shows: every number formatted, every order decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from prejudge.report.columns import DASH, columns, duration, numbers
from prejudge.report.data import ReportData
from prejudge.report.points import embed_points
from prejudge.report.rendering import script_json

MOST_FAILURE_GROUPS = 200
MOST_EXAMPLES = 3
MOST_TEXT = 400  # characters of one reason or one example


@dataclass(frozen=True)
class Row:
    """One line of the correlation table.

    Attributes:
        proxy: Its name.
        role: ``"proxy"``, ``"baseline"`` or ``"ensemble"``.
        texts: The formatted cells, one per column.
        values: What the cells sort by; None where there is no number.
        interval: Lower end, estimate and upper end of Spearman's interval, and the noise ceiling; None where unknown.
    """

    proxy: str
    role: str
    texts: tuple[str, ...]
    values: tuple[float | None, ...]
    interval: tuple[float | None, ...]


@dataclass(frozen=True)
class Panel:
    """The correlation table of one metric and stratum, best Spearman first."""

    metric: str
    stratum: str
    rows: tuple[Row, ...]

    @property
    def ceiling(self) -> float | None:
        """The median noise ceiling of the rows."""
        found = sorted(row.interval[3] for row in self.rows if row.interval[3] is not None)
        return found[len(found) // 2] if found else None


def panels(data: ReportData) -> list[Panel]:
    """Every correlation table of a report, in the order of its metrics and strata."""
    found = [Panel(metric, stratum, _rows(data, metric, stratum)) for metric in data.metrics for stratum in data.strata]
    return [panel for panel in found if panel.rows]


def facts(panel: Panel) -> list[dict[str, str]]:
    """What a reader wants to know first: the best proxy, baseline and ensemble, and the noise ceiling."""

    def best(role: str, label: str, nothing: str) -> dict[str, str]:
        row = next((row for row in panel.rows if row.role == role and row.interval[1] is not None), None)
        if row is None:
            return {"label": label, "value": DASH, "detail": nothing}
        low, rho, high, _ = (_rho(value) for value in row.interval)
        interval = f" [{low}, {high}]" if DASH not in (low, high) else ""
        return {"label": label, "value": rho, "detail": f"{row.proxy}{interval}"}

    ceiling = {
        "label": "Noise ceiling",
        "value": _rho(panel.ceiling),
        "detail": "how far retraining agrees with the table"
        if panel.ceiling is not None
        else "not known for this metric",
    }
    return [
        best("proxy", "Best proxy ρ", "no proxy has a value"),
        best("baseline", "Best baseline ρ", "no baseline in the table"),
        best("ensemble", "Best ensemble ρ", "no ensemble in the table"),
        ceiling,
    ]


def payload(data: ReportData, tables: list[Panel], budget: int) -> dict[str, Any]:
    """What the page's script needs: the tables, and the points of the scatter plots.

    Args:
        data: The report's content.
        tables: Its correlation tables.
        budget: Most bytes of the answer as JSON.

    Returns:
        Plain JSON values; no NaN or infinity among them.
    """
    content: dict[str, Any] = {
        "unit": data.unit,
        "panels": [
            {
                "metric": panel.metric,
                "stratum": panel.stratum,
                "facts": facts(panel),
                "rows": [[row.proxy, row.role, row.texts, row.values, row.interval] for row in panel.rows],
            }
            for panel in tables
        ],
    }
    spent = len(script_json(content))
    return content | {"points": embed_points(data, max(100_000, budget - spent))}


def axis_low(tables: list[Panel]) -> float:
    """Left end of the interval plots: 0 where no interval reaches below it, else the next lower multiple of 0.25."""
    lowest: float = min(
        (v for panel in tables for row in panel.rows for v in row.interval if v is not None), default=0.0
    )
    return max(-1.0, min(0.0, math.floor(lowest * 4) / 4))


def matrix(data: ReportData) -> dict[str, Any]:
    """The proxy-proxy matrix as rows of ``(text, value, count)`` cells."""
    if data.agreement is None:
        return {"proxies": [], "rows": []}
    names = [str(name) for name in data.agreement["proxy"].unique()]
    pairs = {(r["proxy"], r["other"]): r for r in data.agreement.to_dict("records")}
    rows = [
        {
            "proxy": proxy,
            "role": data.role(proxy),
            "cells": [_cell(pairs[proxy, other]["spearman"], int(pairs[proxy, other]["n"]), other) for other in names],
        }
        for proxy in names
    ]
    return {"proxies": names, "rows": rows}


def costs(data: ReportData) -> list[dict[str, Any]]:
    """Seconds per architecture, dearest first: text, share of the dearest, and what a thousand architectures take."""
    known = [(str(name), float(value)) for name, value in data.seconds.items() if math.isfinite(value) and value >= 0]
    most = max((value for _, value in known), default=0.0)
    return [
        {
            "proxy": name,
            "role": data.role(name),
            "text": duration(value),
            "share": round(100 * value / most, 2) if most else 0.0,
            "thousand": duration(1000 * value),
        }
        for name, value in sorted(known, key=lambda item: (-item[1], item[0]))
    ]


def failures(data: ReportData) -> dict[str, Any]:
    """Failed scores grouped by proxy and reason, most frequent first, with example architectures."""
    if data.failures is None or data.failures.empty:
        return {"groups": [], "total": 0, "hidden": 0}
    frame = data.failures.assign(proxy=data.failures["proxy"].astype(str), reason=data.failures["reason"].astype(str))
    found: list[dict[str, Any]] = []
    for (proxy, reason), group in frame.groupby(["proxy", "reason"], sort=True):
        architectures = list(dict.fromkeys(str(text) for text in group["architecture"]))
        found.append(
            {
                "proxy": proxy,
                "reason": _shorten(str(reason)) or "no reason given",
                "architectures": len(architectures),
                "scores": len(group),
                "examples": [_shorten(text) for text in architectures[:MOST_EXAMPLES]],
            }
        )
    found.sort(key=lambda group: -group["scores"])
    return {
        "groups": found[:MOST_FAILURE_GROUPS],
        "total": len(frame),
        "hidden": max(0, len(found) - MOST_FAILURE_GROUPS),
    }


def _rows(data: ReportData, metric: str, stratum: str) -> tuple[Row, ...]:
    frame = data.rows(metric, stratum)
    cells = {column: numbers(frame, column.key) for column in columns(data)}
    interval = [numbers(frame, key) for key in ("spearman_low", "spearman", "spearman_high", "noise_ceiling")]
    rows = [
        Row(
            proxy,
            data.role(proxy),
            tuple(column.text(values[i]) for column, values in cells.items()),
            tuple(_plain(values[i]) for values in cells.values()),
            tuple(_plain(values[i]) for values in interval),
        )
        for i, proxy in enumerate(map(str, frame["proxy"]))
    ]
    return tuple(sorted(rows, key=lambda row: (row.interval[1] is None, -(row.interval[1] or 0.0), row.proxy)))


def _cell(value: float, count: int, other: str) -> dict[str, Any]:
    if not math.isfinite(value):
        return {"text": DASH, "value": 0.0, "other": other, "count": count}
    text = (
        f"{value:.2f}".replace("-", "−").replace("0.", ".", 1)
        if abs(value) < 0.995
        else f"{value:.0f}".replace("-", "−")
    )
    return {"text": ".00" if text == "−.00" else text, "value": round(value, 3), "other": other, "count": count}


def _plain(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _rho(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}".replace("-", "−")


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
