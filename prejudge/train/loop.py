"""The training loop: SGD, a cosine schedule, cross-entropy, and a curve of what happened in every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prejudge.errors import InputError, PrejudgeError
from prejudge.train.recipe import Recipe


class TrainingFailure(PrejudgeError):
    """Training did not go on: the loss was infinite or not a number."""


class Batches(Protocol):
    """Where the loop takes its images from: ``len()`` batches in each epoch, the same whenever an epoch is repeated."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs ``(N, C, H, W)`` and targets ``(N,)`` of epoch ``number`` (from 0)."""
        ...


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        train_loss: Mean over the epoch's images, in training mode, while they were learned.
        train_accuracy: Per cent, likewise.
        seconds: Time of the training steps, without evaluation.
        accuracies: Per cent after the epoch on each set of images that was evaluated, by name.
    """

    train_loss: float
    train_accuracy: float
    seconds: float
    accuracies: dict[str, float]


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
    if recipe.drop_path and not hasattr(network, "drop_path_prob"):
        raise InputError(f"recipe: drop_path is {recipe.drop_path}, but a {type(network).__name__} has no drop-path")
    network.to(device)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=all(p.device.type in ("cpu", "cuda", "mps") for p in parameters),
    )
    steps, step = recipe.epochs * len(batches), 0
    history: list[Epoch] = []
    for number in range(recipe.epochs):
        network.train()
        if recipe.drop_path:
            network.drop_path_prob = recipe.drop_path_at(number)  # type: ignore[assignment]  # a plain number of it
        # Sums stay on the device: reading them at every step would make the host wait for it.
        loss_sum, correct = torch.zeros((), device=device), torch.zeros((), device=device)
        images = 0
        start = time.perf_counter()
        for inputs, targets in batches.epoch(number):
            inputs, targets = inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(step, steps)
            logits = network(inputs)
            loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(parameters, recipe.clip)
            optimizer.step()
            step += 1
            images += len(targets)
            loss_sum += loss.detach() * len(targets)
            correct += (logits.detach().argmax(1) == targets).sum()
        train_loss = float(loss_sum) / images
        seconds = time.perf_counter() - start
        if not math.isfinite(train_loss):
            raise TrainingFailure(f"the loss of epoch {number + 1} is {train_loss}; lower the learning rate")
        accuracies = evaluate(network) if evaluate is not None else {}
        history.append(Epoch(train_loss, 100 * float(correct) / images, seconds, accuracies))
        if on_epoch is not None:
            on_epoch(number, history[-1])
    return history


def accuracy(
    network: nn.Module, inputs: Tensor, targets: Tensor, *, batch_size: int = 512, device: torch.device | str = "cpu"
) -> float:
    """Top-1 accuracy in evaluation mode.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``; its mode is restored.
        inputs: All images, normalised.
        targets: Their classes, shape ``(N,)``.
        batch_size: Images per forward pass.
        device: Where to evaluate.

    Returns:
        Per cent of the images whose largest logit is the target's; logits that are not numbers count as wrong.
    """
    was_training = network.training
    network.eval()
    correct = torch.zeros((), dtype=torch.int64, device=device)
    with torch.inference_mode():
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            logits = network(x.to(device))
            hit = logits.argmax(1) == y.to(device)
            correct += (hit & logits.isfinite().all(1)).sum()
    network.train(was_training)
    return 100 * int(correct) / len(targets)
