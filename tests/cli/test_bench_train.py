"""`prejudge bench train` and `bench import`: tables made on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prejudge import cli
from prejudge.benchmarks import open_table
from prejudge.benchmarks.training.table_recipe import DIGITS_RECIPE, TableRecipe
from prejudge.cli.arguments import pairs
from prejudge.pipeline import recipe

TRAIN = [
    "bench", "train", "nasbench201", "--data", "digits", "--archs", "random:3", "--epochs", "1",
    "--channels", "4", "--cells", "1", "--macro", "stages=1", "--train-images", "100",
]  # fmt: skip


def test_training_makes_a_table_and_continues_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.h5"
    assert cli.run([*TRAIN, "--seeds", "1", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained"] == 3
    assert cli.run([*TRAIN, "--seeds", "2", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained"] == 3
    assert cli.run([*TRAIN, "--seeds", "2", "--out", str(out)]) == 0
    assert "nothing to train" in capsys.readouterr().err
    table = open_table(out)
    assert {m.seed for m in table.metrics()} == {0, 1, "mean"}
    assert json.loads(table.index.provenance["recipe"])["macro"]["stages"] == 1


def test_another_recipe_does_not_continue_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.h5"
    assert cli.run([*TRAIN, "--seeds", "1", "--out", str(out)]) == 0
    before = out.read_bytes()
    capsys.readouterr()
    assert cli.run([*TRAIN, "--seeds", "1", "--learning-rate", "0.5", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [["--epochs", "0"], ["--learning-rate", "0"], ["--channels", "0"], ["--train-images", "5000"], ["--seeds", "0"]],
    ids=" ".join,
)
def test_wrong_numbers_are_one_line(tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "train", "nasbench201", "--data", "digits", "--archs", "index:7", "--out", str(tmp_path / "t.h5")]
    assert cli.run([*words, *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("prejudge: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "t.h5").exists()


def test_a_csv_file_becomes_a_table_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prejudge.benchmarks.table.library.user_folder", lambda: tmp_path / "own")
    text = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    (tmp_path / "t.csv").write_text(f"arch_str,toy_test_12ep\n{text},61.5\n")
    assert cli.run(["bench", "import", "csv", str(tmp_path / "t.csv"), "--name", "toy"]) == 0
    capsys.readouterr()
    assert cli.run(["bench", "query", "toy", text, "--metric", "toy_test_12ep"]) == 0
    assert capsys.readouterr().out == "61.5\n"


def test_the_recipe_of_the_shipped_table_is_the_one_it_was_made_by() -> None:
    options = recipe.read("nb201-digits-table")["bench train"]
    training = {k: options[k.replace("_", "-")] for k in ("epochs", "batch_size", "learning_rate", "noise_std")}
    made = TableRecipe.from_dict(
        {
            "training": training,
            "macro": {"channels": options["channels"], "cells": options["cells"]} | pairs(options["macro"]),
            "train_images": options["train-images"],
            "test_copies": options["test-copies"],
        }
    )
    assert made == DIGITS_RECIPE
