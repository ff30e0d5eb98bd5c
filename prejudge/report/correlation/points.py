"""Scores and accuracies of thousands of architectures, small enough to travel inside a web page.

Every number becomes a 16-bit code on the axis that will be drawn (linear, logarithmic or symmetric-logarithmic), every
architecture a template and a few words. Codes are little-endian and base64; the page decodes them with typed arrays.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.report.correlation.data import ReportData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEVELS = 65534  # codes 0..65534; 65535 says that there is no value
MISSING = 65535
MOST_POINTS = 16_000  # all of NAS-Bench-201; a canvas still redraws these at once
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class PointAxis:
    """The axis of a scatter plot.

    Attributes:
        kind: ``"linear"``, ``"log"`` (positive, spans decades) or ``"symlog"`` (logarithmic on both sides of
            zero, linear within ``±linear``).
        low: Smallest number.
        high: Largest number.
        linear: Half-width of symlog's linear part; 1 otherwise.
    """

    kind: str
    low: float
    high: float
    linear: float = 1.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> PointAxis:
        """The axis that shows ``values`` ``(N,)`` best; NaN and infinite ones are disregarded.

        Linear, unless positive values span more than two decades, signed ones more than three, or the bulk (5th to 95th
        percentile) would be squeezed into a fortieth of the axis.
        """
        values = values[np.isfinite(values)]
        if not len(values):
            return cls("linear", 0.0, 1.0)
        low, high = float(values.min()), float(values.max())
        if low > 0:
            return cls("log" if high / low > 100 else "linear", low, high)
        sizes = np.abs(values[values != 0])
        if low == high or not len(sizes):
            return cls("linear", low, high)
        bulk = float(np.subtract(*np.percentile(values / 40, [95, 5])))
        least, small, tenth, large = (float(size) for size in np.percentile(sizes, [0.5, 5, 10, 95]))
        if high / 40 - low / 40 > 40 * bulk or large / 1000 > small:
            return cls("symlog", low, high, tenth if low < 0 else least)  # zeros alone leave the scale to the others
        return cls("linear", low, high)

    def position(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where ``values`` ``(N,)`` lie between the axis' ends, 0 to 1; 0.5 throughout on an axis without length."""
        low, high = self._warp(np.array([self.low, self.high]))
        if not high > low:
            return np.where(np.isfinite(values), 0.5, np.nan)
        return np.asarray((self._warp(values) - low) / (high - low))

    def codes(self, values: NDArray[np.float64]) -> NDArray[np.uint16]:
        """The 16-bit codes ``(N,)`` of ``values`` ``(N,)``."""
        finite = np.isfinite(values)
        position = self.position(np.where(finite, values, self.low))
        return np.where(finite, np.clip(np.rint(position * LEVELS), 0, LEVELS), MISSING).astype("<u2")

    def _warp(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "log":
            return np.log(values)
        if self.kind == "symlog":
            return np.asarray(np.arcsinh(values / self.linear))
        return values / 2  # halved, so that the length of the widest axis is still finite


def embed_points(data: ReportData, budget: int) -> dict[str, Any]:
    """Scores, accuracies and architecture texts of a report as plain JSON values.

    Args:
        data: The report's content.
        budget: Most bytes that the answer may take as JSON; where not all architectures fit, a random
            sample (fixed seed) is kept.

    Returns:
        ``total`` and ``shown`` architectures, their texts (``names``), which are ``disconnected`` (a bit each), and per
        proxy and metric its axis and codes.
    """
    scores = {str(column): _floats(data.scores[column]) for column in data.scores.columns}
    metrics = {str(column): _floats(data.accuracies[column]) for column in data.accuracies.columns}
    texts = [str(text) for text in data.scores.index]
    total = len(texts)
    per_architecture = (len(scores) + len(metrics)) * 8 / 3 + 1
    order = np.random.default_rng(0).permutation(total)
    shown = min(total, MOST_POINTS)
    while True:
        keep = np.sort(order[:shown])
        names = _encode_texts([texts[i] for i in keep])
        size = per_architecture * shown + len(json.dumps(names))
        if size <= budget or not shown:
            break
        shown = int(shown * min(0.95, 0.98 * budget / size))

    def axis(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
        chosen = PointAxis.of(values[keep])
        return {
            "name": name,
            "axis": {"kind": chosen.kind, "low": chosen.low, "high": chosen.high, "linear": chosen.linear},
            "codes": _base64(chosen.codes(values[keep])),
        }

    connected = np.ones(total, bool) if data.connected is None else data.connected.to_numpy(dtype=bool)
    return {
        "total": total,
        "shown": shown,
        "names": names,
        "disconnected": _base64(np.packbits(~connected[keep], bitorder="little")),
        "proxies": [axis(name, values) | {"higher": data.higher_is_better(name)} for name, values in scores.items()],
        "metrics": [axis(name, values) for name, values in metrics.items()],
    }


def _encode_texts(texts: Sequence[str]) -> dict[str, Any]:
    """Texts as templates (what stands between words) and word numbers; the texts of one space share both."""
    words: dict[str, int] = {}
    templates: dict[tuple[str, ...], int] = {}
    word_codes, template_codes = [], []
    for text in texts:
        template_codes.append(templates.setdefault(tuple(_WORD.split(text)), len(templates)))
        word_codes += [words.setdefault(word, len(words)) for word in _WORD.findall(text)]
    width = 1 if len(words) <= 2**8 else 2 if len(words) <= 2**16 else 4
    return {
        "words": list(words),
        "templates": [list(template) for template in templates],
        "word_codes": _base64(np.asarray(word_codes, f"<u{width}")),
        "word_bytes": width,
        "template_codes": _base64(np.asarray(template_codes if len(templates) > 1 else [], "<u2")),
    }


def _floats(column: Any) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(dtype=float, na_value=np.nan), float)


def _base64(codes: NDArray[Any]) -> str:
    return base64.b64encode(codes.tobytes()).decode("ascii")
