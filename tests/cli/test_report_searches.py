"""`prejudge report --searches`: from result files to a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prejudge import cli


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Results of two searches of the digits table."""
    folder = tmp_path_factory.mktemp("searches")
    for method in ("random", "local-search"):
        words = ["search", method, "--benchmark", "digits", "--budget", "4", "--seeds", "12"]
        assert cli.run([*words, "--out", str(folder / f"{method}.h5"), "--json"]) == 0
    return [str(folder / "random.h5"), str(folder / "local-search.h5")]


def test_prints_the_table_and_writes_every_format(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compare.html"
    assert cli.run(["report", "--searches", *files, "--benchmark", "digits", "--out", str(page)]) == 0
    printed = capsys.readouterr()
    assert "digits_test_7ep" in printed.out
    assert "local-search" in printed.out
    assert "p (Holm)" in printed.out
    assert "note: The table has no evaluation times" in printed.err
    assert f"wrote {page}" in printed.err
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    for name, start in (("c.csv", "searched,metric,method"), ("c.md", "# nasbench201"), ("c.tex", "% needs")):
        words = ["report", "--searches", files[0], "--searches", files[1], "--benchmark", "digits"]
        assert cli.run([*words, "--out", str(tmp_path / name), "--title", "nasbench201 again"]) == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_json_has_the_tables(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", "--searches", *files, "--benchmark", "digits", "--dataset", "digits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found["final"]] == ["random", "local-search"]
    assert all(row["runs"] == 12 and row["metric"] == "digits_test_7ep" for row in found["final"])
    assert [(row["first"], row["second"], row["pairs"]) for row in found["tests"]] == [("random", "local-search", 12)]
    assert 0 < found["optima"]["digits_test_7ep"] < 100
    assert (found["limits"], found["written"]) == ({}, None)


def test_another_metric_can_be_named(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "--searches", files[0], "--benchmark", "digits", "--metric", "digits_valid_7ep_seed1"]
    assert cli.run([*words, "--json"]) == 0
    assert [r["metric"] for r in json.loads(capsys.readouterr().out)["final"]] == ["digits_valid_7ep_seed1"]


def test_a_recipe_can_name_the_searches(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"report:\n  benchmark: digits\n  searches:\n    - {files[0]}\n    - {files[1]}\n")
    assert cli.run(["report", "--recipe", str(recipe), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["final"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a score cache, or --searches with result files"),
        (["scores.h5", "--searches", "RANDOM"], "one of the two"),
        (["--searches", "RANDOM", "--stratum", "connected"], "--stratum and --protocol belong to a score cache"),
        (["--searches", "RANDOM", "RANDOM"], "repeats 12 of the runs of"),
        (["--searches", "nowhere.h5"], "no search result nowhere.h5"),
        (["--searches", "RANDOM", "--metric", "cifar10_test_200ep"], "has no dataset 'cifar10'"),
    ],
)
def test_wrong_use_is_one_line(
    files: list[str], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [files[0] if word == "RANDOM" else word for word in words]
    assert cli.run(["report", *given, "--benchmark", "digits", "--json"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
