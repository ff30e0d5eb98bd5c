"""Pictures of cells: the vertices on a line, in topological order, and an arc for each edge."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from prejudge.report.pictures import color_of, picture_format, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEP = 1.6  # inches between two vertices
_RISE = 0.42  # inches that an arc rises for each vertex that it spans
_MARGIN = 0.55
_BOX = 0.2  # half the height of a vertex, in inches


class Graph(Protocol):
    """A cell to draw: labels of its vertices, and ``(source, target, label)`` of the edges between them."""

    @property
    def vertices(self) -> tuple[str, ...]: ...

    @property
    def edges(self) -> tuple[tuple[int, int, str], ...]: ...


def draw_cells(graphs: Mapping[str, Graph], path: Path, *, title: str = "") -> Path:
    """Draw the cells of an architecture below each other.

    Arcs above the line carry an operation; edges without one are thin and grey, below the line where others lie above.
    Of two operations between the same two vertices the second hangs below the line.

    Args:
        graphs: The cells by name.
        path: The picture to write; its ending (``.svg``, ``.png`` or ``.pdf``) chooses the format.
        title: Heading.

    Returns:
        The path written.

    Raises:
        InputError: Another ending.
        PrejudgeError: The file cannot be written.
    """
    picture_format(path)  # said before anything is drawn
    from matplotlib.figure import Figure

    heights = {name: _extent(graph) for name, graph in graphs.items()}
    width = _STEP * (max(len(g.vertices) for g in graphs.values()) - 1) + 2 * _MARGIN
    lines = textwrap.wrap(title, width=int(width * 13))
    heading = 0.17 * len(lines) + 0.15 if lines else 0.0
    total = sum(up + down for up, down in heights.values()) + heading
    figure = Figure(figsize=(width, total))
    top = total
    if title:
        figure.text(_MARGIN / 2 / width, 1 - 0.1 / total, "\n".join(lines), fontsize=8.5, va="top", color="#374151")
        top -= heading
    for name, graph in graphs.items():
        up, down = heights[name]
        axes = figure.add_axes((0, (top - up - down) / total, 1, (up + down) / total))
        axes.set(xlim=(-_MARGIN, width - _MARGIN), ylim=(-down, up))
        axes.axis("off")
        axes.text(-_MARGIN / 2, up - 0.2, name, fontsize=11, fontweight="bold", va="center")
        _draw(axes, graph)
        top -= up + down
    return save_figure(figure, path)


def _placed(graph: Graph) -> Iterable[tuple[int, int, str, int]]:
    """Each edge with its side of the line: 1 above, 0 on it, -1 below."""
    labeled = any(label for *_, label in graph.edges)
    seen: set[tuple[int, int]] = set()
    for source, target, label in graph.edges:
        again = (source, target) in seen
        seen.add((source, target))
        if labeled:
            side = -1 if again or not label else 1
        else:
            side = 0 if target == source + 1 else 1
        yield source, target, label, side


def _extent(graph: Graph) -> tuple[float, float]:
    """Inches above and below the line."""
    edges = list(_placed(graph))
    up = max((t - s for s, t, _, side in edges if side > 0), default=0)
    down = max((t - s for s, t, _, side in edges if side < 0), default=0)
    return _RISE * up + 0.75, _RISE * down + 0.45


def _draw(axes: Axes, graph: Graph) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Curve

    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0, "zorder": 1}
    for source, target, label, side in _placed(graph):
        x0, x1, rise = source * _STEP, target * _STEP, side * _RISE * (target - source)
        color = color_of(label)
        if side == 0:
            axes.add_patch(
                FancyArrowPatch((x0, 0), (x1 - _half(graph.vertices[target]), 0), color=color, lw=1.1, **style)
            )
            continue
        start, end = (x0 + 0.12, side * _BOX), (x1 - 0.12, side * _BOX)
        # The control points of a cubic arc whose apex is at `rise` above the ends of the arc.
        height = side * _BOX + rise * 4 / 3
        arc = Curve([start, (x0 + 0.3, height), (x1 - 0.3, height), end], [Curve.MOVETO, *[Curve.CURVE4] * 3])
        axes.add_patch(FancyArrowPatch(path=arc, color=color, lw=1.4 if label else 0.8, **style))
        if label:
            axes.text((x0 + x1) / 2, side * _BOX + rise, label, fontsize=7.5, ha="center", va="center", color=color,
                      zorder=3, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})  # fmt: skip
    for position, label in enumerate(graph.vertices):
        half = _half(label)
        box = FancyBboxPatch((position * _STEP - half, -_BOX), 2 * half, 2 * _BOX,
                             boxstyle="round,pad=0,rounding_size=.07", facecolor="#f3f4f6", edgecolor="#374151",
                             lw=1, zorder=2)  # fmt: skip
        axes.add_patch(box)
        axes.text(position * _STEP, 0, label, fontsize=8.5, ha="center", va="center", color="#111827", zorder=4)


def _half(label: str) -> float:
    """Half the width of a vertex, in inches."""
    return max(0.22, 0.042 * len(label) + 0.08)
