"""Two processes that train together are one that takes the same images in two parts."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import prejudge
from prejudge.errors import InputError
from prejudge.train.checkpoint import CheckpointManager
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.evaluate import ClassificationMetrics, evaluate
from prejudge.train.learner import SupervisedLearner
from prejudge.train.loop import Epoch, TrainingFailure, run_epochs
from prejudge.train.process_group import LostContact, ProcessGroup, joined
from prejudge.train.recipes.batches import recipe_batches
from prejudge.train.recipes.recipe import Recipe
from tests.datasets import colors
from tests.train.worlds import together

RECIPE = Recipe(
    epochs=2, batch_size=8, learning_rate=0.02, nesterov=False, weight_decay=3e-4, max_grad_norm=5.0,
    label_smoothing=0.1, auxiliary_weight=0.4, ema_decay=0.9,
)  # fmt: skip


def darts(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return prejudge.space("darts").network("DARTS_V2", channels=4, cells=3, num_classes=4, auxiliary=True)


def learn(
    world: ProcessGroup, recipe: Recipe, folder: Path | None = None
) -> tuple[dict[str, Any], list[Epoch], ClassificationMetrics]:
    machine = DeviceConfig(process_group=world)
    learner = SupervisedLearner(darts(seed=world.rank), recipe, machine)  # only the first one's weights count
    batches = recipe_batches(colors(40, classes=4), recipe, rank=world.rank, world=world.size)
    keeper = None if folder is None else CheckpointManager(folder, {"test": 1})
    epochs = run_epochs(learner, batches, recipe.epochs, device_config=machine, checkpoints=keeper)
    state = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    return state, epochs, evaluate(learner.evaluated, colors(21, seed=1, classes=4), machine)


def as_parts(recipe: Recipe) -> Recipe:
    return Recipe(**(recipe.as_dict() | {"accumulation_steps": 2}))


def same_weights(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, tensor in expected.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_two_processes_learn_as_one_in_two_parts() -> None:
    first, second = together(learn, RECIPE)
    state, epochs, tested = learn(ProcessGroup(), as_parts(RECIPE))
    same_weights(first[0], state)
    for name, tensor in first[0].items():
        assert torch.equal(tensor, second[0][name]), name  # running statistics too
    for mine, other, alone in zip(first[1], second[1], epochs, strict=True):
        assert mine.train_loss == other.train_loss == pytest.approx(alone.train_loss, rel=1e-5)
        assert mine.train_accuracy == alone.train_accuracy and mine.images == alone.images == 40
    assert first[2].as_dict() == second[2].as_dict()
    assert first[2].images == tested.images == 21


def search_steps(world: ProcessGroup, order: str, accumulate: int) -> tuple[dict[str, Any], str]:
    from prejudge.search.supernet.context import SupernetContext
    from prejudge.search.supernet.darts.method import bilevel

    torch.manual_seed(0)
    setup = SupernetContext(
        prejudge.space("darts"),
        0,
        data=colors(40, classes=4),
        device=DeviceConfig(process_group=world),
        macro={"channels": 2, "cells": 2},
        training={"epochs": 1, "batch_size": 10, "augment": False, "accumulation_steps": accumulate},
    )
    stage = bilevel(setup, order, candidates={})
    run_epochs(stage.learner, stage.batches, 1, device_config=setup.device_config)
    network = stage.learner.network
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}, str(stage.learner.architecture())


@pytest.mark.parametrize("order", ["first", pytest.param("second", marks=pytest.mark.slow)])
def test_two_processes_search_as_one_in_two_parts(order: str) -> None:
    first, second = together(search_steps, order, 1)
    state, answer = search_steps(ProcessGroup(), order, 2)
    same_weights(first[0], state)
    moved = [name for name in state if "alphas" in name]
    assert moved and all(torch.equal(first[0][name], second[0][name]) for name in state)
    assert first[1] == second[1] == answer


def resumed(
    world: ProcessGroup, recipe: Recipe, folder: Path
) -> tuple[dict[str, Any], list[Epoch], ClassificationMetrics]:
    learn(world, Recipe(**(recipe.as_dict() | {"epochs": 2})), folder)
    return learn(world, recipe, folder)


def test_all_processes_go_on_from_the_first_ones_checkpoint(tmp_path: Path) -> None:
    recipe = Recipe(**(RECIPE.as_dict() | {"epochs": 3, "schedule": "constant"}))
    first, second = together(resumed, recipe, tmp_path)
    straight, _ = together(learn, recipe)
    for name, tensor in straight[0].items():
        assert torch.equal(first[0][name], tensor) and torch.equal(second[0][name], tensor), name
    assert [e.train_loss for e in first[1]] == [e.train_loss for e in straight[1]]


def refuse(world: ProcessGroup) -> None:
    def wrong() -> None:
        raise InputError("the folder is another run's")

    world.from_first(wrong)


def test_an_error_of_the_first_is_everybodys() -> None:
    for error in together(refuse):
        assert isinstance(error, InputError) and str(error) == "the folder is another run's"


def die(world: ProcessGroup) -> None:
    tensor = world.sum_(torch.ones(1))
    assert float(tensor) == 2
    if world.rank == 1:
        os._exit(9)
    world.sum_(tensor)


def test_a_process_that_dies_is_noticed() -> None:
    start = time.monotonic()
    first, second = together(die)
    assert second is None and isinstance(first, LostContact)
    assert "lost contact with the other processes" in str(first) and "\n" not in str(first)
    assert time.monotonic() - start < 50


def hang(world: ProcessGroup) -> None:
    if world.rank == 1:
        time.sleep(6)
    else:
        world.sum_(torch.ones(1))


def test_a_process_that_does_not_answer_is_noticed() -> None:
    first, _ = together(hang, timeout=2)
    assert isinstance(first, LostContact)


def overflow(world: ProcessGroup) -> None:
    learn(world, Recipe(epochs=1, batch_size=8, learning_rate=1e30, auxiliary_weight=0.4))


def test_a_loss_that_is_no_number_ends_all_processes() -> None:
    for error in together(overflow):
        assert isinstance(error, TrainingFailure) and "loss of epoch 1 is" in str(error)


def means(world: ProcessGroup) -> list[Any]:
    tensors = [torch.full((2,), 1.0 + world.rank), torch.full((1, 3), 10.0 * world.rank, dtype=torch.float64)]
    world.average_(tensors, images=3 if world.rank else 1)
    shared = [torch.full((2,), float(world.rank)), torch.tensor([world.rank])]
    world.broadcast_(shared)
    return [*tensors, *shared, world.gather(world.rank), world.device("cuda"), world.device("cpu")]


def test_means_are_weighted_by_images() -> None:
    for rank, found in enumerate(together(means)):
        assert found[0].tolist() == [1.75, 1.75] and found[1].tolist() == [[7.5, 7.5, 7.5]]
        assert found[2].tolist() == [0, 0] and found[3].tolist() == [0]
        assert found[4:] == [[0, 1], f"cuda:{rank}", "cpu"]


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined() as world:
        assert world == ProcessGroup() and world.is_first and world.device("cuda") == "cuda"
        assert world.gather(3) == [3] and world.from_first(lambda: 4) == 4
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="RANK must be a number"), joined():
        pass
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(InputError, match="process 2 of 2"), joined():
        pass


def whole_search(world: ProcessGroup, method: str, folder: Path) -> tuple[str, list[float], int]:
    from tests.search.one_run import one_run

    told: list[int] = []
    run = one_run(
        method,
        prejudge.space("nasbench201"),
        colors(40, classes=4),
        device=DeviceConfig(process_group=world),
        macro={"channels": 2, "cells": 1},
        training={"epochs": 1, "batch_size": 10},
        folder=folder,
        callbacks=[lambda event: told.append(event.number)],
    )
    return str(run.recommendation), [float(v) for v in run.values], len(told)


@pytest.mark.parametrize("method", ["darts", pytest.param("darts-pt(tune_epochs=1)", marks=pytest.mark.slow)])
def test_a_whole_search_answers_the_same_in_all_processes(tmp_path: Path, method: str) -> None:
    first, second = together(whole_search, method, tmp_path)
    assert first[:2] == second[:2] and first[2] == len(first[1]) and second[2] == 0
    lines = [text for path in tmp_path.glob("seed-0/*/log.jsonl") for text in path.read_text().splitlines()]
    assert len(lines) == len(first[1])
