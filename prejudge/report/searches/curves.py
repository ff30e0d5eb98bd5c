"""The curves of searches: accuracy of the best architecture so far, at each budget."""

from __future__ import annotations

from typing import Any

from prejudge.report.curves import Curve, LineChart, line_content
from prejudge.report.searches.data import BANDS, SearchReportData

SCALES = ("Error", "Regret, log")


def curves(data: SearchReportData, budget: int) -> dict[str, Any]:
    """Content of the line charts, in at most ``budget`` bytes where the curves can be thinned so far."""
    axes = {
        "seconds": {"label": f"{data.costs.lower()}, seconds", "after": " s"},
        "queries": {"label": "queries", "after": " queries", "floor": True},
    }
    common = {
        "names": [{"text": method, "color": k, "dash": k} for k, method in enumerate(data.methods)],
        "axes": [axes[axis] for axis in data.axes],
        "scales": [
            {"label": "regret" if data.perfect is None else "error", "origin": "perfect", "log": False,
             "caption": "The vertical axes begin at the table's optimum; the steep first 6 % of the budget may lie "
                        "above them."},
            {"label": "regret", "origin": "optimum", "log": True,
             "caption": "Regret is the distance to the table's optimum; what sits on the lower edge has reached it."},
        ],
        "bands": [["mean", "low", "high"], ["median", "q25", "q75"]],
        "steps": True,
        "decimals": 2,
        "unit": data.unit,
    }  # fmt: skip
    return line_content(common, [_chart(data, *panel) for panel in data.panels], budget)


def _chart(data: SearchReportData, searched: str, metric: str) -> LineChart:
    frame = data.of(data.curves, searched, metric)
    optimum = float(data.optima[metric])
    limits = [data.limits[searched]] if searched in data.limits else []
    marks = [
        {"axis": data.axes.index(axis), "at": float(at), "text": "compared here"}
        for axis, at in limits
        if axis in data.axes
    ]
    found = []
    for axis in data.axes:
        parts = {m: frame[(frame["axis"] == axis) & (frame["method"] == m)] for m in data.methods}
        found.append(
            [
                Curve(k, part["at"].to_numpy(float), {band: part[band].to_numpy(float) for band in BANDS})
                for k, part in enumerate(parts.values())
                if len(part)
            ]
        )
    about = {
        "note": f"searched on {searched}",
        "perfect": optimum if data.perfect is None else data.perfect,
        "optimum": optimum,
        "marks": marks,
    }
    return LineChart(metric, about, found)
