from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prejudge
from prejudge.benchmarks import RepresentativeWarning, Table, open_table
from prejudge.benchmarks.training.table_recipe import DIGITS_RECIPE, TableRecipe
from prejudge.benchmarks.training.trainer import Trainer, TrainingJob, train_table
from prejudge.data.splits import Splits, load_splits
from prejudge.errors import BusyError, InputError
from prejudge.train.recipes.recipe import Recipe

SPACE = prejudge.space("nasbench201")
ARCHS = [SPACE[i] for i in (0, 9, 123, 4000)]
RECIPE = TableRecipe(
    training=Recipe(epochs=2, batch_size=50, learning_rate=0.15, noise_std=0.25),
    macro=(("channels", 4), ("cells", 1), ("stages", 1)),
    train_images=100,
    test_copies=2,
)


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_splits("digits")


@pytest.fixture(scope="module")
def whole(digits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A table trained without interruption."""
    out = tmp_path_factory.mktemp("whole") / "t.h5"
    return open_table(train_table(SPACE, ARCHS, digits, out=out, seeds=(0, 1), recipe=RECIPE))


def values(table: Table) -> dict[str, Any]:
    """Everything that training decides, but for the seconds."""
    columns = {str(m): table.query_many(ARCHS, m).tolist() for m in table.metrics()}
    curves = {f"{m} of {i}": table.curve(a, m).tolist() for m in table.index.curves for i, a in enumerate(ARCHS)}
    return columns | curves


def test_columns_curves_and_extras(whole: Table) -> None:
    assert whole.space == "nasbench201" and not whole.per_class
    assert {str(m) for m in whole.metrics()} == {
        f"digits_{split}_2ep{seed}" for split in ("valid", "test") for seed in ("", "_seed0", "_seed1")
    }
    for split, images in (("valid", 397), ("test", 800)):
        of_seed = [whole.query_many(ARCHS, f"digits_{split}_2ep_seed{s}") for s in (0, 1)]
        assert np.allclose(whole.query_many(ARCHS, f"digits_{split}_2ep"), np.mean(of_seed, axis=0))
        assert all(np.allclose(a * images / 100, np.round(a * images / 100), atol=1e-9) for a in of_seed)
        assert not np.array_equal(*of_seed)
    assert int(np.isfinite(whole.column("digits_test_2ep")).sum()) == len(ARCHS)
    for arch in ARCHS:
        curve = whole.curve(arch, "digits_valid_2ep_seed1")
        assert curve.shape == (2,) and curve[-1] == whole.query(arch, "digits_valid_2ep_seed1")
    index = SPACE.index(ARCHS[2])
    numbers = {"channels": 4, "cells": 1, "stages": 1, "in_channels": 1}
    assert whole.extra("params")[index] == SPACE.params(ARCHS[2], **numbers)
    assert whole.extra("flops")[index] == SPACE.flops(ARCHS[2], image_size=8, **numbers)
    assert whole.extra("train_seconds")[index] > 0


def test_the_recipe_is_in_the_provenance(whole: Table) -> None:
    import json

    provenance = whole.info()["provenance"]
    kept = TableRecipe.from_dict(json.loads(provenance["recipe"]))
    assert kept == RECIPE.completed(SPACE, load_splits("digits").train)
    assert provenance["images"] == "100 train, 397 valid, 800 test" and provenance["seeds"] == "0, 1"
    assert "torch" in provenance["trained with"] and provenance["failed trainings"] == "0"


def test_workers_give_the_same_values(whole: Table, digits: Splits, tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)  # so that each of the two workers has as many as this test has below
    try:
        two = open_table(
            train_table(SPACE, ARCHS, digits, out=tmp_path / "t.h5", seeds=(0, 1), recipe=RECIPE, workers=2)
        )
        torch.set_num_threads(1)
        one = open_table(train_table(SPACE, ARCHS, digits, out=tmp_path / "u.h5", seeds=(0, 1), recipe=RECIPE))
    finally:
        torch.set_num_threads(before)
    assert values(two) == values(one)


def test_an_interrupted_call_goes_on_where_it_was(whole: Table, digits: Splits, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_after_three(done: int, total: int, seconds: float) -> None:
        if done == 3:
            raise Stop

    call: dict[str, Any] = {"out": tmp_path / "t.h5", "seeds": (0, 1), "recipe": RECIPE}
    with pytest.raises(Stop):
        train_table(SPACE, ARCHS, digits, **call, progress=stop_after_three)
    assert not (tmp_path / "t.h5").exists()
    counted: list[tuple[int, int]] = []
    table = open_table(train_table(SPACE, ARCHS, digits, **call, progress=lambda d, n, _: counted.append((d, n))))
    assert counted == [(i, 5) for i in range(1, 6)]
    assert values(table) == values(whole)
    train_table(SPACE, ARCHS, digits, **call, progress=lambda *_: pytest.fail("there was nothing to train"))


KILLED = """
import sys
from tests.benchmarks.training.test_trainer import ARCHS, RECIPE, SPACE
from prejudge.benchmarks.training.trainer import train_table
from prejudge.data.splits import load_splits
print("ready", flush=True)
train_table(SPACE, ARCHS, load_splits("digits"), out=sys.argv[1], seeds=(0, 1), recipe=RECIPE,
            progress=lambda done, n, s: print(done, flush=True))
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is needed")
def test_a_killed_run_loses_nothing_that_was_finished(whole: Table, digits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "t.h5"
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(out)], cwd=root, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "2":
            break
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with (tmp_path / "t.h5.runs").open("ab") as file:
        file.write(b'01234567 {"kind":"run","archi')  # what a power failure may leave
    counted: list[int] = []
    table = open_table(
        train_table(
            SPACE, ARCHS, digits, out=out, seeds=(0, 1), recipe=RECIPE, progress=lambda _, n, __: counted.append(n)
        )
    )
    assert counted and counted[0] <= 6
    assert values(table) == values(whole)


def test_seeds_and_architectures_can_be_added(whole: Table, digits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "t.h5"
    train_table(SPACE, ARCHS[:2], digits, out=out, seeds=[0], recipe=RECIPE)
    totals: list[int] = []
    train_table(SPACE, ARCHS, digits, out=out, seeds=[0, 1], recipe=RECIPE, progress=lambda _, n, __: totals.append(n))
    assert totals[0] == 6
    assert values(open_table(out)) == values(whole)


def test_another_recipe_is_refused_and_nothing_changes(digits: Splits, tmp_path: Path) -> None:
    out = tmp_path / "t.h5"
    train_table(SPACE, ARCHS[:1], digits, out=out, seeds=[0], recipe=RECIPE)
    before = {p.name: p.read_bytes() for p in tmp_path.glob("t.h5*") if p.suffix != ".lock"}
    other = replace(RECIPE, training=replace(RECIPE.training, learning_rate=0.1))
    with pytest.raises(InputError, match=r"recipe\.training\.learning_rate is 0\.15 there and 0\.1 here") as caught:
        train_table(SPACE, ARCHS[:1], digits, out=out, seeds=[0], recipe=other)
    assert "write to another file, or delete t.h5 and t.h5.runs to begin again" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"images\.train is "):
        fewer = Splits(digits.train.subset(slice(1, None)), digits.valid, digits.test)
        train_table(SPACE, ARCHS[:1], fewer, out=out, seeds=[0], recipe=RECIPE)
    with pytest.raises(InputError, match="per class is false there and true here"):
        train_table(SPACE, ARCHS[:1], digits, out=out, seeds=[0], recipe=RECIPE, per_class=True)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("t.h5*") if p.suffix != ".lock"} == before


