"""DARTS' second-order update: the architecture's gradient after one virtual step of the weights.

The gradient of the held-out loss at w' = w - ξ dL/dw has a term from the dependence of w' on the architecture, a
product of a Hessian with a vector, which a difference of two gradients approximates (Liu et al., ICLR 2019, 2.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from prejudge.search.gradient.learner import SearchLearner
from prejudge.search.gradient.updater import FirstOrder, gradients
from prejudge.train.loop import Moment

RADIUS = 0.01
"""Length of the step in weight space, over which the difference is taken."""


class SecondOrder(FirstOrder):
    """As :class:`FirstOrder`, with the gradient at the weights that the next step would lead to.

    As in the original code (quark0/darts) the virtual step has momentum and weight decay, its network normalises with
    its batch and leaves no trace in the running statistics, and the three passes at the weights around it do.
    """

    def gradients(
        self, learner: SearchLearner, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], at: Moment
    ) -> list[Tensor]:
        supernet, rate = learner.supernet, learner.weight_step.learning_rate(at)
        named = {name: p for name, p in supernet.named_parameters() if p.requires_grad}
        weights = list(named.values())
        with torch.no_grad():
            mixture = learner.weighting.mixture()
        at_weights = dict(zip(weights, _gradients(learner.loss(*train, mixture), weights), strict=True))
        virtual = {name: _after_step(learner, p, at_weights[p], rate).requires_grad_() for name, p in named.items()}
        buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
        with learner.machine.autocast():
            logits = torch.func.functional_call(
                supernet, {**virtual, **buffers}, (held_out[0], learner.weighting.mixture())
            )
            loss = nn.functional.cross_entropy(logits, held_out[1], label_smoothing=learner.recipe.label_smoothing)
        found = _gradients(loss, [*self.parameters, *virtual.values()])
        direct, vector = found[: len(self.parameters)], found[len(self.parameters) :]
        step = RADIUS / torch.stack([v.norm() for v in vector]).norm()
        differences = []
        for sign in (1.0, -1.0):
            with _moved(weights, vector, sign * step):
                differences.append(gradients(learner.loss(*train), self.parameters))
        return [
            d - rate * (plus - minus) / (2 * step) for d, plus, minus in zip(direct, *differences, strict=True)
        ]  # fmt: skip


def _gradients(loss: Tensor, tensors: list[Tensor] | list[nn.Parameter]) -> list[Tensor]:
    """Gradients, zero where the loss does not depend on a tensor."""
    found = torch.autograd.grad(loss, tensors, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]


def _after_step(learner: SearchLearner, parameter: nn.Parameter, gradient: Tensor, rate: float) -> Tensor:
    """Where SGD with momentum and weight decay would move a weight."""
    recipe = learner.recipe
    state: Mapping[str, Tensor] = learner.weight_step.optimizer.state.get(parameter, {})
    buffer = state.get("momentum_buffer")
    step = gradient + recipe.weight_decay * parameter.detach()
    if buffer is not None:
        step = step + recipe.momentum * buffer
    return parameter.detach() - rate * step


@contextmanager
def _moved(weights: list[nn.Parameter], direction: list[Tensor], step: Tensor) -> Iterator[None]:
    """Move weights along a direction for a while; they come back to the last bit."""
    kept = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for weight, vector in zip(weights, direction, strict=True):
            weight.add_(step * vector)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)
