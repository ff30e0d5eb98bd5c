"""From the plain values of a comparison to what its page shows: every number formatted, every order decided."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.report.columns import DASH
from prejudge.report.rendering import script_json
from prejudge.report.searches.columns import p_text, points, signed
from prejudge.report.searches.data import AXES, BANDS, SearchReportData

if TYPE_CHECKING:
    import pandas as pd

_FEWEST_POINTS = 16


def facts(data: SearchReportData) -> list[dict[str, str]]:
    """What a reader wants to know first: per panel the best method, and how far it is from the optimum."""
    found = []
    for searched, metric in data.panels:
        alone = [m for _, m in data.panels].count(metric) == 1
        label = metric if alone else f"{metric}, searched on {searched}"
        best = data.best(searched, metric)
        if best is None:
            found.append({"label": label, "value": DASH, "detail": "no architecture has this accuracy in the table"})
            continue
        equals = len(data.undecided(searched, metric)) - 1
        also = f"; {equals} {'other is' if equals == 1 else 'others are'} not told from it" if equals else ""
        short = data.optima[metric] - best["mean"]
        found.append(
            {
                "label": label,
                "value": f"{points(best['mean'])} {data.unit}".strip(),
                "detail": f"{best['method']}, {points(short)} below the optimum of {points(data.optima[metric])}{also}",
            }
        )
    return found


def matrices(data: SearchReportData) -> list[dict[str, Any]]:
    """Per panel the differences between methods: a matrix to look at, and every pair with its numbers."""
    found = []
    for searched, metric in data.panels:
        tests = data.of(data.tests, searched, metric).to_dict("records")
        if not tests:
            continue
        rows = data.of(data.final, searched, metric).sort_values("mean", ascending=False, na_position="last")
        methods = [str(method) for method in rows["method"]]
        known = {(t["first"], t["second"]): t for t in tests}
        largest = max((abs(t["difference"]) for t in tests if math.isfinite(t["difference"])), default=0.0)
        found.append(
            {
                "searched": searched,
                "metric": metric,
                "methods": methods,
                "rows": [{"method": a, "cells": [_cell(data, a, b, known, largest) for b in methods]} for a in methods],
                "pairs": [_pair(data, t) for t in tests],
            }
        )
    return found


def payload(data: SearchReportData, budget: int) -> dict[str, Any]:
    """What the page's script needs: the curves.

    Args:
        data: The comparison's content.
        budget: Most bytes of the answer as JSON; where the curves do not fit, each keeps every second point, and so on.

    Returns:
        Plain JSON values; numbers as little-endian 32-bit floats in base64, NaN where there is none.
    """
    axes = [axis for axis in AXES if (data.curves["axis"] == axis).any()]
    content: dict[str, Any] = {
        "unit": data.unit,
        "perfect": data.perfect,
        "confidence": data.confidence,
        "axes": axes,
        "costs": data.costs,
        "methods": data.methods,
    }
    stride = 1
    while True:
        panels = [_panel(data, axes, searched, metric, stride) for searched, metric in data.panels]
        if len(script_json(content | {"panels": panels})) <= budget or stride >= _most_points(data) / _FEWEST_POINTS:
            return content | {"panels": panels}
        stride *= 2


def _panel(data: SearchReportData, axes: list[str], searched: str, metric: str, stride: int) -> dict[str, Any]:
    curves = data.of(data.curves, searched, metric)
    limit = data.limits.get(searched)
    return {
        "searched": searched,
        "metric": metric,
        "optimum": float(data.optima[metric]),
        "limit": None if limit is None else {"axis": limit[0], "at": float(limit[1])},
        "series": {
            axis: [
                {"method": data.methods.index(method)} | _numbers(part, stride)
                for method in data.methods
                if len(part := curves[(curves["axis"] == axis) & (curves["method"] == method)])
            ]
            for axis in axes
        },
    }


def _numbers(curve: pd.DataFrame, stride: int) -> dict[str, str]:
    kept = np.unique([*range(0, len(curve), stride), len(curve) - 1])
    return {
        name: base64.b64encode(curve[name].to_numpy(dtype="<f4")[kept].tobytes()).decode("ascii")
        for name in ("at", *BANDS)
    }


def _most_points(data: SearchReportData) -> int:
    return int(data.curves.groupby(["searched", "metric", "axis", "method"]).size().max()) if len(data.curves) else 0


def _cell(
    data: SearchReportData, row: str, column: str, tests: dict[tuple[str, str], dict[Any, Any]], largest: float
) -> dict[str, Any]:
    test = tests.get((row, column)) or tests.get((column, row))
    if test is None:
        return {"text": "", "value": 0.0, "self": True, "decided": False, "title": ""}
    difference = float(test["difference"]) * (1 if test["first"] == row else -1)
    decided = bool(test["p_holm"] < data.level)
    share = abs(difference) / largest if largest and math.isfinite(difference) else 0.0
    return {
        "text": signed(difference),
        # Pale enough for dark letters, and for light ones on a dark page.
        "value": round(math.copysign(0.15 + 0.45 * share, difference), 3) if decided else 0.0,
        "self": False,
        "decided": decided,
        "title": f"{row} less {column}: {signed(difference)} {data.unit} over {round(test['pairs'])} pairs, "
        f"p {p_text(test['p_holm'])} (Holm)",
    }


def _pair(data: SearchReportData, test: dict[Any, Any]) -> dict[str, Any]:
    better = float(test["better"])
    return {
        "first": test["first"],
        "second": test["second"],
        "decided": bool(test["p_holm"] < data.level),
        "texts": [
            f"{round(test['pairs']):,}",
            signed(test["difference"]),
            f"{100 * better:.0f}" if math.isfinite(better) else DASH,
            p_text(test["p"]),
            p_text(test["p_holm"]),
        ],
    }
