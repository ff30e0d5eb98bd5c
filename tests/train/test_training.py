"""From an architecture to a tested network in a folder: results, refusals, and runs that go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from prejudge.data.dataset import ImageDataset
from prejudge.data.folder import read_folder
from prejudge.data.splits import Splits
from prejudge.errors import InputError
from prejudge.train.checkpoint import read_checkpoint
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.evaluate import ClassificationMetrics, evaluate
from prejudge.train.export.weights import load_weights
from prejudge.train.process_group import ProcessGroup
from prejudge.train.recipes.published import published_recipe
from prejudge.train.recipes.recipe import Recipe
from prejudge.train.result import TrainingResult
from prejudge.train.training import train as train_network
from prejudge.train.training_log import line
from tests.datasets import colors
from tests.train.worlds import together

CELL = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
SMALL = {"channels": 4, "cells": 1, "stages": 1}


SPLITS = Splits(colors(), colors(20, 1), colors(25, 2))
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.1)


def train(folder: Path | None = None, recipe: Recipe = RECIPE, **options: Any) -> TrainingResult:
    given: dict[str, Any] = {"macro": SMALL, "folder": folder, "tensorboard": False, "data": SPLITS, **options}
    return train_network("nasbench201", CELL, given.pop("data"), recipe, **given)


def test_a_folder_holds_all_that_came_of_it(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    result = train(tmp_path, on_epoch=lambda n, of, _: told.append((n, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    best = [e.accuracies["valid"] for e in result.epochs]
    assert result.epoch == best.index(max(best)) + 1 and result.plan.selection == "valid"
    network, described = load_weights(tmp_path / "weights.safetensors")
    again = evaluate(network, SPLITS.test)
    assert result.test is not None and again.top1 == result.test.top1 and again.images == 25
    assert result.valid is not None and result.valid.top1 == max(best)
    assert described.architecture == str(result.plan.architecture) and described.image_size == 8
    plain = json.loads((tmp_path / "result.json").read_text())
    assert plain["test"]["top1"] == result.test.top1 and plain["selection"]["by"] == "valid"
    assert plain["images"] == {"train": 48, "valid": 20, "test": 25} and plain["images_per_second"] > 0
    assert plain["recipe"] == RECIPE.as_dict() and plain["macro"]["num_classes"] == 3
    assert read_checkpoint(tmp_path / "best.pt").epoch == result.epoch
    lines = (tmp_path / "log.jsonl").read_text()
    assert lines == "".join(line(n, e) for n, e in enumerate(result.epochs))


def test_the_test_images_are_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ImageDataset] = []

    def counted(network: Any, data: ImageDataset, *arguments: Any, **options: Any) -> ClassificationMetrics:
        seen.append(data)
        return evaluate(network, data, *arguments, **options)

    monkeypatch.setattr("prejudge.train.training.evaluate", counted)
    result = train(tmp_path, selection="last")
    assert [data is SPLITS.test for data in seen].count(True) == 1
    assert result.test is result.last_test and result.test is not None
    tested = json.loads((tmp_path / "test.json").read_text())
    assert tested["confusion"] == result.test.confusion.tolist() and tested["loss"] == result.test.loss
    metadata = json.loads((tmp_path / "training.json").read_text())
    assert metadata["macs"] == result.plan.macs > 0 and metadata["warnings"] == list(result.warnings)


@pytest.mark.parametrize(("selection", "name"), [("last", "valid"), ("valid", "valid"), ("test", "test")])
def test_which_epoch_is_the_result(selection: str, name: str) -> None:
    result = train(selection=selection)
    curve = [e.accuracies[name] for e in result.epochs]
    assert result.epoch == (3 if selection == "last" else curve.index(max(curve)) + 1)
    assert result.as_dict()["selection"]["meaning"].startswith("the network of the")
    assert result.test is not None and (selection != "test" or result.test.top1 == max(curve))


def test_validation_images_are_split_off_only_to_select_by() -> None:
    chosen = train(data=Splits(colors(), None, colors(25, 2)), held_out=0.25)
    assert chosen.as_dict()["images"] == {"train": 36, "valid": 12, "test": 25}
    last = train(data=colors(), selection="last")
    assert last.as_dict()["images"] == {"train": 48} and last.test is None and last.epochs[0].accuracies == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "best"}, "unknown selection 'best'"),
        ({"data": colors(), "selection": "test"}, "no test images to select by"),
        ({"macro": {**SMALL, "num_classes": 10}}, "colors needs num_classes=3, not 10"),
        ({"macro": {"width": 3}}, "unknown nasbench201 macro field 'width'"),
        ({"recipe": Recipe(drop_path=0.2)}, "has no drop-path"),
        ({"recipe": Recipe(auxiliary_weight=0.4)}, "has no auxiliary classifier"),
        ({"recipe": published_recipe("darts")}, "networks with 'auxiliary', which those of nasbench201 do not have"),
        ({"recipe": published_recipe("nasbench201"), "macro": {}}, "for_images"),
        ({"seed": -1}, "a seed must be an integer of at least 0, not -1"),
    ],
)
def test_what_does_not_fit_is_said_before_training(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train(tmp_path, on_epoch=lambda *_: pytest.fail("it trained"), **options)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_another_run_does_not_go_on_in_a_folder(tmp_path: Path) -> None:
    train(tmp_path, Recipe(epochs=1, batch_size=16))
    with pytest.raises(InputError, match="another run: seed is 0 there and 1 here"):
        train(tmp_path, Recipe(epochs=1, batch_size=16), seed=1)


def test_every_space_trains() -> None:
    recipe = Recipe(epochs=1, batch_size=16)
    darts = train_network(
        "darts", "DARTS_V2", SPLITS,
        Recipe(epochs=1, batch_size=16, drop_path=0.1, auxiliary_weight=0.4, cutout=4, nesterov=False),
        macro={"channels": 4, "cells": 3},
    )  # fmt: skip
    assert darts.plan.macro["auxiliary"] and darts.test is not None
    cell = train_network(
        "nasbench101", "110.01.1:conv3x3,maxpool3x3", SPLITS,
        Recipe(epochs=1, batch_size=16, optimizer="rmsprop", nesterov=False),
        macro={"channels": 8, "cells": 1},
    )  # fmt: skip
    assert cell.test is not None and cell.plan.params > 0
    assert train(recipe=recipe).test is not None


HARD = Recipe(
    epochs=3, batch_size=12, learning_rate=0.05, nesterov=False, augment=True, cutout=4, drop_path=0.3,
    auxiliary_weight=0.4, ema_decay=0.9, accumulation_steps=2, noise_std=0.05,
)  # fmt: skip

RUN = """
import sys
from pathlib import Path
from tests.train.test_training import hard
hard(Path(sys.argv[1]))
"""


def hard(folder: Path) -> TrainingResult:
    return train_network(
        "darts", "DARTS_V2", SPLITS, HARD, folder=folder, macro={"channels": 4, "cells": 3}, seed=3,
        tensorboard=False, selection="last",
    )  # fmt: skip


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(killed)], env=environment, cwd=tmp_path)
    try:
        limit = time.monotonic() + 120
        while not (killed / "last.pt").exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        time.sleep(0.05)  # in the midst of an epoch, as far as one can tell
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    if process.returncode == -signal.SIGKILL:
        assert not (killed / "result.json").exists()
    straight, resumed = hard(tmp_path / "straight"), hard(killed)
    weights = [load_weights(tmp_path / name / "weights.safetensors")[0].state_dict() for name in ("straight", "killed")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert [e.train_loss for e in resumed.epochs] == [e.train_loss for e in straight.epochs]
    logged = [json.loads(text) for text in (killed / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in logged] == [1, 2, 3]
    states = [read_checkpoint(tmp_path / name / "last.pt").state["learner"] for name in ("straight", "killed")]
    assert "average" in states[0]
    for name, tensor in states[0]["average"].items():
        assert torch.equal(tensor, states[1]["average"][name]), name


def everything(world: ProcessGroup, folder: Path) -> tuple[dict[str, Any], int]:
    told: list[int] = []
    result = train_network(
        "nasbench201", CELL, SPLITS, Recipe(epochs=2, batch_size=16), DeviceConfig(process_group=world),
        folder=folder, macro=SMALL, tensorboard=False, on_epoch=lambda n, *_: told.append(n),
    )  # fmt: skip
    return result.as_dict(), len(told)


def test_processes_train_into_one_folder(tmp_path: Path) -> None:
    (first, told), (second, silent) = together(everything, tmp_path)
    assert first["images_per_second"] > 0 and (told, silent) == (2, 0)
    for name in ("test", "last_test", "valid", "epoch", "images"):
        assert first[name] == second[name], name
    network, _ = load_weights(tmp_path / "weights.safetensors")
    assert evaluate(network, SPLITS.test).top1 == first["test"]["top1"]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_folders_of_images_train(tmp_path: Path) -> None:
    for name, value in (("dark", 20), ("light", 220)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (24, 20), (value + number,) * 3).save(tmp_path / "images" / name / f"{number}.png")
    files = read_folder(tmp_path / "images", in_memory=False)
    recipe = Recipe(epochs=1, batch_size=8, augment=True, augmentation="imagenet", image_size=16)
    result = train_network(
        "nasbench201", CELL, Splits(files, None, files), recipe, macro=SMALL, selection="last",
        folder=tmp_path / "run", tensorboard=False,
    )  # fmt: skip
    assert result.test is not None and result.test.images == 16 and result.epochs[0].images == 16
    assert load_weights(tmp_path / "run" / "weights.safetensors")[1].classes == ("dark", "light")
