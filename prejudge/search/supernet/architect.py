"""Updates of the architecture parameters: on held-out images (first or second order), with the weights, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prejudge.train.loop import Batches, TrainState

if TYPE_CHECKING:
    from prejudge.search.supernet.learner import SupernetLearner


@dataclass(frozen=True)
class AdamConfig:
    """The settings of the architecture parameters' optimizer; the defaults are those of DARTS and most later methods.

    Attributes:
        learning_rate: Constant.
        betas: Decay of the two moments.
        weight_decay: Added to the gradient.
    """

    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        """The optimizer of some parameters."""
        return torch.optim.Adam(
            list(parameters), lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )


class Architect:
    """The update of a learner's architecture parameters; this one leaves them as they are.

    Attributes:
        joint: An optimizer whose step is part of the weights' own, from the gradients of the same loss; None where
            weights learn with the architecture held fixed, or nothing of it is left to learn.
    """

    joint: torch.optim.Optimizer | None = None

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch."""

    def before(self, learner: SupernetLearner, inputs: Tensor, targets: Tensor, at: TrainState) -> None:
        """Called before each step of the weights, with the batch that they are about to learn."""

    def state_dict(self) -> dict[str, Any]:
        """The state on which later steps depend."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` gave."""


class JointArchitect(Architect):
    """One-level optimization: architecture and weights learn from one loss on one batch (StacNAS, ISTA-NAS one-stage).

    Args:
        parameters: The architecture parameters.
        adam: Their optimizer.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], adam: AdamConfig = AdamConfig()) -> None:
        self.optimizer = adam.optimizer(parameters)
        self.joint = self.optimizer

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


class FirstOrderArchitect(Architect):
    """First-order bilevel optimization: before each step of the weights, one of the architecture on held-out images.

    Args:
        parameters: The architecture parameters.
        held_out: Images that the weights never learn from; each step takes the next batch.
        adam: The optimizer.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        held_out: Batches,
        adam: AdamConfig = AdamConfig(),
    ) -> None:
        self.parameters = list(parameters)
        self.optimizer = adam.optimizer(self.parameters)
        self._held_out = held_out
        self._next: Iterator[tuple[Tensor, Tensor]] = iter(())

    def begin_epoch(self, epoch: int) -> None:
        self._next = _endless(self._held_out, epoch)

    def before(self, learner: SupernetLearner, inputs: Tensor, targets: Tensor, at: TrainState) -> None:
        held_out = learner.device_config.take(*next(self._next))
        gradients = self.gradients(learner, (inputs, targets), held_out, at)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        learner.weight_step.move(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)

    def gradients(
        self, learner: SupernetLearner, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], at: TrainState
    ) -> list[Tensor]:
        """Gradients of the architecture parameters: of the held-out loss, as if the weights did not depend on them.

        Args:
            learner: The supernet and its architecture parameters.
            train: The batch that the weights are about to learn.
            held_out: The batch that the architecture learns.
            at: Where in the training this is.
        """
        return learner.weight_step.gradients(learner.loss, *held_out, self.parameters)

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


def _endless(batches: Batches, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch after batch, from this epoch on; where an epoch ends early the order of another, far later one follows."""
    for again in count():
        yield from batches.epoch(epoch + again * 1_000_000)
