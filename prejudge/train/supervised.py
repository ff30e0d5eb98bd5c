"""Ordinary training: one network, its weights, cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prejudge.errors import InputError
from prejudge.train.loop import Batches, Epoch, Learner, Moment, Outcome, run_epochs
from prejudge.train.machine import Machine
from prejudge.train.recipe import Recipe
from prejudge.train.weight_step import WeightStep


class SupervisedLearner(Learner):
    """Learns a network's weights.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``; it is moved to the machine.
        recipe: The numbers.
        machine: Where to compute.

    Raises:
        InputError: The recipe drops paths, and the network has no ``drop_path_prob``.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, machine: Machine) -> None:
        if recipe.drop_path and not hasattr(network, "drop_path_prob"):
            raise InputError(
                f"recipe: drop_path is {recipe.drop_path}, but a {type(network).__name__} has no drop-path"
            )
        self.network = machine.place(network)
        self.recipe = recipe
        self._step = WeightStep((p for p in network.parameters() if p.requires_grad), recipe, machine)

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        if self.recipe.drop_path:
            self.network.drop_path_prob = self.recipe.drop_path_at(epoch)  # type: ignore[assignment]  # a plain number

    def step(self, inputs: Tensor, targets: Tensor, at: Moment) -> Outcome:
        return self._step(inputs, targets, at, self._loss)

    def _loss(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(inputs)
        return F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing), logits

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "step": self._step.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self._step.load_state_dict(state["step"])


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
            drops paths.
        batches: The training images.
        recipe: The numbers.
        evaluate: Called after every epoch; returns accuracies in per cent by name.
        device: Where to train.
        on_epoch: Called after every epoch with its number (from 0) and what it did.

    Returns:
        One :class:`Epoch` for each epoch.

    Raises:
        InputError: The recipe drops paths, and the network has no ``drop_path_prob``.
        TrainingFailure: The loss of an epoch was not finite.
    """
    machine = Machine(str(device))
    learner = SupervisedLearner(network, recipe, machine)
    return run_epochs(learner, batches, recipe.epochs, machine=machine, evaluate=evaluate, on_epoch=on_epoch)
