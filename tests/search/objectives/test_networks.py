from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import prejudge
from prejudge import search
from prejudge.cache import ScoreCache
from prejudge.data import ImageDataset, batch, load, random_split
from prejudge.errors import InputError
from prejudge.search import Budget
from prejudge.search.bayesian import score_pool
from prejudge.search.objectives import HNAS_TRAINING, ProxyObjective, TrainingObjective
from prejudge.train import Recipe

SMALL = {"channels": 4, "cells": 1, "stages": 1}
CONVOLUTIONS = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
RNG = np.random.default_rng(0)
SPACE = prejudge.space("nasbench201")


@pytest.fixture(scope="module")
def halves() -> tuple[ImageDataset, ImageDataset]:
    return random_split(load("digits"))


def training(
    halves: tuple[ImageDataset, ImageDataset], recipe: Recipe | None = None, **given: object
) -> TrainingObjective:
    recipe = recipe or Recipe(epochs=4, batch_size=50, learning_rate=0.2)
    return TrainingObjective(SPACE, *halves, recipe, macro=SMALL, **given)  # type: ignore[arg-type]


def test_a_proxy_is_what_score_says() -> None:
    data = load("digits")
    objective = ProxyObjective(SPACE, data, "snip", macro=SMALL, batch_size=16, seed=3)
    import torch

    before = torch.get_rng_state()
    found = objective.evaluate(SPACE.parse(CONVOLUTIONS), None, RNG)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(3)
    network = SPACE.network(SPACE.parse(CONVOLUTIONS), **SMALL, in_channels=1)
    images = batch(data, 16, seed=3)
    expected = prejudge.score(network, images.inputs, images.targets, ["snip"])["snip"]
    assert found.value == pytest.approx(float(expected), rel=1e-6) and found.seconds > 0
    assert objective.known([CONVOLUTIONS]) is None


def test_where_lower_is_better_the_sign_is_turned_and_failures_are_nan() -> None:
    objective = ProxyObjective(SPACE, load("digits"), "ntk_condition", macro=SMALL, batch_size=8)
    assert objective.evaluate(SPACE.parse(CONVOLUTIONS), None, RNG).value < -1
    assert math.isnan(objective.evaluate(SPACE.parse(DEAD), None, RNG).value)
    assert objective.describe()["turned"] and objective.describe()["macro"]["in_channels"] == 1


def test_a_search_over_a_live_proxy() -> None:
    objective = ProxyObjective(SPACE, load("digits"), "synflow", macro=SMALL, batch_size=4)
    run = search.run("random", objective, Budget(queries=3)).trajectories[0]
    assert run.recommendation in run.architectures and np.isfinite(run.values).any() and run.seconds.min() > 0


def test_a_short_training_ranks_a_network_above_none(halves: tuple[ImageDataset, ImageDataset]) -> None:
    objective = training(halves)
    good, dead = (objective.evaluate(SPACE.parse(a), None, RNG) for a in (CONVOLUTIONS, DEAD))
    assert good.value > 25 > 20 > dead.value and good.seconds > 0
    assert objective.evaluate(SPACE.parse(CONVOLUTIONS), None, np.random.default_rng(9)).value == good.value
    assert objective.known([CONVOLUTIONS]) is None


def test_schedules(halves: tuple[ImageDataset, ImageDataset]) -> None:
    objective = training(halves, schedules=(1, 2))
    assert objective.schedules == (1, 2, 4)
    values = [objective.evaluate(SPACE.parse(CONVOLUTIONS), e, RNG).value for e in (1, None)]
    assert values[0] < values[1]
    with pytest.raises(InputError, match=r"no schedule of 3 epochs \(1, 2, 4\)"):
        objective.evaluate(SPACE.parse(CONVOLUTIONS), 3, RNG)
    with pytest.raises(InputError, match="a schedule has 1 to 4 epochs, not 9"):
        training(halves, schedules=(9,))


def test_a_training_that_fails_is_nan(halves: tuple[ImageDataset, ImageDataset]) -> None:
    objective = training(halves, Recipe(epochs=1, batch_size=50, learning_rate=1e30))
    assert math.isnan(objective.evaluate(SPACE.parse(CONVOLUTIONS), None, RNG).value)


def test_what_cannot_be_is_said_at_once(halves: tuple[ImageDataset, ImageDataset]) -> None:
    data = load("digits")
    with pytest.raises(InputError, match="unknown proxy 'snipp'; did you mean 'snip'"):
        ProxyObjective(SPACE, data, "snipp")
    with pytest.raises(InputError, match=r"needs a batch of 2 to 1000 images of digits, not 1"):
        ProxyObjective(SPACE, data, "ntk_trace", batch_size=1)
    with pytest.raises(InputError, match="macro field 'width'"):
        TrainingObjective(SPACE, *halves, macro={"width": 3})
    with pytest.raises(InputError, match="seed of an objective"):
        training(halves, seed=-1)
    for objective in (training(halves, device="abacus"), ProxyObjective(SPACE, data, "snip", device="abacus")):
        with pytest.raises(InputError, match="no device 'abacus'"):
            search.run("random", objective, Budget(queries=1))
    with pytest.raises(InputError, match=r"drop_path is 0\.2, but a .* has no drop-path"):
        training(halves, replace(HNAS_TRAINING, epochs=1)).evaluate(SPACE.parse(CONVOLUTIONS), None, RNG)


def test_hnas_on_darts_with_live_scores_and_training(halves: tuple[ImageDataset, ImageDataset], tmp_path: Path) -> None:
    """Eight genotypes of two cells, four channels; one epoch of digits each."""
    space, macro = prejudge.space("darts"), {"channels": 4, "cells": 2}
    with ScoreCache(tmp_path / "pool.h5") as cache:
        score_pool(cache, space, load("digits"), 8, macro=macro, batch_size=8)
    recipe = replace(HNAS_TRAINING, epochs=1, batch_size=100)
    objective = TrainingObjective(space, *halves, recipe, macro=macro)
    options = {"cache": str(tmp_path / "pool.h5"), "iterations": 3, "probe_points": 2}
    result = search.run("hnas", objective, Budget(queries=20), options=options, folder=tmp_path / "journal")
    run = result.trajectories[0]
    assert len(run.values) == 3 and run.metadata["pool"] == 8 and "pool optimum" not in run.metadata
    assert run.recommendation in run.architectures and all(0 < v <= 100 for v in run.values)
    assert result.objective["training"]["drop_path"] == 0.2 and result.objective["counts"] == {
        "train": 500,
        "valid": 500,
    }
    again = search.run("hnas", objective, Budget(queries=20), options=options, folder=tmp_path / "journal")
    assert again.trajectories[0].values.tolist() == run.values.tolist()


def test_it_is_loaded_without_torch() -> None:
    code = "import sys; from prejudge.search import TrainingObjective; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
