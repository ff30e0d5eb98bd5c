"""`prejudge run`: recipes as chains, done once, gone on with, done again where their arguments change."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import prejudge
from prejudge import cli
from prejudge.engine.journal import Journal, read_journal
from prejudge.errors import FileFormatError, InputError
from prejudge.pipeline import recipe as recipes
from prejudge.pipeline.chain import COMMANDS, Chain, read_chain
from prejudge.pipeline.run_folder import RunFolder
from prejudge.train.export.weights import load_weights

CHAIN = """
title: a small chain
search:
  method: random
  benchmark: digits
  queries: 3
  out: found.h5
train:
  genotype: "{search}"
  recipe: nasbench201
  data: digits
  channels: 4
  cells: 1
  macro: [stages=1]
  epochs: EPOCHS
  batch-size: 50
test:
  checkpoint: "{train}"
  data: digits
report:
  training: ["{train}"]
published:
  step: train
  what: error, %
  value: 50
  spread: 5
  source: nobody
  status: quoted
"""

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(CHAIN.replace("EPOCHS", "2"))
    return path


def manifest(folder: Path) -> dict[str, Any]:
    found = read_journal(folder / "run.journal")
    assert found is not None
    return {record["step"]: record for record in found.records}


def test_a_chain_from_search_to_report(recipe: Path, capsys: Printed) -> None:
    assert cli.run(["run", str(recipe)]) == 0
    printed = capsys.readouterr()
    out = Path("small")
    for place in ("search/found.h5", "train/result.json", "test/test.json", "report/report.html"):
        assert (out / place).is_file()
    assert "the paper's figures and this run's" in printed.out
    figure = r"error, % +50 ± 5 +\d+\.\d\d +\d+\.\d\d to \d+\.\d\d +(yes|no) +quoted +nobody"
    assert re.search(figure, printed.out)
    page = (out / "published.html").read_text(encoding="utf-8")
    assert all(text in page for text in ("50 ± 5", "95 % interval", "nobody"))
    assert all(step["done"] for step in manifest(out).values())
    weights = (out / "train/weights.safetensors").stat().st_mtime_ns

    assert cli.run(["run", str(recipe), "--json"]) == 0  # all is there
    printed = capsys.readouterr()
    assert printed.err.count("already there") == 4
    assert json.loads(printed.out)["steps"] == {}
    assert (out / "train/weights.safetensors").stat().st_mtime_ns == weights

    (out / "report/report.html").unlink()  # what is not there is made again, and nothing else
    assert cli.run(["run", str(recipe), "--json"]) == 0
    printed = capsys.readouterr()
    assert list(json.loads(printed.out)["steps"]) == ["report"]

    assert cli.run(["run", str(recipe), "--set", "train.epochs=1", "--json"]) == 0  # and all that builds on it
    printed = capsys.readouterr()
    assert list(json.loads(printed.out)["steps"]) == ["train", "test", "report"]
    assert "are now" not in printed.out
    assert (out / "replaced/train-1/weights.safetensors").stat().st_mtime_ns == weights
    assert json.loads((out / "train/result.json").read_text())["recipe"]["epochs"] == 1


def test_where_a_step_computes_does_not_make_it_another(recipe: Path) -> None:
    content = recipes.read(str(recipe))
    chains = [read_chain(content, changed) for changed in ({}, {"train": {"device": "cuda"}})]
    assert chains[0].key(chains[0].steps[1]) == chains[1].key(chains[1].steps[1])
    other = read_chain(content, {"search": {"queries": 4}})
    assert [a == b for a, b in zip(map(chains[0].key, chains[0].steps), map(other.key, other.steps), strict=True)] == [
        False
    ] * 4
    assert "--device" in chains[1].words(chains[1].steps[1], Path("x"))


def test_the_plan_is_the_commands(recipe: Path, capsys: Printed) -> None:
    assert cli.run(["run", str(recipe), "--out", "here", "--device", "cpu", "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0]
        == "prejudge search --method random --benchmark digits --queries 3 --device cpu --out here/search/found.h5"
    )
    assert lines[1].startswith("prejudge train --genotype here/search/found.h5 --recipe nasbench201")
    assert lines[3] == "prejudge report --training here/train --out here/report/report.html"
    assert not Path("here").exists()


def test_a_step_that_fails_ends_the_run(recipe: Path, capsys: Printed) -> None:
    recipe.write_text(recipe.read_text().replace('checkpoint: "{train}"', "checkpoint: gone.pt"))
    assert cli.run(["run", str(recipe)]) == 2
    error = capsys.readouterr().err
    assert "no file gone.pt" in error
    assert "step 'test' has failed" in error
    steps = manifest(Path("small"))
    assert (steps["train"]["done"], steps["test"]["done"]) == (True, False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{search}", "{serch}", "unknown earlier step in the arguments of 'train': 'serch'; did you mean 'search'?"),
        ("{search}", "{report}", "unknown earlier step in the arguments of 'train': 'report'"),
        ("batch-size: 50", "batchsize: 50", "step 'train'"),
        ("test:\n", "list:\n", "`prejudge list` cannot be a step"),
    ],
)
def test_a_mistake_is_said_before_anything_is_done(
    recipe: Path, old: str, new: str, message: str, capsys: Printed
) -> None:
    recipe.write_text(recipe.read_text().replace(old, new))
    assert cli.run(["run", str(recipe)]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not Path("small").exists()


def test_folders_of_others_are_left_alone(recipe: Path, capsys: Printed) -> None:
    Path("other").mkdir()
    Path("other/mine.txt").write_text("mine")
    assert cli.run(["run", str(recipe), "--out", "other"]) == 2
    assert "other is not empty and not the folder of a run" in capsys.readouterr().err
    Path("small").mkdir()
    Path("small/run.journal").write_text("damaged\n")
    assert cli.run(["run", str(recipe)]) == 1
    assert "small/run.journal does not begin as a journal; remove it to do all steps again" in capsys.readouterr().err
    assert cli.run(["run", str(recipe), "--set", "epochs=1"]) == 2
    assert cli.run(["run", str(recipe), "--set", "trian.epochs=1"]) == 2


def test_a_command_may_come_twice_under_labels() -> None:
    content = {
        "search": {"method": "random"},
        "train (a)": {"genotype": "{search}"},
        "train (b)": {"genotype": "{search}"},
        "report": {"training": ["{train (a)}", "{train (b)}"], "out": "both.html"},
    }
    chain = read_chain(content, {})
    words = chain.words(chain.steps[3], Path("o"))
    assert words == ["report", "--training", "o/train-a", "--training", "o/train-b", "--out", "o/report/both.html"]
    with pytest.raises(InputError, match="unknown earlier step"):
        broken = read_chain({**content, "report": {"training": "{train}"}}, {})
        broken.words(broken.steps[3], Path("o"))


def test_one_step_of_a_recipe_needs_what_earlier_steps_would_give(recipe: Path, capsys: Printed) -> None:
    assert cli.run(["train", "--recipe", str(recipe), "--out", "x"]) == 2
    assert "takes --genotype from an earlier step ({search})" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(recipe: Path) -> None:
    recipe.write_text(CHAIN.replace("EPOCHS", "40"))
    words = [sys.executable, "-m", "prejudge", "run", str(recipe)]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*words, "--out", "killed"], env=environment)
    log = Path("killed/train/log.jsonl")
    deadline = time.monotonic() + 200
    while not (log.is_file() and log.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert manifest(Path("killed"))["train"]["done"] is False
    for out in ("killed", "whole"):
        done = subprocess.run([*words, "--out", out], env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
    assert len(log.read_text().splitlines()) == 40
    results = [json.loads(Path(out, "train/result.json").read_text()) for out in ("killed", "whole")]
    for result in results:
        for name in ("seconds", "images_per_second", "folder"):
            del result[name]
        for epoch in result["epochs"]:
            del epoch["seconds"]
    assert results[0] == results[1]
    killed, whole = (load_weights(Path(out, "train/weights.safetensors"))[0] for out in ("killed", "whole"))
    assert all(
        torch.equal(a, b) for a, b in zip(killed.state_dict().values(), whole.state_dict().values(), strict=True)
    )


def one_step() -> Chain:
    return read_chain({"search": {}})


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\x00\xff", b"{}\n{}\n"])
def test_a_journal_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.journal").write_bytes(content)
    with pytest.raises(FileFormatError, match="does not begin as a journal"), RunFolder(tmp_path, one_step()):
        pass


@pytest.mark.parametrize("seconds", ["x", None, [], -1, 10**400, "9" * 5000])
def test_a_journal_with_odd_seconds_goes_on(tmp_path: Path, seconds: Any) -> None:
    chain = one_step()
    (step,) = chain.steps
    with Journal(tmp_path / "run.journal", {}, "run") as journal:
        journal.append({"step": "search", "key": chain.key(step), "seconds": seconds})
    with RunFolder(tmp_path, chain) as found:
        assert found.seconds(step) is None
        found.begin(step)
        found.end(step, 2.0, done=True)
        assert found.seconds(step) == 2.0


def test_a_run_that_was_killed_at_its_start_goes_on(recipe: Path, capsys: Printed) -> None:
    for name in ("run.journal", "run.journal.lock", "run.json.part", "run.json.lock"):
        Path("o/search").mkdir(parents=True, exist_ok=True)
        Path("o", name).touch()
    recipe.write_text("title: t\nsearch: {method: random, benchmark: digits, queries: 3}\n")
    assert cli.run(["run", str(recipe), "--out", "o"]) == 0
    assert Path("o/search/search.h5").is_file()
    assert not Path("o/replaced").exists()
    capsys.readouterr()


def test_python_runs_what_the_command_runs(recipe: Path, capfd: Printed) -> None:
    recipe.write_text("title: t\nsearch: {method: random, benchmark: digits, queries: 3}\n")
    said: list[str] = []
    done = prejudge.pipeline.run(recipe, "o", changes=["search.seeds=2"], say=said.append)
    assert done.results == {"search": Path("o/search/search.h5")}
    assert len(done.outputs["search"]["runs"]) == 2
    assert said == ["1/1 search"]
    assert cli.run(["run", str(recipe), "--out", "o", "--set", "search.seeds=2"]) == 0
    assert "already there" in capfd.readouterr().err
    with pytest.raises(InputError, match=r"step 'search'.*--sedes"):
        prejudge.pipeline.run(recipe, "o", changes=["search.sedes=2"])
    with pytest.raises(prejudge.pipeline.StepError, match="step 'search' has failed") as error:
        prejudge.pipeline.run(recipe, "p", changes=["search.method=unknown"])
    assert error.value.exit_code == 2


def test_the_names_of_commands_are_those_of_the_command_line() -> None:
    assert set(cli.COMMANDS) == COMMANDS
