"""The training loop: epochs of steps, resumable after every epoch.

What a step does is a :class:`Learner`'s business: an ordinary network's is in :mod:`prejudge.train.learner`, those
of supernets are in :mod:`prejudge.search.supernet`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from prejudge.engine.random_state import random_states, restore_random_states
from prejudge.errors import PrejudgeError
from prejudge.train.checkpoint import CheckpointManager
from prejudge.train.device import DeviceConfig

WATCH = 50
"""The loss is looked at every so many steps: not at every one, since that makes the host wait for the device."""


class TrainingFailure(PrejudgeError):
    """Training did not go on: the loss was infinite or not a number."""


class Batches(Protocol):
    """Where the loop takes its images from: ``len()`` batches in each epoch, the same whenever an epoch is repeated."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs ``(N, C, H, W)`` and targets ``(N,)`` of epoch ``number`` (from 0)."""


class TrainState(NamedTuple):
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


class StepOutput(NamedTuple):
    """The figures of a step on the images that it learned; tensors are detached and stay on the device.

    Attributes:
        loss: Mean over the images, ``()``.
        correct: How many were classified correctly, ``()``.
        images: How many there were.
    """

    loss: Tensor
    correct: Tensor
    images: int


class Learner(ABC):
    """The state that a training changes, and the step that changes it.

    Attributes:
        network: From images ``(N, C, H, W)`` to logits ``(N, classes)``.
        finished: Set by a learner that needs no further epoch.
    """

    network: nn.Module
    finished: bool = False

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch."""
        self.network.train()

    @abstractmethod
    def step(self, inputs: Tensor, targets: Tensor, state: TrainState) -> StepOutput:
        """Learn from one batch, ``(N, C, H, W)`` and ``(N,)``, which is on the device."""

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and exported: the learned one, or its moving average."""
        return self.network

    def learning_rate(self, state: TrainState) -> float | None:
        """The weights' learning rate at a step, for the log; None where there is none."""
        return None

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
    """The figures of one epoch.

    Attributes:
        train_loss: Mean over the epoch's images, in training mode, while they were learned.
        train_accuracy: Per cent, likewise.
        seconds: Time of the training steps, without evaluation.
        accuracies: Per cent after the epoch on each set of images that was evaluated, by name.
        metadata: Other plain values that the learner gives for the epoch.
        images: How many were learned.
        learning_rate: Of the weights at the first step; None where the learner does not say it.
    """

    train_loss: float
    train_accuracy: float
    seconds: float
    accuracies: dict[str, float]
    metadata: dict[str, Any] = field(default_factory=dict)
    images: int = 0
    learning_rate: float | None = None

    @property
    def images_per_second(self) -> float:
        """Speed of the training steps, of all processes together."""
        return self.images / self.seconds if self.seconds else math.nan


