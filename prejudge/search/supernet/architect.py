"""Updates of the architecture parameters: on held-out images (first or second order), with the weights, or none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.search.supernet.learner import Architect, SupernetLearner
from prejudge.train.loop import Batches, TrainState


@dataclass(frozen=True)
class AdamConfig:
    """The settings of the architecture parameters' optimizer; the defaults are those of DARTS and most later methods.

    Attributes:
        learning_rate: Constant.
        betas: Decay of the two moments.
        weight_decay: Added to the gradient.

    Raises:
        InputError: The learning rate is not positive, or the weight decay is negative.
    """

    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"arch_learning_rate must be positive, not {self.learning_rate!r}")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"arch_weight_decay must be 0 or more, not {self.weight_decay!r}")

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        """The optimizer of some parameters."""
        return torch.optim.Adam(
            list(parameters), lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )


class JointArchitect(Architect):
    """One-level optimization: architecture and weights learn from one loss on one batch (StacNAS, ISTA-NAS one-stage).

    Args:
        parameters: The architecture parameters.
        adam: Their optimizer.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], adam: AdamConfig = AdamConfig()) -> None:
        self.joint = self.optimizer = adam.optimizer(parameters)


class FirstOrderArchitect(Architect):
    """First-order bilevel optimization: before each step of the weights, one of the architecture on held-out images.

    Args:
        parameters: The architecture parameters.
        held_out: Images that the weights never learn from; each step takes the next batch.
        adam: The optimizer.
    """

    optimizer: torch.optim.Adam

    def __init__(self, parameters: Iterable[nn.Parameter], held_out: Batches, adam: AdamConfig = AdamConfig()) -> None:
        self.parameters = list(parameters)
        self.optimizer = adam.optimizer(self.parameters)
        self._held_out = held_out
        self._next: Iterator[tuple[Tensor, Tensor]] = iter(())

    def begin_epoch(self, epoch: int) -> None:
        self._next = _endless(self._held_out, epoch)

    def before(self, learner: SupernetLearner, inputs: Tensor, targets: Tensor, state: TrainState) -> None:
        held_out = learner.device_config.take(*next(self._next))
        gradients = self.gradients(learner, (inputs, targets), held_out, state)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        learner.weight_step.move(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)

    def gradients(
        self, learner: SupernetLearner, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], state: TrainState
    ) -> list[Tensor]:
        """Gradients of the architecture parameters: of the held-out loss, as if the weights did not depend on them.

        Args:
            learner: The supernet and its architecture parameters.
            train: The batch that the weights are about to learn.
            held_out: The batch that the architecture learns.
            state: Where in the training this is.
        """
        return learner.weight_step.gradients(learner.loss, *held_out, self.parameters)


def _endless(batches: Batches, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch after batch, from this epoch on; where an epoch ends early the order of another, far later one follows."""
    for again in count():
        yield from batches.epoch(epoch + again * 1_000_000)
