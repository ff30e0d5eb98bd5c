"""One step of SGD on a network's weights, as all trainings make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.train.loop import Moment, Outcome
from prejudge.train.machine import Machine
from prejudge.train.recipe import Recipe

LossOf = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From images ``(N, C, H, W)`` and classes ``(N,)`` to their mean loss ``()`` and their logits ``(N, classes)``."""


class WeightStep:
    """SGD with the schedule, the clipping and the precision that a recipe and a machine say.

    Args:
        parameters: What is learned; those that require no gradient at first may do so later.
        recipe: The numbers.
        machine: Where to compute.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe, machine: Machine) -> None:
        self.parameters = list(parameters)
        self.recipe = recipe
        self.machine = machine
        self.optimizer = torch.optim.SGD(
            self.parameters,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=all(p.device.type in ("cpu", "cuda", "mps") for p in self.parameters),
        )
        self._scaler = torch.amp.GradScaler(enabled=machine.precision == "fp16")

    def learning_rate(self, at: Moment) -> float:
        """The learning rate of a step."""
        return self.recipe.learning_rate_at(at.epoch * at.steps + at.step, at.epochs * at.steps)

    def __call__(
        self,
        inputs: Tensor,
        targets: Tensor,
        at: Moment,
        loss_of: LossOf,
        also: torch.optim.Optimizer | None = None,
    ) -> Outcome:
        """Learn from one batch.

        Args:
            inputs: Images ``(N, C, H, W)``.
            targets: Classes ``(N,)``.
            at: Where in the training this is.
            loss_of: Runs the network.
            also: Makes a step, too, from gradients of the same loss, which are not clipped.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(at)
        with self.machine.autocast():
            loss, logits = loss_of(inputs, targets)
        optimizers = [self.optimizer] if also is None else [self.optimizer, also]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self.recipe.clip:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        for optimizer in optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()
        with torch.no_grad():
            return Outcome(loss.detach(), (logits.argmax(1) == targets).sum(), len(targets))

    def state_dict(self) -> dict[str, Any]:
        """Momenta, and the scale of the loss."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
