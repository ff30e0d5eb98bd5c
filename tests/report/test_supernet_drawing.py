"""Pictures of supernet searches."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from prejudge.errors import InputError
from prejudge.report.supernet_drawing import draw_accuracies, draw_epochs, draw_similarity

OPERATIONS = ("max_pool_3x3", "skip_connect", "sep_conv_3x3")
FEATURES = {
    "cell": 2,
    "edge": 13,
    "operations": OPERATIONS,
    "correlation": [[1, 0.5, -0.2], [0.5, 1, 0.1], [-0.2, 0.1, 1]],
    "clusters": {"2": [0, 0, 1], "3": [0, 1, 2]},
    "plane": [[0.0, 1.0], [0.2, 0.9], [-1.0, -1.0]],
}


def texts(path: Path) -> str:
    found = ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    return "\n".join("".join(e.itertext()) for e in found)


def test_epochs(tmp_path: Path) -> None:
    epochs = [
        {"train_loss": 2 / e, "train_accuracy": 10.0 * e, "valid": None, "entropy": 0.9, "skip_share": 0.1, "x": [[1]]}
        for e in range(1, 6)
    ]
    stages = [{"name": "groups", "epochs": 3}, {"name": "operations", "epochs": 2}]
    drawn = texts(draw_epochs(epochs, stages, tmp_path / "a.svg", title="stacnas"))
    for text in ("stacnas", "groups | operations", "loss", "training images", "edges won by the skip"):
        assert text in drawn
    assert "held-out images" not in drawn  # nothing was held out
    again = draw_epochs(epochs, stages, tmp_path / "b.svg", title="stacnas")
    assert again.read_bytes() == (tmp_path / "a.svg").read_bytes()


def test_similarity(tmp_path: Path) -> None:
    drawn = texts(draw_similarity([FEATURES, {**FEATURES, "cell": 3}], tmp_path / "a.svg"))
    for text in ("cell 2, edge 13: correlation", "cell 3, edge 13: correlation", "-0.20", "max pool 3x3", "3 clusters"):
        assert text in drawn


def test_accuracies(tmp_path: Path) -> None:
    found = [{"operation": name, "share": 0.2, "accuracy": 40.0 + i} for i, name in enumerate(OPERATIONS)]
    drawn = texts(draw_accuracies(found, tmp_path / "a.svg", title="what they won"))
    assert all(text in drawn for text in ("skip", "sep conv 3x3", "mean weight in the search", "what they won"))


def test_labels_cover_neither_each_other_nor_an_axis(tmp_path: Path) -> None:
    """Operations that all but coincide, and weights that differ in the fifth digit."""
    close = [[0.2, 0.9], [0.2001, 0.9001], [0.2002, 0.9002]]
    single = [{"operation": n, "share": 0.2 + 1e-5 * i, "accuracy": 40.0} for i, n in enumerate(OPERATIONS)]
    for drawn in (
        draw_similarity([{**FEATURES, "plane": close}], tmp_path / "a.svg"),
        draw_accuracies(single, tmp_path / "b.svg"),
    ):
        found = ElementTree.parse(drawn).iter("{http://www.w3.org/2000/svg}text")
        places: dict[str, float] = {}
        for element in found:
            label = "".join(element.itertext())
            assert not label.startswith(("+", "1e"))  # an offset of the axis
            if label in ("max pool 3x3", "skip", "sep conv 3x3") and "rotate(-30" not in element.get("transform", ""):
                y = re.search(r"translate\([\d.]+ ([\d.]+)\)", element.get("transform", ""))
                places[label] = float(y[1]) if y else float(element.get("y", "nan"))  # the legend's come last
        heights = sorted(places.values())
        assert len(heights) == 3 and min(b - a for a, b in pairwise(heights)) > 8


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no epoch to draw"):
        draw_epochs([], [], tmp_path / "a.svg")
    with pytest.raises(InputError, match="no features to draw"):
        draw_similarity([], tmp_path / "a.svg")
    with pytest.raises(InputError, match="no single operations to draw"):
        draw_accuracies([], tmp_path / "a.svg")
    with pytest.raises(InputError, match=r"should end in \.svg, \.png, \.pdf"):
        draw_similarity([FEATURES], tmp_path / "a.gif")