def run_epochs(
    learner: Learner,
    batches: Batches,
    epochs: int,
    *,
    device_config: DeviceConfig,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    checkpoints: CheckpointManager | None = None,
    best_by: str | None = None,
    on_start: Callable[[Sequence[Epoch]], None] | None = None,
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> list[Epoch]:
    """Run a learner's epochs; those that are on file are not run again.

    In distributed training every process calls this, with its own share of the batches. Before the first epoch all take
    over the first one's network and checkpoint, and after every epoch its running statistics.

    Args:
        learner: What is trained, in place.
        batches: The training images.
        epochs: How many, unless the learner is finished earlier.
        device_config: Where to compute.
        evaluate: Called after every epoch, in every process; returns accuracies in per cent by name.
        checkpoints: Where a checkpoint is written after every epoch, and the last one is taken up from: the state of
            the learner and of all random numbers, so that an interrupted training ends as if it had not been.
        best_by: Name of the accuracy by which the best checkpoint is chosen, the first of equals; none is
            chosen if left out.
        on_start: Called with the epochs that are on file, in the first process only.
        on_epoch: Called after every epoch with its number (from 0) and what it did, once it is on file; in the first
            process only.

    Returns:
        All epochs, those on file included.

    Raises:
        TrainingFailure: The loss was not finite; the checkpoint of the epoch before stays.
        OutOfMemory: The device has no memory left.
        LostContact: Another process has ended.
    """
    group = device_config.process_group
    group.broadcast_([*learner.network.parameters(), *learner.network.buffers()])
    history: list[Epoch] = []
    if checkpoints is not None and (found := group.from_first(checkpoints.latest)) is not None:
        learner.load_state_dict(found.state["learner"])
        learner.finished = bool(found.state["finished"])
        _restore(found.state, device_config)
        history = [Epoch(**epoch) for epoch in found.state["history"]]
    if on_start is not None and group.is_first:
        on_start(history)
    for number in range(len(history), epochs):
        if learner.finished:
            break
        with device_config.running():
            epoch = _run_epoch(learner, batches, number, epochs, device_config)
            # One by one these differ between the processes: batch norm has seen other images in each.
            group.broadcast_({id(b): b for n in (learner.network, learner.evaluated) for b in n.buffers()}.values())
            accuracies = evaluate(learner.evaluated) if evaluate is not None else {}
        best = best_by is not None and _is_best(accuracies[best_by], [e.accuracies[best_by] for e in history])
        history.append(replace(epoch, accuracies=accuracies))
        if checkpoints is not None:
            state = {
                "learner": learner.state_dict(),
                "finished": learner.finished,
                **_random(device_config),
                "history": [asdict(e) for e in history],
            }
            checkpoints.save(number + 1, state, best=best)
        if on_epoch is not None and group.is_first:
            on_epoch(number, history[-1])
    return history


def _is_best(value: float, before: Sequence[float]) -> bool:
    return not before or value > max(before)


def _random(device_config: DeviceConfig) -> dict[str, Any]:
    """Where the random numbers of all processes stand."""
    first, *others = device_config.process_group.gather(random_states())
    return {"random": first, **({"others": others} if others else {})}


def _restore(state: Mapping[str, Any], device_config: DeviceConfig) -> None:
    """Go on with this process's random numbers; one that was not there before keeps those that it has."""
    rank = device_config.process_group.rank
    states = [state["random"], *state.get("others", ())]
    if rank < len(states):
        restore_random_states(states[rank])


def _run_epoch(learner: Learner, batches: Batches, number: int, epochs: int, device_config: DeviceConfig) -> Epoch:
    start = time.perf_counter()
    learner.begin_epoch(number)  # which may be long: a projection evaluates many networks
    sums, steps = _Sums(device_config), len(batches)
    for step, (inputs, targets) in enumerate(batches.epoch(number)):
        sums.add(learner.step(*device_config.take(inputs, targets), TrainState(number, epochs, step, steps)))
        if step % WATCH == WATCH - 1 and not sums.looks_finite():
            raise _failure(number, f"not finite in its first {step + 1} steps")
    loss, correct, images = sums.totals()
    seconds = time.perf_counter() - start
    if not math.isfinite(loss):
        raise _failure(number, str(loss))
    return Epoch(
        loss / images,
        100 * correct / images,
        seconds,
        {},
        learner.end_epoch(number),
        int(images),
        learner.learning_rate(TrainState(number, epochs, 0, steps)),
    )


def _failure(number: int, what: str) -> TrainingFailure:
    kept = f"; the checkpoint of epoch {number}, if one was kept, is untouched" if number else ""
    return TrainingFailure(f"the loss of epoch {number + 1} is {what}; lower the learning rate{kept}")


class _Sums:
    """Loss and hits of an epoch so far. They stay on the device: reading them at every step makes the host wait."""

    def __init__(self, device_config: DeviceConfig) -> None:
        self._group = device_config.process_group
        self._loss = torch.zeros((), device=device_config.device)
        self._correct = torch.zeros((), device=device_config.device)
        self._images = 0
        self._copy: tuple[Tensor, torch.cuda.Event] | None = None

    def add(self, output: StepOutput) -> None:
        self._loss += output.loss * output.images
        self._correct += output.correct
        self._images += output.images

    def looks_finite(self) -> bool:
        """Whether the loss was finite when this was last asked on a CUDA device, which it does not wait for; or is now.

        All processes ask at the same steps and get the same answer.
        """
        loss = self._group.sum_(self._loss.clone())
        if not loss.is_cuda:
            return math.isfinite(loss)
        before, self._copy = self._copy, (loss.to("cpu", non_blocking=True), torch.cuda.Event())
        self._copy[1].record()
        if before is None:
            return True
        before[1].synchronize()  # it has passed long ago
        return math.isfinite(before[0])

    def totals(self) -> tuple[float, float, float]:
        """Loss, hits and images of all processes, each summed over the images."""
        if self._group.size == 1:
            return float(self._loss), float(self._correct), self._images
        images = torch.full_like(self._loss, self._images)
        loss, correct, count = self._group.sum_(torch.stack([self._loss, self._correct, images])).tolist()
        return loss, correct, count
