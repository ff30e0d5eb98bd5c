"""`prejudge score` and what comes after it, from end to end on the digits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prejudge
from prejudge import cli
from prejudge.benchmarks import Metric, write_table

SMALL = ["--channels", "4", "--cells", "1", "--batch-size", "8"]
SCORE = [
    "score",
    "nasbench201",
    "--data",
    "digits",
    "--archs",
    "random:5",
    "--proxies",
    "synflow,params,naswot",
    *SMALL,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache of five architectures and a table that knows every architecture."""
    place = tmp_path_factory.mktemp("scored")
    assert cli.run([*SCORE, "--out", str(place / "scores.h5")]) == 0
    accuracies = np.random.default_rng(0).uniform(10, 90, 15625)
    write_table(
        place / "table.h5",
        "nasbench201",
        {Metric("toy", "test", 12): accuracies, Metric("toy", "valid", 12): accuracies},
    )
    return place


def run_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert cli.run([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)  # type: ignore[no-any-return]


def test_every_score_is_in_the_cache(folder: Path) -> None:
    with prejudge.ScoreCache(folder / "scores.h5", "r") as cache:
        frame = cache.frame()
        protocol = cache.protocols()[0]
    assert list(frame.columns) == ["synflow", "params", "naswot"]
    assert len(frame) == 5
    macro = dict(protocol.macro)
    assert (macro["channels"], macro["cells"], macro["in_channels"]) == (4, 1, 1)
    space = prejudge.space("nasbench201")
    for text, params in frame["params"].items():
        assert params == space.params(space.parse(text), **macro)


def test_a_second_run_computes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json([*SCORE, "--out", str(folder / "scores.h5")], capsys)
    assert found["computed"] == 0
    capsys.readouterr()
    assert cli.run([*SCORE, "--out", str(folder / "scores.h5")]) == 0
    assert "nothing to compute" in capsys.readouterr().err


def test_a_larger_sample_adds_only_the_new_ones(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "scores.h5"
    copy.write_bytes((folder / "scores.h5").read_bytes())
    larger = [w.replace("random:5", "random:7") for w in SCORE]
    assert run_json([*larger, "--out", str(copy)], capsys)["computed"] == 2


def test_a_proxy_of_ones_own_is_scored_beside_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        "from prejudge import proxy\n"
        "@proxy('weight_sum', reference='mine', reads=['weights'])\n"
        "def weight_sum(probe):\n    'Sum of all weights.'\n"
        "    return sum(w.sum() for w in probe.weights.values())\n"
    )
    words = ["score", "nasbench201", "--data", "digits", "--archs", "index:11", *SMALL, "--out", str(tmp_path / "s.h5")]
    found = run_json([*words, "--proxies", f"{tmp_path / 'mine.py'}:weight_sum,zen(images=4, scale=0.1)"], capsys)
    columns = found["columns"]
    assert isinstance(columns, dict)
    assert set(columns) == {"weight_sum", "zen(images=4, scale=0.1)"}
    assert all(c["ok"] == 1 for c in columns.values())


def test_report_prints_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", str(folder / "scores.h5"), "--benchmark", str(folder / "table.h5")]
    assert cli.run([*words, "--out", str(tmp_path / "r.html")]) == 0
    captured = capsys.readouterr()
    assert "toy_test_12ep, all architectures" in captured.out
    assert "toy_valid_12ep" not in captured.out
    assert all(name in captured.out for name in ("synflow", "naswot", "params", "flops"))
    assert "<html" in (tmp_path / "r.html").read_text(encoding="utf-8").lower()
    found = run_json([*words, "--split", "valid", "--stratum", "connected"], capsys)
    rows = found["correlations"]
    assert isinstance(rows, list)
    assert {(r["metric"], r["stratum"]) for r in rows} == {("toy_valid_12ep", "connected")}


@pytest.mark.parametrize("suffix", ["csv", "md", "tex"])
def test_report_in_the_formats_of_papers(folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"r.{suffix}"
    assert (
        cli.run(["report", str(folder / "scores.h5"), "--benchmark", str(folder / "table.h5"), "--out", str(out)]) == 0
    )
    assert "synflow" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [
        ["--metric", "toy_test_200ep"],
        ["--dataset", "other"],
        ["--metric", "toy_test_12ep", "--split", "test"],
        ["--stratum", "best"],
        ["--protocol", "ffff"],
        ["--out", "no/such/folder/r.html"],
        ["--out", "r.xyz"],
    ],
    ids=" ".join,
)
def test_report_says_what_is_wrong(
    folder: Path,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["report", str(folder / "scores.h5"), "--benchmark", str(folder / "table.h5"), *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("prejudge: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_cache_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(folder / "scores.h5")
    content = run_json(["cache", "info", file], capsys)
    (protocol,) = content["protocols"]  # type: ignore[misc]
    assert protocol["columns"]["synflow"]["ok"] == 5
    assert cli.run(["cache", "info", file]) == 0
    assert "synflow" in capsys.readouterr().out
    assert run_json(["cache", "verify", file], capsys)["problems"] == []
    assert cli.run(["cache", "export", file, "--out", str(tmp_path / "s.csv")]) == 0
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 6
    assert cli.run(["cache", "export", file, "--out", str(tmp_path / "one.csv"), "--repeat", "0"]) == 0
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "s.csv").read_text()
    merged = str(tmp_path / "all.h5")
    assert run_json(["cache", "merge", file, "--out", merged], capsys)["added"] == 15
    assert run_json(["cache", "merge", file, "--out", merged], capsys)["equal"] == 15


def test_verify_fails_on_a_damaged_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes((folder / "scores.h5").read_bytes()[:-100])
    assert cli.run(["cache", "verify", str(broken)]) == 1
    assert "broken.h5" in capsys.readouterr().out
    assert cli.run(["cache", "info", str(broken)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_query_answers_one_metric_or_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = str(folder / "table.h5")
    found = run_json(["bench", "query", table, "7"], capsys)
    values = found["values"]
    assert isinstance(values, dict)
    assert set(values) == {"toy_test_12ep", "toy_valid_12ep"}
    assert cli.run(["bench", "query", table, str(prejudge.space("nasbench201")[7]), "--metric", "toy_test_12ep"]) == 0
    assert float(capsys.readouterr().out) == values["toy_test_12ep"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_keeps_what_was_computed(tmp_path: Path) -> None:
    out = tmp_path / "scores.h5"
    words = [w.replace("random:5", "all") for w in SCORE]
    process = subprocess.Popen(
        [sys.executable, "-m", "prejudge", *words, "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    journal = tmp_path / "scores.h5.journal"
    deadline = time.monotonic() + 200
    while not (journal.exists() and journal.stat().st_size > 8_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "run the same command again" in err
    assert "Traceback" not in err
    with prejudge.ScoreCache(out, "r") as cache:
        assert len(cache.frame()) > 10


MINE = """
import prejudge

@prejudge.proxy("mine", reference="a test", reads=[{reads}])
def mine(probe):
    "Mine."
    return {value}
"""


def test_the_loop_of_an_inventor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write, score, see why it fails, mend, score again."""
    monkeypatch.chdir(tmp_path)
    file = Path("mine.py")

    def score(*more: str, proxies: str = "mine.py:mine") -> tuple[int, str, dict[str, Any]]:
        words = [w if w != "synflow,params,naswot" else proxies for w in SCORE]
        code = cli.run([*words, "--out", "c.h5", *more])
        captured = capsys.readouterr()
        return code, captured.err, json.loads(captured.out) if "--json" in more else {}

    file.write_text(MINE.format(value="1.0", reads="'no_such_quantity'"))
    code, err, _ = score()
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown probe quantity 'no_such_quantity'" in err
    assert not Path("c.h5").exists()

    file.write_text(MINE.format(value="1 / 0", reads=""))
    code, err, _ = score()
    assert code == 1
    assert "mine: 5 failed: ZeroDivisionError: division by zero (mine.py, line 7) (first: |" in err
    assert "Traceback" not in err
    code, err, found = score("--json", "--debug")
    assert code == 1
    assert err.count("ZeroDivisionError: division by zero") == 5
    assert "in mine" in err
    assert [(f["proxy"], f["scores"]) for f in found["failures"]] == [("mine", 5)]
    assert score(proxies="mine.py:mine,params")[0] == 0  # not everything failed

    file.write_text(MINE.format(value="3.0", reads=""))
    code, err, _ = score()
    assert code == 0
    assert "the source of mine has changed" in err
    assert "5 architectures scored now" in err
    assert "nothing to compute" in score()[1]
    assert "5 architectures scored now" in score("--rescore")[1]
    assert "unknown proxy of this run to compute anew 'zen'" in score("--rescore", "zen")[1]
    with prejudge.ScoreCache("c.h5", "r") as cache:
        assert cache.frame().mine.tolist() == [3.0] * 5
