"""Ordinary training: one network, its weights, cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.device import DeviceConfig
from prejudge.train.loop import Batches, Epoch, Learner, StepOutput, TrainState, run_epochs
from prejudge.train.optimization.weight_step import WeightStep, loss_and_logits
from prejudge.train.recipes.batches import recipe_batches
from prejudge.train.recipes.recipe import Recipe


class SupervisedLearner(Learner):
    """Learns a network's weights.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``, and with ``auxiliary=True`` to these and the
            logits of its ``auxiliary_head``; it is moved to the device.
        recipe: The numbers. With ``ema_decay``, a moving average of weights and running statistics is evaluated.
        device_config: Where to compute.

    Raises:
        InputError: The recipe drops paths, and the network has no ``drop_path_prob``; or it weighs the loss of an
            auxiliary classifier, and the network has none.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, device_config: DeviceConfig) -> None:
        check_network(network, recipe)
        self.network = device_config.place(network)
        self.recipe = recipe
        self._device_config = device_config
        self.average: AveragedModel | None = None
        if recipe.ema_decay:
            self.average = AveragedModel(
                self.network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
            ).requires_grad_(False)  # fmt: skip
        device_config.compiled(self.network)
        self._step = WeightStep((p for p in network.parameters() if p.requires_grad), recipe, device_config)

    @property
    def evaluated(self) -> nn.Module:
        return self.network if self.average is None else self.average.module

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        if self.recipe.drop_path:
            probability = self._device_config.varying(self.recipe.drop_path_at(epoch))
            self.network.drop_path_prob = probability  # type: ignore[assignment]  # a number or a tensor, no module

    def learning_rate(self, state: TrainState) -> float:
        return self._step.learning_rate(state)

    def step(self, inputs: Tensor, targets: Tensor, state: TrainState) -> StepOutput:
        step_output = self._step(inputs, targets, state, self._loss)
        if self.average is not None:
            self.average.update_parameters(self.network)
        return step_output

    def _loss(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(inputs, auxiliary=True) if self.recipe.auxiliary_weight else self.network(inputs)
        return loss_and_logits(output, targets, self.recipe)

    def state_dict(self) -> dict[str, Any]:
        state = {"network": self.network.state_dict(), "step": self._step.state_dict()}
        return state if self.average is None else {**state, "average": self.average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self._step.load_state_dict(state["step"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def check_network(network: nn.Module, recipe: Recipe) -> None:
    """Raise :class:`InputError` unless a network can be trained as a recipe says."""
    name = type(network).__name__
    if recipe.drop_path and not hasattr(network, "drop_path_prob"):
        raise InputError(f"recipe: drop_path is {recipe.drop_path}, but a {name} has no drop-path")
    if recipe.auxiliary_weight and getattr(network, "auxiliary_head", None) is None:
        raise InputError(
            f"recipe: auxiliary_weight is {recipe.auxiliary_weight}, but this {name} has no auxiliary classifier"
        )


def fit(
    network: nn.Module,
    batches: Batches,
    recipe: Recipe,
    *,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> list[Epoch]:
    """Train a network, in place.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``; with a ``drop_path_prob`` to set if the recipe
            drops paths, and with an auxiliary classifier if it weighs one's loss.
        batches: The training images.
        recipe: The numbers. With ``ema_decay`` the average is evaluated, and the network holds it at the end.
        evaluate: Called after every epoch; returns accuracies in per cent by name.
        device: Where to train.
        on_epoch: Called after every epoch with its number (from 0) and what it did.

    Returns:
        One :class:`Epoch` for each epoch.

    Raises:
        InputError: The network lacks what the recipe needs.
        TrainingFailure: The loss of an epoch was not finite.
        OutOfMemory: The device has no memory left.
    """
    config = DeviceConfig(str(device))
    learner = SupervisedLearner(network, recipe, config)
    epochs = run_epochs(learner, batches, recipe.epochs, device_config=config, evaluate=evaluate, on_epoch=on_epoch)
    if learner.average is not None:
        network.load_state_dict(learner.evaluated.state_dict())
    return epochs


def fit_from_seed(
    make: Callable[[], nn.Module],
    data: ImageDataset,
    recipe: Recipe,
    *,
    seed: int,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    device: str = "cpu",
) -> tuple[nn.Module, list[Epoch]]:
    """Make a network and train it on images: weights, order and augmentation come from one seed.

    The global random generators are left as they were.

    Args:
        make: Draws the network's weights from torch's generator.
        data: The training images.
        recipe: The numbers.
        seed: Of everything random.
        evaluate: As for :func:`fit`, as is ``device``.

    Returns:
        The network and its epochs; raises what :func:`fit` raises.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        network = make()
        batches = recipe_batches(data, recipe, seed=seed, device=device)
        return network, fit(network, batches, recipe, evaluate=evaluate, device=device)
