"""Curves for a page's line charts: what each shows, and its numbers small enough to travel inside the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prejudge.report.html import script_json

FEWEST_POINTS = 16
"""Curves are not thinned below this number of points."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve.

    Attributes:
        name: Number of its name in the chart's list of names.
        at: Where its values are, ``(points,)``, ascending.
        values: By name ``(points,)`` each, NaN where not known: the line, and the ends of bands.
    """

    name: int
    at: np.ndarray
    values: Mapping[str, np.ndarray]

    def packed(self, stride: int) -> dict[str, Any]:
        """Every ``stride``-th point and the last one, as little-endian 32-bit floats in base64."""
        kept = np.unique([*range(0, len(self.at), stride), len(self.at) - 1])
        columns = {"at": self.at, **self.values}
        return {"name": self.name} | {
            key: base64.b64encode(np.asarray(column, "<f4")[kept].tobytes()).decode("ascii")
            for key, column in columns.items()
        }


@dataclass(frozen=True, eq=False)
class LineChart:
    """One chart.

    Attributes:
        title: Its heading.
        about: What the script needs to know of it beside its curves, as JSON values.
        curves: The curves along each horizontal axis.
    """

    title: str
    about: Mapping[str, Any]
    curves: Sequence[Sequence[Curve]]


def line_content(common: Mapping[str, Any], charts: Sequence[LineChart], budget: int) -> dict[str, Any]:
    """Content of line charts, for the script that draws them.

    Args:
        common: What is the same for all charts, as JSON values.
        charts: The charts.
        budget: Most bytes as JSON; where the curves do not fit, each keeps every second point, and so on.
    """
    most = max((len(c.at) for chart in charts for axis in chart.curves for c in axis), default=0)
    stride = 1
    while True:
        found = [
            {"title": chart.title, **chart.about, "curves": [[c.packed(stride) for c in axis] for axis in chart.curves]}
            for chart in charts
        ]
        content = {**common, "charts": found}
        if len(script_json(content)) <= budget or most / stride < FEWEST_POINTS:
            return content
        stride *= 2
