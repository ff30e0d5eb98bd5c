"""The main job on a small scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from prejudge.errors import InputError, PrejudgeError
from prejudge.pipeline.demo import run_demo


def test_a_demo_scores_reports_and_computes_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    first = run_demo(folder, architectures=12)
    assert first.computed == 12
    assert first.cache == folder / "scores.h5"
    assert first.report.stat().st_size < 2_000_000
    rows = first.data.rows(stratum="all")
    assert {"synflow", "naswot", "params", "flops"} <= set(rows["proxy"])
    assert (rows["n"] <= 12).all()
    again = run_demo(folder, architectures=12)
    assert again.computed == 0
    assert again.protocol == first.protocol
    assert again.data.rows().equals(first.data.rows())
    assert run_demo(folder, architectures=14).computed == 2


@pytest.mark.parametrize("number", [0, 9, 6467])
def test_a_senseless_number_is_refused(tmp_path: Path, number: int) -> None:
    with pytest.raises(InputError, match="10 to 6466"):
        run_demo(tmp_path / "demo", architectures=number)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrejudgeError, match="file"):
        run_demo(tmp_path / "file" / "demo", architectures=10)
