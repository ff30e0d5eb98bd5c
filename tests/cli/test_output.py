"""Tables for people, JSON for machines."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from prejudge.cli import output


@dataclass(frozen=True)
class Point:
    x: float
    label: str


def test_json_takes_what_the_rooms_return(capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "float": np.float32(0.5),
        "nan": float("nan"),
        "array": np.array([[1, 2], [3, 4]]),
        "point": Point(float("inf"), "a"),
        "tuple": (True, None),
        7: {"set"},
    }
    output.print_json(value)
    assert json.loads(capsys.readouterr().out) == {
        "float": 0.5,
        "nan": None,
        "array": [[1, 2], [3, 4]],
        "point": {"x": None, "label": "a"},
        "tuple": [True, None],
        "7": ["set"],
    }


def test_a_redirected_table_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|" * 3
    output.print_table("cells", ["architecture", "n"], [[long, 15625]], numeric=["n"])
    out = capsys.readouterr().out
    assert long in out
    assert "15,625" in out


def test_missing_numbers_are_dashes_and_brackets_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table("", ["proxy", "spearman"], [["[bold]zen", float("nan")]], numeric=["spearman"])
    out = capsys.readouterr().out
    assert "[bold]zen" in out
    assert "–" in out


def test_remarks_are_no_part_of_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("next: …")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "next: …\n"
