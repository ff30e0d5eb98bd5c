"""`prejudge demo`: the first command of a newcomer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prejudge import cli


def test_demo_prints_the_table_and_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["demo", "--archs", "10", "--workers", "1"]
    assert cli.run(words) == 0
    out = capsys.readouterr().out
    assert "digits_test_" in out
    assert "synflow" in out
    assert "scored 10 untrained architectures" in out
    assert "next:" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prejudge-demo"]
    assert {"scores.h5", "report.html"} <= {p.name for p in (tmp_path / "prejudge-demo").iterdir()}
    assert cli.run(words) == 0
    assert "nothing to compute" in capsys.readouterr().out
    assert cli.run([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["computed"] == 0
    assert any(row["proxy"] == "synflow" for row in found["correlations"])


def test_demo_refuses_a_senseless_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["demo", "--archs", "3", "--out", str(tmp_path / "demo"), "--json"]) == 2
    assert "10 to 6466" in capsys.readouterr().err