def test_a_table_without_its_trainings_is_not_overwritten(digits: Splits, tmp_path: Path) -> None:
    (tmp_path / "t.h5").write_bytes(b"somebody's")
    with pytest.raises(InputError, match="write to another file"):
        train_table(SPACE, ARCHS[:1], digits, out=tmp_path / "t.h5", seeds=[0], recipe=RECIPE)
    assert (tmp_path / "t.h5").read_bytes() == b"somebody's"


def test_a_second_trainer_is_told(digits: Splits, tmp_path: Path) -> None:
    def again(done: int, total: int, seconds: float) -> None:
        with pytest.raises(BusyError):
            train_table(SPACE, ARCHS[:1], digits, out=tmp_path / "t.h5", seeds=[0], recipe=RECIPE)

    train_table(SPACE, ARCHS[:1], digits, out=tmp_path / "t.h5", seeds=[0], recipe=RECIPE, progress=again)


def test_a_diverged_training_is_a_gap_not_a_number(digits: Splits, tmp_path: Path) -> None:
    wild = replace(RECIPE, training=replace(RECIPE.training, learning_rate=1e30))
    result = Trainer(SPACE, digits, wild.completed(SPACE, digits.train))(TrainingJob(str(ARCHS[2]), 0))
    assert set(result) == {"failed"} and "loss" in result["failed"]


