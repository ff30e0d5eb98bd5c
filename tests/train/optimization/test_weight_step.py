"""A step honours every number of a recipe: against the original code's losses, and against steps by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import prejudge
from prejudge.errors import InputError
from prejudge.train.device import DeviceConfig
from prejudge.train.learner import SupervisedLearner
from prejudge.train.loop import TrainState
from prejudge.train.optimization.rmsprop import RMSprop
from prejudge.train.optimization.weight_step import WeightStep, loss_and_logits
from prejudge.train.recipes.recipe import Recipe
from tests.fills import filled, images

PLAIN = Recipe(epochs=1, learning_rate=0.025, schedule="constant", nesterov=False, weight_decay=3e-4, max_grad_norm=5.0)
GENOTYPES = {
    "darts_v2": ("DARTS_V2", "standard"), "ista_twostage": ("ISTA_twostage", "standard"),
    "ista_onestage": ("ISTA_onestage", "ista-onestage"), "tenas_c10": ("TENAS_cifar10", "standard"),
}  # fmt: skip


def with_numbers(**numbers: Any) -> Recipe:
    return Recipe(**(PLAIN.as_dict() | numbers))


@pytest.mark.parametrize("name", GENOTYPES)
def test_three_steps_of_the_original(golden: Path, name: str) -> None:
    """With the auxiliary classifier, weight 0.4; the figures' tolerance grows as it does in their README."""
    genotype, form = GENOTYPES[name]
    stored = json.loads((golden / "supernets" / "retrain.json").read_text())[name]
    network = filled(prejudge.space("darts").network(genotype, channels=8, cells=5, auxiliary=True, form=form))
    learner = SupervisedLearner(network, with_numbers(auxiliary_weight=0.4), DeviceConfig())
    learner.begin_epoch(0)
    for step, (loss, _) in enumerate(stored["traj"]):
        outcome = learner.step(*images(10 + step), TrainState(0, 1, step, 3))
        assert float(outcome.loss) == pytest.approx(loss, rel=1e-5 if step == 0 else 0.03)


def test_label_smoothing_of_the_original(golden: Path) -> None:
    stored = json.loads((golden / "supernets" / "retrain.json").read_text())["label_smooth"]
    logits, labels = torch.tensor(stored["logits"]), torch.tensor(stored["labels"])
    recipe = with_numbers(label_smoothing=stored["eps"], auxiliary_weight=0.5)
    assert float(loss_and_logits(logits, labels, recipe)[0]) == pytest.approx(stored["loss"], rel=1e-5)
    both, first = loss_and_logits((logits, 2 * logits), labels, recipe)
    other = cross_entropy(2 * logits, labels, label_smoothing=stored["eps"])
    assert float(both) == pytest.approx(stored["loss"] + 0.5 * float(other), rel=1e-5) and first is logits


def linear() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(5, 3).double(), torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 3


def one_step(network: nn.Module, recipe: Recipe, x: Tensor, y: Tensor) -> tuple[float, int, int]:
    step = WeightStep(network.parameters(), recipe, DeviceConfig())
    outcome = step(x, y, TrainState(0, 1, 0, 1), lambda x, y: loss_and_logits(network(x), y, recipe))
    return float(outcome.loss), int(outcome.correct), outcome.images


@pytest.mark.parametrize("parts", [2, 3, 5])  # five parts of seven images would leave some alone: three are made
def test_parts_make_the_step_of_the_whole(parts: int) -> None:
    whole, x, y = linear()
    divided, *_ = linear()
    expected = one_step(whole, with_numbers(max_grad_norm=0.05), x, y)
    found = one_step(divided, with_numbers(max_grad_norm=0.05, accumulation_steps=parts), x, y)
    assert found == pytest.approx(expected, rel=1e-12)
    for p, q in zip(divided.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


def test_batch_norm_never_sees_a_single_image() -> None:
    seen: list[int] = []
    network, x, y = linear()
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    one_step(network, with_numbers(accumulation_steps=7), x, y)
    assert seen == [3, 2, 2]


def test_gradients_are_those_of_the_mean_and_touch_nothing() -> None:
    network, x, y = linear()
    unused = nn.Parameter(torch.ones(2))
    step = WeightStep(network.parameters(), with_numbers(accumulation_steps=2), DeviceConfig())
    tensors = [*network.parameters(), unused]
    found = step.gradients(lambda x, y: cross_entropy(network(x), y), x, y, tensors)
    expected = torch.autograd.grad(cross_entropy(network(x), y), list(network.parameters()))
    for a, b in zip(found[:2], expected, strict=True):
        torch.testing.assert_close(a, b)
    assert found[2].tolist() == [0, 0] and all(p.grad is None for p in tensors)


def test_rmsprop_is_that_of_nasbench101() -> None:
    network, x, y = linear()
    weights = [p.detach().numpy().copy() for p in network.parameters()]
    squares, steps = [np.ones_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    recipe = Recipe(epochs=1, optimizer="rmsprop", nesterov=False, momentum=0.8, weight_decay=0.01, learning_rate=0.3)
    step = WeightStep(network.parameters(), recipe, DeviceConfig())
    assert isinstance(step.optimizer, RMSprop)
    for number in range(3):
        rate = recipe.learning_rate_at(number, 3)
        logits = x.numpy() @ weights[0].T + weights[1]
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        error = (shares - np.eye(3)[y]) / len(y)
        step(x, y, TrainState(0, 1, number, 3), lambda x, y: loss_and_logits(network(x), y, recipe))
        for i, slope in enumerate((error.T @ x.numpy(), error.sum(0))):
            g = slope + 0.01 * weights[i]
            squares[i] = 0.9 * squares[i] + 0.1 * g**2
            steps[i] = 0.8 * steps[i] + rate * g / np.sqrt(squares[i] + 1)
            weights[i] = weights[i] - steps[i]
    for p, w in zip(network.parameters(), weights, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-10)


def test_the_moving_average_is_evaluated_and_kept() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    learner = SupervisedLearner(network, with_numbers(ema_decay=0.75), DeviceConfig())
    learner.begin_epoch(0)
    expected: dict[str, Tensor] = {}
    for number in range(4):
        learner.step(torch.randn(6, 5), torch.arange(6) % 3, TrainState(0, 1, number, 4))
        for name, tensor in network.state_dict().items():
            value = tensor.double()
            expected[name] = 0.75 * expected[name] + 0.25 * value if name in expected else value.clone()
    found = learner.evaluated.state_dict()
    assert learner.evaluated is not network
    for name, tensor in expected.items():
        if tensor.dim():  # but for the counter of batches
            torch.testing.assert_close(found[name].double(), tensor, rtol=1e-5, atol=1e-6)
    other = SupervisedLearner(
        nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), learner.recipe, DeviceConfig()
    )
    other.load_state_dict(learner.state_dict())
    for name, tensor in found.items():
        assert torch.equal(other.evaluated.state_dict()[name], tensor)


def test_an_auxiliary_weight_needs_an_auxiliary_classifier() -> None:
    network = prejudge.space("darts").network("DARTS_V2", channels=4, cells=3)
    with pytest.raises(InputError, match=r"auxiliary_weight is 0\.4, but this NetworkDARTS has no auxiliary"):
        SupervisedLearner(network, with_numbers(auxiliary_weight=0.4), DeviceConfig())
