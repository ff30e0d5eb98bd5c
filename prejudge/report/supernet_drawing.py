"""Pictures of a supernet search: its epochs, the similarity of its operations, and the accuracy of each by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge.errors import InputError, visible
from prejudge.report.pictures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^v"
_PANELS = (
    ("loss", ("train_loss",)),
    ("accuracy, %", ("train_accuracy", "valid")),
    ("share", ("entropy", "skip_share")),
)
_NAMES = {
    "train_loss": "training images",
    "train_accuracy": "training images",
    "valid": "held-out images",
    "entropy": "entropy of the weights",
    "skip_share": "edges won by the skip",
}


def draw_epochs(
    epochs: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]], path: Path, *, title: str = ""
) -> Path:
    """Draw loss, accuracies, entropy of the weights and share of skips over the epochs of a supernet search.

    Args:
        epochs: Each epoch; numbers under ``train_loss``, ``train_accuracy``, ``valid``, ``entropy``
            and ``skip_share`` are drawn.
        stages: Name and number of epochs of every stage, in order.
        path: The picture to write; its ending chooses the format.
        title: Heading.

    Raises:
        InputError: There is no epoch, or another ending.
        PrejudgeError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    if not epochs:
        raise InputError("no epoch to draw")
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    panels = figure.subplots(1, len(_PANELS))
    ends = list(accumulate(int(stage["epochs"]) for stage in stages))
    for axes, (label, names) in zip(panels, _PANELS, strict=True):
        for number, name in enumerate(names):
            values = [math.nan if (value := epoch.get(name)) is None else float(value) for epoch in epochs]
            shown: dict[str, Any] = {"color": f"C{number}", "marker": "." if len(values) < 40 else None}
            for start, end in pairwise([0, *ends]):  # each stage has a line of its own
                axes.plot(range(start + 1, end + 1), values[start:end], **shown)
            if any(value == value for value in values):
                axes.plot([], [], **shown, label=_NAMES[name])
        for end in ends[:-1]:
            axes.axvline(end + 0.5, color="#9ca3af", lw=0.8, ls="--")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.legend(fontsize=7.5, frameon=False)
        _plain(axes)
    panels[-1].set_ylim(-0.03, 1.03)
    between = " | ".join(str(s["name"]) for s in stages)
    figure.suptitle("\n".join(filter(None, [title, between if len(stages) > 1 else ""])), fontsize=9, color="#374151")
    return save_figure(figure, path)


def draw_similarity(features: Sequence[Mapping[str, Any]], path: Path, *, title: str = "") -> Path:
    """Draw, for cells and edges, the correlations of the operations' features and their mean features in a plane.

    Args:
        features: For each cell and edge ``cell``, ``edge``, ``operations``, ``correlation`` (K lists of K),
            ``clusters`` (by number of clusters, as text) and ``plane`` (K pairs).
        path: The picture to write; its ending chooses the format.
        title: Heading.

    Raises:
        InputError: There is nothing to draw, or another ending.
        PrejudgeError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    if not features:
        raise InputError("no features to draw")
    most = max(len(found["operations"]) for found in features)
    figure = Figure(figsize=(7.5 + 0.4 * most, (1.4 + 0.4 * most) * len(features)), layout="constrained")
    rows = figure.subplots(len(features), 2, squeeze=False)
    for (left, right), found in zip(rows, features, strict=True):
        names = [_short(name) for name in found["operations"]]
        left.imshow(found["correlation"], cmap="RdBu", vmin=-1, vmax=1)
        for i, row in enumerate(found["correlation"]):
            for j, value in enumerate(row):
                left.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=_on(value))
        left.set_xticks(range(len(names)), names, fontsize=8, rotation=30, ha="right")
        left.set_yticks(range(len(names)), names, fontsize=8)
        left.set_title(f"cell {found['cell']}, edge {found['edge']}: correlation", fontsize=9)
        clusters = max(found["clusters"].items(), key=lambda item: int(item[0]))
        chosen = found["clusters"].get("3", clusters[1])
        for number, ((x, y), name, cluster) in enumerate(zip(found["plane"], names, chosen, strict=True)):
            # Similar operations lie close together: names beside the points would cover each other.
            mark = _MARKS[cluster % len(_MARKS)]
            right.plot([x], [y], ls="", color=f"C{number}", marker=mark, ms=6, label=name)
        right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
        right.margins(0.25)
        right.set_title(f"mean features, {len(set(chosen))} clusters (marks)", fontsize=9)
        right.set_xlabel("first principal axis", fontsize=8)
        right.set_ylabel("second", fontsize=8)
        _plain(right)
    figure.suptitle(title, fontsize=9, color="#374151")
    return save_figure(figure, path)


def draw_accuracies(operations: Sequence[Mapping[str, Any]], path: Path, *, title: str = "") -> Path:
    """Draw the weight of each operation in a search against the accuracy of the network of that operation alone.

    Args:
        operations: ``operation``, ``share`` (mean softmax weight) and ``accuracy`` (per cent) of each.
        path: The picture to write; its ending chooses the format.
        title: Heading.

    Raises:
        InputError: There is nothing to draw, or another ending.
        PrejudgeError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    if not operations:
        raise InputError("no single operations to draw")
    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, found in enumerate(operations):
        place = ([float(found["accuracy"])], [float(found["share"])])
        axes.plot(*place, ls="", marker="o", ms=6.5, color=f"C{number}", label=_short(found["operation"]))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5, frameon=False)
    axes.margins(0.2)
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel("accuracy of the network of this operation alone, %")
    axes.set_ylabel("mean weight in the search")
    axes.set_title(title, fontsize=9, color="#374151")
    _plain(axes)
    return save_figure(figure, path)


def _short(operation: Any) -> str:
    return visible(str(operation)).replace("_connect", "").replace("_", " ")


def _on(value: float) -> str:
    """A color that can be read on the map at this value."""
    return "white" if abs(value) > 0.6 else "#111827"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
