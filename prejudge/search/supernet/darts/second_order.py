"""DARTS' second-order update: the architecture's gradient after one virtual step of the weights.

The gradient of the held-out loss at w' = w - ξ dL/dw has a term from the dependence of w' on the architecture, a
product of a Hessian with a vector, which a difference of two gradients approximates (Liu et al., ICLR 2019, 2.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from prejudge.search.supernet.architect import FirstOrderArchitect
from prejudge.search.supernet.learner import SupernetLearner
from prejudge.train.loop import TrainState

RADIUS = 0.01
"""Length of the step in weight space, over which the difference is taken."""


class SecondOrderArchitect(FirstOrderArchitect):
    """As :class:`FirstOrderArchitect`, with the gradient at the weights that the next step would lead to.

    As in the original code (quark0/darts) the virtual step has momentum and weight decay, its network normalizes with
    its batch and leaves no trace in the running statistics, and the three passes at the weights around it do.
    """

    def gradients(
        self, learner: SupernetLearner, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], state: TrainState
    ) -> list[Tensor]:
        supernet, rate, of = learner.supernet, learner.weight_step.learning_rate(state), learner.weight_step.gradients
        named = {name: p for name, p in supernet.named_parameters() if p.requires_grad}
        weights = list(named.values())
        with torch.no_grad():
            mixture = learner.arch_parameters.mixture()
        slopes = of(lambda x, y: learner.loss(x, y, mixture), *train, weights)
        at_weights = dict(zip(weights, slopes, strict=True))
        virtual = {name: _after_step(learner, p, at_weights[p], rate).requires_grad_() for name, p in named.items()}
        buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}

        def loss_after_step(x: Tensor, y: Tensor) -> Tensor:
            with learner.device_config.autocast():
                logits = torch.func.functional_call(
                    supernet, {**virtual, **buffers}, (x, learner.arch_parameters.mixture())
                )
                return nn.functional.cross_entropy(logits, y, label_smoothing=learner.recipe.label_smoothing)

        found = of(loss_after_step, *held_out, [*self.parameters, *virtual.values()])
        direct, vector = found[: len(self.parameters)], found[len(self.parameters) :]
        step = RADIUS / torch.stack([v.norm() for v in vector]).norm()
        differences = []
        for sign in (1.0, -1.0):
            with _moved(weights, vector, sign * step):
                differences.append(of(learner.loss, *train, self.parameters))
        return [
            d - rate * (plus - minus) / (2 * step) for d, plus, minus in zip(direct, *differences, strict=True)
        ]  # fmt: skip


def _after_step(learner: SupernetLearner, parameter: nn.Parameter, gradient: Tensor, rate: float) -> Tensor:
    """Where SGD with momentum and weight decay would move a weight."""
    recipe = learner.recipe
    state: Mapping[str, Tensor] = learner.weight_step.optimizer.state.get(parameter, {})
    buffer = state.get("momentum_buffer")
    slope = gradient + recipe.weight_decay * parameter.detach()
    step = slope if buffer is None else slope + recipe.momentum * buffer
    if recipe.nesterov:
        step = slope + recipe.momentum * step
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
