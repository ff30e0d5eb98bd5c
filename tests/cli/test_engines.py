"""The options that say where jobs run: ``--engine``, ``--shard`` and what belongs to them."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console

from prejudge import cli
from prejudge.cli.options import EngineOptions
from prejudge.cli.progress import ClusterBar
from prejudge.engine import LocalEngine, RayEngine
from prejudge.engine.rates import NodeRates
from prejudge.errors import InputError
from tests.caches import frame

SMALL = ["--channels", "4", "--cells", "1", "--batch-size", "8"]
SCORE = ["score", "nasbench201", "--data", "digits", "--archs", "random:7", "--proxies", "synflow,params", *SMALL]
OTHERS = {
    "bench train": ["bench", "train", "nasbench201", "--data", "digits", "--archs", "index:3"],
    "search": ["search", "random", "--benchmark", "digits", "--queries", "3"],
    "search te-nas": ["search", "te-nas", "--data", "digits"],
}


def run_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert cli.run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_shards_merged_are_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_json([*SCORE, "--out", str(tmp_path / "whole.h5")], capsys)
    parts = [str(tmp_path / f"part-{i}.h5") for i in (1, 2, 3)]
    computed = [
        run_json([*SCORE, "--shard", f"{i}/3", "--out", part], capsys)["computed"]
        for i, part in enumerate(parts, start=1)
    ]
    assert sorted(computed) == [2, 2, 3]
    assert run_json(["cache", "merge", *parts, "--out", str(tmp_path / "all.h5")], capsys)["added"] == 14
    pd.testing.assert_frame_equal(frame(tmp_path / "all.h5"), frame(tmp_path / "whole.h5"), check_exact=True)
    assert cli.run([*SCORE, "--shard", "1/3", "--out", parts[0]]) == 0
    assert "prejudge cache merge" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["0/3", "4/3", "half"])
def test_a_shard_that_is_none(shard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*SCORE, "--shard", shard, "--out", str(tmp_path / "s.h5")]) == 2
    err = capsys.readouterr().err
    assert "1/N to N/N" in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_options_of_the_local_engine(one_thread: None) -> None:
    assert EngineOptions().open("cpu") == LocalEngine(1)
    assert torch.get_num_threads() == 1
    assert EngineOptions(workers=2, threads_per_worker=3).open("cpu") == LocalEngine(2)
    assert torch.get_num_threads() == 6
    assert EngineOptions(workers=2, threads=4).open("cpu") == LocalEngine(2)
    assert torch.get_num_threads() == 4


def test_options_of_the_ray_engine() -> None:
    assert EngineOptions(engine="ray").open("cpu") == RayEngine()
    assert EngineOptions(engine="ray").open("cuda:0") == RayEngine(gpus_per_worker=1.0)
    given = EngineOptions(5, None, "ray", "head:6379", 2, 0.25, 7)
    assert given.open("cuda") == RayEngine("head:6379", 5, 2, 0.25, 7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": 2, "threads_per_worker": 2}, "not both"),
        ({"engine": "ray", "threads": 2}, "--threads-per-worker"),
        ({"address": "auto"}, "--address needs --engine ray"),
        ({"gpus_per_worker": 0.5}, "--gpus-per-worker needs --engine ray"),
        ({"retries": 1}, "--retries needs --engine ray"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        EngineOptions(**options).open("cpu")


@pytest.mark.parametrize("command", ["score", *OTHERS])
def test_without_ray_a_command_says_how_to_get_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = OTHERS.get(command, SCORE)
    assert cli.run([*words, "--engine", "ray", "--out", str(tmp_path / "out.h5")]) == 1
    err = capsys.readouterr().err
    assert "pip install 'prejudge[ray]'" in err and err.count("\n") == 1


def test_a_head_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'prejudge[ray]'")
    words = [*SCORE, "--engine", "ray", "--out", str(tmp_path / "s.h5")]
    for address, code in (("127.0.0.1:9", 1), ("ray://127.0.0.1:9", 1), ("nowhere", 2)):
        assert cli.run([*words, "--address", address]) == code
        err = capsys.readouterr().err
        assert err.startswith("prejudge: ") and err.count("\n") == 1


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_a_cluster_for_this_run_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'prejudge[ray]'")
    words = [*SCORE, "--engine", "ray", "--address", "local", "--workers", "1", "--out", str(tmp_path / "s.h5")]
    found = subprocess.run([sys.executable, "-m", "prejudge", *words], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert "synflow" in found.stdout and "by node: " in found.stderr
    run_json([*SCORE, "--threads", "1", "--out", str(tmp_path / "here.h5")], capsys)
    pd.testing.assert_frame_equal(frame(tmp_path / "s.h5"), frame(tmp_path / "here.h5"), check_exact=True)


def test_rates_of_nodes() -> None:
    rates = NodeRates()
    assert rates.text(0.0) == ""
    for second in range(100):
        rates.add("a", float(second))
        if second < 30:
            rates.add("b", float(second))
    assert rates.rates(99.0) == {"a": pytest.approx(61 / 60), "b": 0.0}
    assert rates.text(99.0) == "a 1.02/s, b 0/s"
    assert rates.done == {"a": 100, "b": 30}
    for node in "cdef":
        rates.add(node, 99.0)
    assert rates.text(99.0).startswith("6 nodes 1.08/s, 0 to 1.02/s each")


def test_a_bar_that_knows_nodes() -> None:
    bar = ClusterBar("scoring", quiet=True)
    assert bar.summary == ""
    with bar:
        for done in range(1, 4):
            bar.watch("node" if done < 3 else "other")
            bar(done, 3, 0.1)
    assert bar.summary == "node 2, other 1" and bar.done == 3


def test_a_bar_says_how_fast_each_node_is_and_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    bar = ClusterBar("scoring", quiet=True)
    monkeypatch.setattr(bar._bar, "get_time", lambda: float(next(clock)))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    for done in range(1, 5):
        bar.watch("a" if done % 2 else "b")
        bar(done, 100)
    shown = io.StringIO()
    Console(file=shown, width=200).print(bar._bar.get_renderable())
    assert re.search(r"scoring \(a [\d.]+/s, b [\d.]+/s\) .* 4/100 .* \d:\d\d:\d\d left", shown.getvalue())
