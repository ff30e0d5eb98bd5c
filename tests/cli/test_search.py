"""``prejudge search`` on tables, on live networks, and TE-NAS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prejudge import cli
from prejudge.cli.arguments import pairs
from prejudge.search import read_result


def _json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "e.h5"
    words = ["search", "evolution", "--benchmark", "digits", "--queries", "30", "--seeds", "3", "--out", str(out)]
    found = _json(capsys, *words, "--option", "population=5")
    assert [r["seed"] for r in found["runs"]] == [0, 1, 2]
    assert all(r["queries"] == 30 and 0 < r["digits_test_7ep"] < 100 for r in found["runs"])
    result = read_result(out)
    assert (result.method, result.options["population"], result.space) == ("evolution", 5, "nasbench201")
    assert result.best == found["best"]
    assert (
        _json(capsys, *words, "--option", "population=5")["runs"][0]["recommendation"]
        == found["runs"][0]["recommendation"]
    )


def test_finished_runs_on_a_table_are_kept_until_the_result_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prejudge.search.finished.KEEP_SECONDS", 0.0)
    out = tmp_path / "e.h5"
    words = ["search", "evolution", "--benchmark", "digits", "--queries", "30", "--seeds", "3", "--out", str(out)]
    with monkeypatch.context() as patched:
        patched.setattr("prejudge.search.write_result", lambda *_: 1 / 0)
        cli.run(words)
    assert out.with_name("e.h5.run").exists() and not out.exists()
    with monkeypatch.context() as patched:
        patched.setattr("prejudge.search.driver.SearchRun.complete", lambda _: 1 / 0)  # none is run again
        found = _json(capsys, *words)["runs"]
    assert [path.name for path in tmp_path.iterdir()] == ["e.h5"]
    again = _json(capsys, *words)["runs"]
    assert [run | {"overhead": 0} for run in again] == [run | {"overhead": 0} for run in found]


def test_a_method_with_schedules_on_learning_curves(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "search", "hyperband", "--benchmark", "digits", "--budget", "10")
    assert found["runs"][0]["seconds"] <= 10


def test_without_a_budget_the_usual_one_is_taken_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["search", "random", "--benchmark", "digits", "--seeds", "3", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "each run may spend 50 simulated seconds; --budget SECONDS or --queries N for another budget" in err
    assert all(150 < run["queries"] < 300 for run in json.loads(out)["runs"])


def test_a_live_proxy_and_a_live_training_that_is_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--space", "nasbench201", "--data", "digits", "--channels", "4", "--cells", "1", "--queries", "3"]
    found = _json(capsys, "search", "random", *small, "--proxy", "synflow")
    assert found["runs"][0]["value"] > 0
    out = tmp_path / "live.h5"
    words = ["search", "random", *small, "--epochs", "1", "--out", str(out)]
    first = _json(capsys, *words)
    journal = out.with_name("live.h5.run") / "random-0.jsonl"
    assert len(journal.read_text().splitlines()) == 4
    out.unlink()
    assert _json(capsys, *words)["runs"][0]["seconds"] == first["runs"][0]["seconds"]  # replayed, not trained again


def test_a_search_in_a_supernet_from_several_seeds_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", "darts", "--space", "nasbench201", "--data", "digits", "--channels", "2", "--cells", "1"]
    words += ["--macro", "stages=1", "--epochs", "1", "--batch-size", "250", "--seeds", "2"]
    there = _json(capsys, *words, "--workers", "2", "--threads-per-worker", "1", "--out", str(tmp_path / "there.h5"))
    here = _json(capsys, *words, "--threads", "1", "--out", str(tmp_path / "here.h5"))
    for run in [*here["runs"], *there["runs"]]:
        del run["seconds"], run["overhead"]
    assert here["runs"] == there["runs"]
    assert {p.name for p in (tmp_path / "there.h5.run").iterdir()} >= {"seed-0", "seed-1"}
    assert cli.run([*words[:-2], "--workers", "2", "--resume", str(tmp_path / "here.h5.run/seed-0")]) == 2
    assert "--resume is for one run at a time" in capsys.readouterr().err


def test_te_nas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "t.h5"
    fast = [f"--setting={s}" for s in ("repeats=1", "batch_size=8", "crops=50", "crop_batches=1")]
    found = _json(capsys, "search", "te-nas", "--data", "digits", "--benchmark", "digits", "--out", str(out), *fast)
    assert read_result(out).trajectories[0].recommendation == found["runs"][0]["recommendation"]
    assert "none" not in found["runs"][0]["recommendation"]
    assert found["runs"][0]["digits_test_7ep"] > 0
    assert {p.name for p in tmp_path.iterdir()} == {"t.h5", "t.h5.lock", "t.h5.run"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["random"], "say what to maximize: --benchmark TABLE, or --space SPACE --data IMAGES"),
        (["random", "--benchmark", "digits", "--data", "digits"], "say what to maximize"),
        (["random", "--data", "digits", "--queries", "2"], "--data needs --space"),
        (["evolutoin", "--benchmark", "digits"], "did you mean 'evolution'"),
        (["evolution", "--benchmark", "digits", "--option", "size=3"], "unknown option of evolution 'size'"),
        (["random", "--benchmark", "digits", "--dataset", "cifar10"], "no dataset 'cifar10'"),
        (["random", "--benchmark", "digits", "--budget", "0.0001"], "smaller than one evaluation"),
        (["random", "--benchmark", "digits", "--space", "darts"], "is of nasbench201, not darts"),
        (["random", "--benchmark", "digits", "--run-seed", "seven"], "--run-seed is mean, random or"),
        (
            ["te-nas", "--data", "digits", "--space", "nasbench101"],
            "it is not defined on nasbench101",
        ),
        (["te-nas", "--data", "digits", "--setting", "kernels=exact"], "did you mean 'kernel'"),
    ],
)
def test_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["search", *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert message in said[-1]


@pytest.mark.parametrize("words", [["random", "--benchmark", "digits"], ["te-nas", "--data", "digits"]])
def test_a_bad_output_is_refused_before_the_search(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("prejudge.search.run", lambda *_, **__: pytest.fail("it was searched"))
    assert cli.run(["search", *words, "--out", str(tmp_path)]) == 2
    assert "is a folder; name a file" in capsys.readouterr().err
    assert cli.run(["search", *words, "--out", str(tmp_path / "gone" / "a.h5")]) == 2
    assert "make it first" in capsys.readouterr().err


def test_drawing_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = str(tmp_path / "darts.h5")
    words = ["search", "darts", "--space", "nasbench201", "--data", "digits", "--channels", "2", "--cells", "1"]
    assert cli.run([*words, "--epochs", "1", "--batch-size", "250", "--benchmark", "digits", "--out", result]) == 0
    said = capsys.readouterr().out
    assert said.startswith("seed 0, ") and "digits_test_" in said
    for show in ("cells", "epochs"):
        assert cli.run(["draw", result, "--show", show, "--out", str(tmp_path / f"{show}.svg")]) == 0
        assert (tmp_path / f"{show}.svg").stat().st_size > 1000
    assert cli.run(["draw", result, "--show", "accuracies", "--out", str(tmp_path / "accuracies.svg")]) == 2
    assert "has nothing about accuracies; give the images of the search with --data" in capsys.readouterr().err
    assert cli.run(["draw", result, "--seed", "4", "--out", str(tmp_path / "a.svg")]) == 2
    assert "the search has no run from seed 4 (it has: 0)" in capsys.readouterr().err
    assert cli.run(["draw", "darts", "DARTS_V2", "--seed", "4", "--out", str(tmp_path / "a.svg")]) == 2
    assert "--show and --seed are for result files" in capsys.readouterr().err


def test_a_space_that_a_gradient_search_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["search", "stacnas", "--space", "nasbench201", "--data", "digits"]) == 2
    assert "stacnas searches darts; it is not defined on nasbench201" in capsys.readouterr().err


def test_a_search_that_trains_its_own_supernet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["search", "darts", "--data", "digits", "--resume", str(tmp_path)]) == 2
    assert "darts does not start from the supernet of an earlier run" in capsys.readouterr().err


def test_the_help_of_a_gradient_search_says_what_option_takes(capsys: pytest.CaptureFixture[str]) -> None:
    from prejudge.cli.search_supernet import METHODS, OPTIONS
    from prejudge.search.registry import register
    from prejudge.search.supernet import SupernetContext

    known = [name for name in register.names() if register.get(name).context is SupernetContext]
    assert sorted(OPTIONS) == sorted(METHODS) == known
    for name, options in OPTIONS.items():
        said = pairs(option.partition(":")[0].partition(",")[0].partition(" or ")[0] for option in options)
        assert said == register.get(name).options
    assert cli.run(["search", "stacnas", "--help"]) == 0
    assert "keep_zero=False or True: whether the final network keeps none" in capsys.readouterr().out
