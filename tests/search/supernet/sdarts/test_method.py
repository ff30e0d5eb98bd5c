"""SDARTS' perturbations: against the original's figures and by hand; the method on small images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prejudge.data import load
from prejudge.errors import InputError
from prejudge.search.supernet.arch_parameters import SoftmaxParameters
from prejudge.search.supernet.architect import FirstOrderArchitect
from prejudge.search.supernet.learner import Architect, SupernetLearner
from prejudge.search.supernet.sdarts.perturbation import (
    SoftmaxPerturbation,
    Weights,
    adversarially,
    constant,
    growing,
    randomly,
    shares,
)
from prejudge.spaces import space
from prejudge.spaces.nn.supernet import Mixture
from prejudge.train.device import DeviceConfig
from prejudge.train.loop import TrainState
from prejudge.train.recipes.recipe import Recipe
from tests.fills import Given, close, filled, images
from tests.search.one_run import one_run

KINDS = ("normal", "reduce")
RECIPE = Recipe(
    epochs=1, learning_rate=0.025, min_learning_rate=0.025, nesterov=False, weight_decay=3e-4, max_grad_norm=5.0
)  # fmt: skip


@pytest.fixture(scope="module")
def original(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "supernets" / "dartspt_supernet.npz") as stored:
        return {name: stored[name] for name in stored.files}


def s5(original: dict[str, np.ndarray], architect: type[Architect] = Architect) -> SupernetLearner:
    """The original's supernet with seven operations, with its architecture parameters."""
    supernet = filled(space("darts").supernet(channels=4, cells=3))
    arch_parameters = SoftmaxParameters(supernet.candidates)  # type: ignore[arg-type]
    for kind in KINDS:
        arch_parameters.alphas[kind].data.copy_(torch.from_numpy(original[f"s5/alpha_{kind}"]))
    moves = (
        FirstOrderArchitect(arch_parameters.parameters(), Given([40, 41, 42]))
        if architect is FirstOrderArchitect
        else architect()
    )
    return SupernetLearner(supernet, arch_parameters, RECIPE, DeviceConfig(), moves)  # type: ignore[arg-type]


@pytest.mark.parametrize(("architect", "name"), [(FirstOrderArchitect, "traj_darts"), (Architect, "traj_blank")])
def test_three_steps_of_the_original_supernets(
    golden: Path, original: dict[str, np.ndarray], architect: type[Architect], name: str
) -> None:
    search = s5(original, architect)
    search.begin_epoch(0)
    losses = json.loads((golden / "supernets" / "dartspt_supernet.json").read_text())[name]
    for step, loss in enumerate(losses):
        outcome = search.step(*images(30 + step), TrainState(0, 1, step, 3))
        # Adam's first step is as long for a gradient of 1e-8 as for any: rounding shows.
        assert float(outcome.loss) == pytest.approx(loss, rel=5e-5 if step == 0 else 0.03)
    for kind, weights in search.arch_parameters.alphas.items():  # type: ignore[operator,union-attr]
        close(weights, original[f"{name}/alpha_{kind}"], 3e-3 if architect is FirstOrderArchitect else 1e-7)


def test_cutting_to_shares_equals_the_original(original: dict[str, np.ndarray]) -> None:
    given = torch.from_numpy(original["sdarts/clip_in"])
    everywhere = torch.ones_like(given, dtype=torch.bool)
    close(shares(given, everywhere), original["sdarts/clip_out_signed"], 1e-6)
    close(shares(given.abs(), everywhere), original["sdarts/clip_out_abs"], 1e-6)


def test_the_adversary_of_the_original(original: dict[str, np.ndarray]) -> None:
    search = s5(original)
    search.supernet.eval()
    x, y = images(1)
    with torch.no_grad():
        weights = search.arch_parameters.weights()
    close(weights["normal"], original["sdarts/pgd_in_normal"], 1e-6)

    def loss(perturbed: Weights) -> Tensor:
        return search.loss(x, y, search.arch_parameters.mixture_of(perturbed))

    found = adversarially(weights, everywhere(weights), 0.1, loss, random_start=False)
    for kind in KINDS:
        close(found[kind], original[f"sdarts/pgd_out_{kind}"], 1e-5)


def everywhere(weights: Weights) -> dict[str, Tensor]:
    return {kind: torch.ones_like(w, dtype=torch.bool) for kind, w in weights.items()}


def test_the_radius_of_the_original(golden: Path) -> None:
    expected = json.loads((golden / "supernets" / "retrain.json").read_text())["schedules"]["sdarts_epsilon_50"]
    assert [growing(50)(epoch) for epoch in range(50)] == pytest.approx(expected)
    assert constant(0.3)(0) == constant(0.3)(80) == 0.3


def ragged() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    weights = {"a": torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])}
    return weights, {"a": torch.tensor([[True, True, True], [True, True, False]])}


