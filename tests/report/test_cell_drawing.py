"""Pictures of cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from prejudge.errors import InputError, PrejudgeError
from prejudge.report.cell_drawing import draw_cells


@dataclass(frozen=True)
class Graph:
    vertices: tuple[str, ...]
    edges: tuple[tuple[int, int, str], ...]


OPERATIONS = ((0, 2, "sep_conv_3x3"), (1, 2, "skip_connect"), (0, 3, "max_pool_3x3"), (0, 3, "skip_connect"))
CELL = Graph(("c_{k-2}", "c_{k-1}", "0", "1", "c_{k}"), (*OPERATIONS, (2, 4, ""), (3, 4, "")))
PLAIN = Graph(("input", "conv3x3", "output"), ((0, 1, ""), (1, 2, ""), (0, 2, "")))


def _texts(path: Path) -> list[str]:
    return [e.text.strip() for e in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text") if e.text]


def test_every_vertex_and_operation_is_written(tmp_path: Path) -> None:
    path = draw_cells({"normal": CELL, "reduce": PLAIN}, tmp_path / "cell.svg", title="a title that is long " * 8)
    texts = _texts(path)
    assert {*CELL.vertices, *PLAIN.vertices, "normal", "reduce"} <= set(texts)
    assert texts.count("skip_connect") == 2
    assert texts.count("sep_conv_3x3") == 1
    assert sum("a title" in t for t in texts) > 1  # broken into lines


def test_the_same_cell_gives_the_same_file(tmp_path: Path) -> None:
    first, second = (draw_cells({"cell": CELL}, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second


def test_labels_do_not_cover_each_other(tmp_path: Path) -> None:
    # Two arcs have their apex at the same place only if they join the same vertices on the same side.
    from prejudge.report.cell_drawing import _placed

    places = [(s + t, side * (t - s)) for s, t, label, side in _placed(CELL) if label]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(("name", "start"), [("c.png", b"\x89PNG"), ("c.pdf", b"%PDF"), ("c.SVG", b"<?xml")])
def test_formats(tmp_path: Path, name: str, start: bytes) -> None:
    assert draw_cells({"cell": PLAIN}, tmp_path / name).read_bytes().startswith(start)


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"should end in \.svg, \.png, \.pdf"):
        draw_cells({"cell": PLAIN}, tmp_path / "cell.gif")
    with pytest.raises(PrejudgeError, match=r"no folder .*cell\.svg"):
        draw_cells({"cell": PLAIN}, tmp_path / "none" / "cell.svg")
