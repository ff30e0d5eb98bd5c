"""The training loop: epochs of steps, whatever it is that a step changes, resumable after every epoch.

What a step does is a :class:`Learner`'s business: an ordinary network's is in :mod:`prejudge.train.supervised`, those
of supernets are in :mod:`prejudge.search.gradient`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from prejudge.errors import PrejudgeError
from prejudge.train.checkpoint import Keeper
from prejudge.train.machine import Machine
from prejudge.train.random_state import random_states, restore_random_states


class TrainingFailure(PrejudgeError):
    """Training did not go on: the loss was infinite or not a number."""


class Batches(Protocol):
    """Where the loop takes its images from: ``len()`` batches in each epoch, the same whenever an epoch is repeated."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs ``(N, C, H, W)`` and targets ``(N,)`` of epoch ``number`` (from 0)."""
        ...


class Moment(NamedTuple):
    """Where in a training one is, all counted from 0.

    Attributes:
        epoch: This epoch.
        epochs: All epochs.
        step: This step of the epoch.
        steps: All steps of an epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int


class Outcome(NamedTuple):
    """What a step says of the images that it learned; tensors are detached and stay on the device.

    Attributes:
        loss: Mean over the images, ``()``.
        correct: How many were classified correctly, ``()``.
        images: How many there were.
    """

    loss: Tensor
    correct: Tensor
    images: int


class Learner(ABC):
    """What a training changes, and how one step changes it.

    Attributes:
        network: From images ``(N, C, H, W)`` to logits ``(N, classes)``, to be evaluated between epochs.
        finished: Set by a learner that needs no further epoch.
    """

    network: nn.Module
    finished: bool = False

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch."""
        self.network.train()

    @abstractmethod
    def step(self, inputs: Tensor, targets: Tensor, at: Moment) -> Outcome:
        """Learn from one batch, ``(N, C, H, W)`` and ``(N,)``, which is on the device."""

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        """Called after the last step of an epoch; the plain values that it returns are kept with the epoch."""
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that later steps depend on, besides random numbers, as tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` gave."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        train_loss: Mean over the epoch's images, in training mode, while they were learned.
        train_accuracy: Per cent, likewise.
        seconds: Time of the training steps, without evaluation.
        accuracies: Per cent after the epoch on each set of images that was evaluated, by name.
        facts: What else the learner says about the epoch, as plain values.
    """

    train_loss: float
    train_accuracy: float
    seconds: float
    accuracies: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)


def run_epochs(
    learner: Learner,
    batches: Batches,
    epochs: int,
    *,
    machine: Machine,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    keeper: Keeper | None = None,
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> list[Epoch]:
    """Run a learner's epochs; those that are on file are not run again.

    Args:
        learner: What is trained, in place.
        batches: The training images.
        epochs: How many, unless the learner is finished earlier.
        machine: Where to compute.
        evaluate: Called after every epoch; returns accuracies in per cent by name.
        keeper: Where a checkpoint is written after every epoch, and the last one is taken up from: the state of the
            learner and of all random numbers, so that an interrupted training ends as if it had not been.
        on_epoch: Called after every epoch with its number (from 0) and what it did, once it is on file.

    Returns:
        All epochs, those on file included.

    Raises:
        TrainingFailure: The loss of an epoch was not finite; the checkpoint of the epoch before stays.
    """
    history: list[Epoch] = []
    if keeper is not None and (found := keeper.latest()) is not None:
        learner.load_state_dict(found.state["learner"])
        learner.finished = bool(found.state["finished"])
        restore_random_states(found.state["random"])
        history = [Epoch(**epoch) for epoch in found.state["history"]]
    for number in range(len(history), epochs):
        if learner.finished:
            break
        epoch = _run_epoch(learner, batches, number, epochs, machine)
        accuracies = evaluate(learner.network) if evaluate is not None else {}
        history.append(Epoch(**{**asdict(epoch), "accuracies": accuracies}))
        if keeper is not None:
            state = {
                "learner": learner.state_dict(),
                "finished": learner.finished,
                "random": random_states(),
                "history": [asdict(e) for e in history],
            }
            keeper.save(number + 1, state)
        if on_epoch is not None:
            on_epoch(number, history[-1])
    return history


def _run_epoch(learner: Learner, batches: Batches, number: int, epochs: int, machine: Machine) -> Epoch:
    learner.begin_epoch(number)
    # Sums stay on the device: reading them at every step would make the host wait for it.
    loss_sum = torch.zeros((), device=machine.device)
    correct = torch.zeros((), device=machine.device)
    images, steps = 0, len(batches)
    start = time.perf_counter()
    for step, (inputs, targets) in enumerate(batches.epoch(number)):
        outcome = learner.step(*machine.take(inputs, targets), Moment(number, epochs, step, steps))
        loss_sum += outcome.loss * outcome.images
        correct += outcome.correct
        images += outcome.images
    train_loss = float(loss_sum) / images
    seconds = time.perf_counter() - start
    if not math.isfinite(train_loss):
        raise TrainingFailure(f"the loss of epoch {number + 1} is {train_loss}; lower the learning rate")
    return Epoch(train_loss, 100 * float(correct) / images, seconds, {}, learner.end_epoch(number))
