"""From the folder of a training to the content of its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.train.training_folder import read_training, report_data

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
TESTED = {"top1": 50.0, "top5": 100.0, "loss": 0.7, "images": 4}
EPOCH = {"train_accuracy": 40.0, "seconds": 1.0, "accuracies": {"test": 50.0}, "images": 8, "learning_rate": 0.1}
RESULT: dict[str, Any] = {
    "space": "nasbench201", "architecture": CELL, "macro": {"channels": 4, "cells": 1}, "data": "made",
    "recipe": {"epochs": 2, "batch_size": 4}, "images": {"train": 8, "test": 4}, "seed": 3,
    "selection": {"by": "test", "meaning": "the best on the test images"}, "epoch": 1,
    "epochs": [{**EPOCH, "train_loss": 1.0}, {**EPOCH, "train_loss": None}],
    "valid": None, "test": TESTED, "last_test": TESTED, "params": 254, "images_per_second": 8.0, "seconds": 2.0,
    "prejudge": "0.1.0",
}  # fmt: skip
ABOUT = {
    "recipe": "nasbench201", "not as published": {"epochs": [200, 2]}, "macs": 1000, "warnings": ["a note"],
    "origin": {"search": "te-nas"}, "device": {"device": "cpu"},
}  # fmt: skip
BY_CLASS = {
    "split": "test", "architecture": CELL, "confusion": [[1, 1], [1, 1]],
    "classes": [{"class": "cat", "images": 2}, {"class": "dog", "images": 2}],
}  # fmt: skip


def folder(path: Path, **files: Any) -> Path:
    path.mkdir(parents=True)
    for name, content in ({"result": RESULT, "training": ABOUT, "test": BY_CLASS} | files).items():
        if content is not None:
            (path / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_folder_becomes_a_report(tmp_path: Path) -> None:
    data = report_data([read_training(folder(tmp_path / "mine"))])
    one = data.trainings[0]
    assert (data.title, data.space, one.name) == ("Training of what te-nas found on made", "nasbench201", "mine")
    assert one.loss[0] == 1.0
    assert np.isnan(one.loss[1])
    assert one.accuracy["test"].tolist() == [50.0, 50.0]
    assert one.classes == ["cat", "dog"]
    assert one.accuracies == [50.0, 50.0]
    assert one.protocol["Not as published"] == "epochs 2 (published: 200)"
    assert one.protocol["Optimizer"].startswith("sgd, momentum 0.9 (Nesterov)")
    assert one.provenance["Device"] == "cpu"
    assert list(data.warnings) == ["a note", data.warnings[1]]
    assert "too good to be compared" in data.warnings[1]


def test_other_files_are_not_needed(tmp_path: Path) -> None:
    data = report_data([read_training(folder(tmp_path / "mine", training=None, test=None))], title="bare")
    assert (data.title, data.trainings[0].confusion) == ("bare", None)
    foreign = {**BY_CLASS, "architecture": "another"}
    assert read_training(folder(tmp_path / "other", test=foreign)).tested == {}


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    found = [read_training(folder(tmp_path / top / "train")) for top in ("a", "b")]
    assert [t.name for t in report_data(found).trainings] == ["a/train", "b/train"]


def test_what_is_no_training_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"is not the folder of a training: it has no result\.json"):
        read_training(tmp_path)
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(MissingDataError, match="has not ended; run its command again"):
        read_training(tmp_path)
    with pytest.raises(FileFormatError, match=r"result\.json is damaged"):
        read_training(folder(tmp_path / "broken", result="{"))
    with pytest.raises(FileFormatError, match="says no space"):
        read_training(folder(tmp_path / "empty", result={}))
    with pytest.raises(FileFormatError, match="does not hold results that this prejudge can read"):
        report_data([read_training(folder(tmp_path / "odd", result={**RESULT, "epochs": 3}))])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"result": "[" * 100_000}, "is damaged"),
        ({"result": json.dumps({**RESULT, "params": 1e999})}, "not hold results"),
        ({"result": json.dumps({**RESULT, "epochs": [{**EPOCH, "train_loss": 10**400}]})}, "not hold results"),
        ({"test": json.dumps({**BY_CLASS, "confusion": [[2**70]]})}, "not hold results"),
        ({"result": json.dumps({**RESULT, "recipe": {"epochs": 10**30, "x": 1}})}, "not hold results"),
    ],
)
def test_figures_that_are_none_are_said_so(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        report_data([read_training(folder(tmp_path / "odd", **files))])


@pytest.mark.parametrize("about", [{"warnings": 3}, {"origin": 3, "warnings": None}, {"not as published": None}])
def test_remarks_of_another_kind_are_left_out(tmp_path: Path, about: dict[str, Any]) -> None:
    odd = folder(tmp_path / "odd", training=about, result={**RESULT, "selection": None})
    try:
        report_data([read_training(odd)])
    except FileFormatError as error:
        assert "does not hold results" in str(error)