def test_a_mean_needs_all_seeds(digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Trainer.__call__

    def sometimes(self: Trainer, job: TrainingJob) -> dict[str, Any]:
        if job == TrainingJob(str(ARCHS[0]), 1):
            return {"failed": "the loss of epoch 1 is nan"}
        return real(self, job)

    monkeypatch.setattr(Trainer, "__call__", sometimes)
    table = open_table(train_table(SPACE, ARCHS[:2], digits, out=tmp_path / "t.h5", seeds=(0, 1), recipe=RECIPE))
    assert np.isnan(table.query_many(ARCHS[:1], "digits_test_2ep_seed1")).all()
    assert np.isnan(table.query_many(ARCHS[:1], "digits_test_2ep")).all()
    assert np.isfinite(table.query_many(ARCHS[:1], "digits_test_2ep_seed0")).all()
    assert np.isfinite(table.query_many(ARCHS[1:2], "digits_test_2ep")).all()
    assert table.info()["provenance"]["failed trainings"] == "1"


def test_per_class_trains_representatives(digits: Splits, tmp_path: Path) -> None:
    member = next(a for a in SPACE if SPACE.representative(a) != a)
    twin = SPACE.representative(member)
    table = open_table(
        train_table(SPACE, [member, twin], digits, out=tmp_path / "t.h5", seeds=[0], recipe=RECIPE, per_class=True)
    )
    assert int(np.isfinite(table.column("digits_test_2ep")).sum()) == 1
    with pytest.warns(RepresentativeWarning):
        assert table.query(member, "digits_test_2ep") == table.query(twin, "digits_test_2ep")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"archs": []}, "nothing to train"),
        ({"seeds": []}, "nothing to train"),
        ({"seeds": [0, -1]}, "seed must be an integer of at least 0, not -1"),
        ({"archs": ["|none~0|"]}, "nasbench201"),
        ({"recipe": replace(RECIPE, macro=(("width", 4),))}, "macro field 'width'"),
        ({"recipe": replace(RECIPE, macro=(("num_classes", 4),))}, "num_classes=10"),
        ({"recipe": replace(RECIPE, macro=(("channels", 0),))}, "channels must be a positive integer"),
        ({"recipe": replace(RECIPE, train_images=5000)}, "1000 training images"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str, digits: Splits, tmp_path: Path) -> None:
    call: dict[str, Any] = {"archs": ARCHS[:1], "seeds": [0], "recipe": RECIPE, "out": tmp_path / "t.h5"} | changes
    with pytest.raises(InputError, match=message):
        train_table(SPACE, call.pop("archs"), digits, **call)
    assert not (tmp_path / "t.h5.runs").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"test_copies": 0}, "test_copies"),
        ({"noise_seed": -1}, "noise_seed"),
        ({"training": Recipe()}, "without noise"),
    ],
)
def test_recipes_check_themselves(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(RECIPE, **wrong)


def test_recipe_from_plain_values() -> None:
    assert TableRecipe.from_dict(DIGITS_RECIPE.as_dict()) == DIGITS_RECIPE
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        TableRecipe.from_dict({"training": {"epoch": 3}})
    with pytest.raises(InputError, match="did you mean 'macro'"):
        TableRecipe.from_dict({"macr": {}})
