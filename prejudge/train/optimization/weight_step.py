"""One step of a network's weights, as all trainings make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prejudge.train.device import DeviceConfig
from prejudge.train.loop import StepOutput, TrainState
from prejudge.train.optimization.rmsprop import RMSprop
from prejudge.train.recipes.recipe import Recipe

LossOf = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From images ``(N, C, H, W)`` and classes ``(N,)`` to their mean loss ``()`` and their logits ``(N, classes)``."""


def loss_and_logits(output: Tensor | tuple[Tensor, Tensor], targets: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The loss that a recipe minimizes, ``()``, and the logits.

    Args:
        output: The network's logits ``(N, classes)``, or these and the auxiliary classifier's.
        targets: ``(N,)``.
        recipe: Its label smoothing goes for both classifiers, as in the original codes.
    """
    logits, *auxiliary = (output,) if isinstance(output, Tensor) else output
    loss = F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
    for other in auxiliary:
        loss = loss + recipe.auxiliary_weight * F.cross_entropy(other, targets, label_smoothing=recipe.label_smoothing)
    return loss, logits


class WeightStep:
    """A step with the optimizer, schedule and clipping of a recipe and the precision of a device configuration.

    The images of a step may pass in several parts (``recipe.accumulation_steps``) and in several processes
    (``device_config.process_group``): the gradient is that of the mean over all of them.

    Args:
        parameters: What is learned; those that require no gradient at first may do so later.
        recipe: The numbers.
        device_config: Where to compute.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe, device_config: DeviceConfig) -> None:
        self.parameters = list(parameters)
        self.recipe = recipe
        self.device_config = device_config
        self.optimizer = _optimizer(self.parameters, recipe)
        self._scaler = torch.amp.GradScaler(enabled=device_config.precision == "fp16")

    def learning_rate(self, state: TrainState) -> float:
        """The learning rate of a step."""
        return self.recipe.learning_rate_at(state.epoch * state.steps + state.step, state.epochs * state.steps)

    def __call__(
        self,
        inputs: Tensor,
        targets: Tensor,
        state: TrainState,
        loss_of: LossOf,
        also: torch.optim.Optimizer | None = None,
    ) -> StepOutput:
        """Learn from one batch.

        Args:
            inputs: Images ``(N, C, H, W)``, this process's share of the batch.
            targets: Classes ``(N,)``.
            state: Where in the training this is.
            loss_of: Runs the network.
            also: Makes a step, too, from gradients of the same loss, which are not clipped.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(state)
        optimizers = [self.optimizer] if also is None else [self.optimizer, also]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        losses, hits = [], []
        for x, y, share in self._parts(inputs, targets):
            with self.device_config.autocast():
                loss, logits = loss_of(x, y)
            loss = loss if share == 1 else loss * share
            self._scaler.scale(loss).backward()
            with torch.no_grad():
                losses.append(loss.detach())
                hits.append((logits.argmax(1) == y).sum())
        learned = [p for o in optimizers for group in o.param_groups for p in group["params"]]
        self.device_config.process_group.average_([p.grad for p in learned if p.grad is not None], len(targets))
        if self.recipe.max_grad_norm:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_grad_norm)
        self._begin_momenta()
        for optimizer in optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()
        return StepOutput(_sum(losses), _sum(hits), len(targets))

    def gradients(
        self, loss_of: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor, tensors: Sequence[Tensor]
    ) -> list[Tensor]:
        """Gradients of the mean loss of a batch, part by part and over all processes as in a step; nobody's ``grad``.

        Args:
            loss_of: From images and classes to their mean loss ``()``, in the precision of the device configuration.
            inputs: ``(N, C, H, W)``, this process's share of the batch.
            targets: ``(N,)``.
            tensors: What is derived by.

        Returns:
            fp32, of the tensors' shapes; zero where the loss does not depend on a tensor, and infinite or not a number
            where fp16 could not hold it.
        """
        tensors = list(tensors)
        found: list[Tensor] = []
        for x, y, share in self._parts(inputs, targets):
            loss = loss_of(x, y)
            loss = self._scaler.scale(loss if share == 1 else loss * share)
            part = torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)
            found = [a + b for a, b in zip(found, part, strict=True)] if found else list(part)
        self.device_config.process_group.average_(found, len(targets))
        if self._scaler.is_enabled():
            found = [g / self._scaler.get_scale() for g in found]
        return found

    def move(self, optimizer: torch.optim.Optimizer) -> None:
        """A step of an optimizer whose parameters have gradients of :meth:`gradients`.

        In fp16 it is left out where they are not finite, and then the next step of the weights scales its loss less.
        """
        if self._scaler.is_enabled():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad = self._scaler.scale(parameter.grad)
        self._scaler.step(optimizer)

    def _begin_momenta(self) -> None:
        """Momenta of 0 for what learns for the first time: torch's fused step takes those of all or of none."""
        if isinstance(self.optimizer, torch.optim.SGD) and self.recipe.momentum:
            for p in self.parameters:
                if p.grad is not None and not self.optimizer.state.get(p):
                    self.optimizer.state[p] = {"momentum_buffer": torch.zeros_like(p)}

    def state_dict(self) -> dict[str, Any]:
        """Momenta, and the scale of the loss."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def _parts(self, inputs: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
        """The parts in which a batch passes the network, and their shares; batch norm needs two images at least."""
        count = max(1, min(self.recipe.accumulation_steps, len(targets) // 2))
        for x, y in zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True):
            yield x, y, len(y) / len(targets)


def _optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "rmsprop":
        return RMSprop(
            parameters, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )  # fmt: skip
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=all(p.device.type in ("cpu", "cuda", "mps") for p in parameters),
    )


def _sum(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).sum()
