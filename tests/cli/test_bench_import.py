"""``prejudge bench import`` and ``query`` on files in the published formats."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from prejudge import cli
from prejudge.spaces import space
from tests.benchmarks.importers.official_files import contents, write_pth
from tests.hostile_pickles import Call


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pth(tmp_path_factory.mktemp("official"), contents(4, version="v1_1"))


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def _json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_import_info_and_query(official: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "import", "nasbench201", str(official)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("wrote ")
    assert "MB of memory" in said.err
    assert cli.run(["bench", "import", "nasbench201", str(official)]) == 0
    assert capsys.readouterr().out.startswith("you already have it")
    info = _json(capsys, "bench", "info", "nasbench201")
    assert info["metrics"]["cifar10_test_200ep"] == 4
    assert info["units"]["seconds"] == "seconds"
    cell = space("nasbench201")[2]
    by_text = _json(capsys, "bench", "query", "nasbench201", str(cell))
    assert by_text == _json(capsys, "bench", "query", "nasbench201", "2")
    assert by_text["values"]["cifar10_valid_12ep"] == by_text["values"]["cifar10-valid_valid_12ep"]
    seconds = _json(capsys, "bench", "query", "nasbench201", "2", "--quantity", "seconds", "--dataset", "cifar10")
    assert set(seconds["values"]) >= {"cifar10_train_12ep_seconds", "cifar10_valid_12ep_seconds"}
    assert seconds["unit"] == "seconds"
    assert cli.run(["bench", "query", "nasbench201", "15000"]) == 2  # the small file does not have it
    assert "4 of 15625" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["nasbench201", "nasbench101", "nasbench301", "npz", "csv"])
def test_a_foreign_pickle_runs_nothing(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    marker, source = tmp_path / "it-ran", tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    source.write_bytes(pickle.dumps({"meta_archs": Call(os.mkdir, str(marker))}))
    assert cli.run(["bench", "import", kind, str(source), "--out", str(tmp_path / "t.h5"), "--unpublished"]) in (1, 2)
    said = capsys.readouterr().err
    assert said.count("\n") <= 2  # for nasbench201 also what it would take
    assert str(source) in said
    assert not marker.exists()
    assert not (tmp_path / "t.h5").exists()
    pickle.loads(source.read_bytes())
    assert marker.exists()  # the attack is real