def test_random_noise_stays_within_the_radius_and_among_the_candidates() -> None:
    weights, present = ragged()
    torch.manual_seed(0)
    found = torch.stack([randomly(weights, present, 0.1)["a"] for _ in range(3000)])
    torch.testing.assert_close(found.sum(2), torch.ones(3000, 2))
    assert not found[:, 1, 2].any() and (found >= 0).all()
    ratio = found[:, 1, 0] / found[:, 1, 1]
    assert 1 - 1e-6 <= float(ratio.min()) < 1.05 and 2.2 < float(ratio.max()) <= 0.7 / 0.3 + 1e-6
    assert torch.equal(randomly(weights, present, 0.0)["a"], weights["a"])


def test_shares_of_a_row_that_has_lost_everything() -> None:
    _, present = ragged()
    found = shares(torch.tensor([[-0.3, -0.1, -0.2], [-0.5, -0.4, 0.0]]), present["a"])
    assert found.tolist() == [[0, 1, 0], [0, 1, 0]]


def test_the_adversary_reaches_the_corner_of_a_linear_loss() -> None:
    weights, present = ragged()
    slope = torch.tensor([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    found = adversarially(weights, present, 0.05, lambda w: (w["a"] * slope).sum(), random_start=False)["a"]
    torch.testing.assert_close(found, torch.tensor([[0.45, 0.35, 0.2], [0.65, 0.35, 0.0]]), atol=1e-6, rtol=0)
    assert not found.requires_grad


def test_the_adversary_keeps_the_weights_where_it_has_found_nothing_worse() -> None:
    weights, present = ragged()
    peak = weights["a"].clone()
    found = adversarially(weights, present, 0.05, lambda w: -(w["a"] - peak).square().sum())["a"]
    assert torch.equal(found, peak)


@pytest.mark.parametrize("kind", ["random", "adversarial"])
def test_the_weights_learn_the_perturbed_mixture_and_the_architecture_its_own(kind: str) -> None:
    torch.manual_seed(0)
    supernet = space("nasbench201").supernet(channels=2, cells=1, stages=2)
    arch_parameters = SoftmaxParameters(supernet.candidates)
    perturbation = SoftmaxPerturbation(kind, lambda epoch: 0.1 * (1 + epoch))
    search = SupernetLearner(supernet, arch_parameters, RECIPE, DeviceConfig(), Architect(), perturbation)
    x, y = images(1, side=8)
    search.begin_epoch(1)
    before, seen = arch_parameters.weights()["cell"].detach().clone(), []
    forward = supernet.forward

    def watched(inputs: Tensor, mixture: Mixture) -> Tensor:
        seen.append((supernet.training, mixture))
        return forward(inputs, mixture)

    supernet.forward = watched  # type: ignore[method-assign]
    torch.manual_seed(5)
    search.step(x, y, TrainState(1, 2, 0, 1))
    # Before, seven ascents, after, in evaluation mode; then the weights' own step.
    assert [training for training, _ in seen] == [False] * (9 if kind == "adversarial" else 0) + [True]
    assert supernet.training and torch.equal(arch_parameters.weights()["cell"], before)
    learned = torch.stack([torch.stack([torch.as_tensor(w) for _, w in terms]) for terms in seen[-1][1]["cell"]])
    assert not learned.requires_grad and 0 < float((learned - before).abs().max()) < 0.4
    assert all(p.grad is None for p in arch_parameters.parameters())
    # Only the weights' own step has left its trace in the running statistics.
    counts = [b for name, b in supernet.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(c) for c in counts} == {1}


def test_a_perturbed_step_is_a_step_with_that_mixture() -> None:
    def fresh() -> SupernetLearner:
        torch.manual_seed(0)
        supernet = space("nasbench201").supernet(channels=2, cells=1, stages=1)
        arch_parameters = SoftmaxParameters(supernet.candidates)
        return SupernetLearner(
            supernet, arch_parameters, RECIPE, DeviceConfig(), Architect(), SoftmaxPerturbation("random", constant(0.3))
        )

    x, y = images(1, side=8)
    search, plain = fresh(), fresh()
    search.begin_epoch(0)
    torch.manual_seed(7)
    outcome = search.step(x, y, TrainState(0, 1, 0, 1))
    torch.manual_seed(7)
    weights = plain.arch_parameters.weights()
    mixture = plain.arch_parameters.mixture_of(randomly(weights, everywhere(weights), 0.3))
    expected = cross_entropy(plain.supernet(x, mixture), y)
    assert float(outcome.loss) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_the_method() -> None:
    data = load("digits").subset(slice(0, 64))
    found = {
        text: one_run(
            text,
            space("nasbench201"),
            data,
            macro={"channels": 2, "cells": 1, "stages": 1},
            training={"epochs": 2, "batch_size": 16},
        )
        for text in ("sdarts", "sdarts(perturbation='adversarial')", "darts")
    }
    losses = {text: run.metadata["curve"][1]["train_loss"] for text, run in found.items()}
    assert len(set(losses.values())) == 3
    assert all(len(run.values) == 2 for run in found.values())
    with pytest.raises(InputError, match="unknown perturbation 'randm'; did you mean 'random'"):
        one_run("sdarts(perturbation='randm')", space("nasbench201"), data)
