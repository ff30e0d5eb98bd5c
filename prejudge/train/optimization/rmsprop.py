"""RMSprop as TensorFlow defines it, which NAS-Bench-101 trained with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class RMSprop(Optimizer):
    """``tf.train.RMSPropOptimizer``: three differences to torch's matter where ``epsilon`` is as large as 1.

    With m, the running mean of g², starting at 1 instead of 0: ``m = decay m + (1 - decay) g²``, ``b = momentum b +
    lr g / sqrt(m + epsilon)`` with ``epsilon`` inside the root, and ``w = w - b``: a change of the learning rate does
    not change what is in b already.

    Args:
        params: What is learned.
        lr: Learning rate.
        decay: Of the running mean.
        momentum: Of the steps.
        epsilon: Added to the running mean.
        weight_decay: Added to the gradient, times the parameter.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        *,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        numbers = {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": weight_decay}
        super().__init__(params, numbers)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._move(group, weights)
        return loss

    def _move(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        for p in weights:
            if not self.state[p]:
                self.state[p] = {"mean_square": torch.ones_like(p), "step": torch.zeros_like(p)}
        squares = [self.state[p]["mean_square"] for p in weights]
        steps = [self.state[p]["step"] for p in weights]
        gradients = [p.grad for p in weights if p.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
        roots = torch._foreach_add(squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(steps, group["momentum"])
        torch._foreach_addcdiv_(steps, gradients, roots, group["lr"])
        torch._foreach_sub_(weights, steps)
