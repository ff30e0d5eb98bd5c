"""The ways in which the weights and biases of a network may be drawn anew, in place of its space's own.

These are zero-cost-nas's and HNAS's ``--init_w_type`` and ``--init_b_type``: they touch convolutions and linear layers,
and leave batch norms as they are. The originals' ``xavier`` and ``kaiming`` for biases are left out: torch refuses them
for vectors, so no score can have been made with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prejudge.errors import unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = {
    "default": "as the space's networks are built",
    "xavier": "Glorot's normal distribution",
    "kaiming": "He's normal distribution, by the inputs of a unit",
    "normal": "the standard normal distribution",
    "zero": "zeros",
}
"""The ways of weights."""

BIASES = {name: WEIGHTS[name] for name in ("default", "normal", "zero")}
"""The ways of biases."""


def check_initialization(weights: str, biases: str) -> None:
    """Raise :class:`InputError` for a way that there is not."""
    if weights not in WEIGHTS:
        raise unknown("initialization of weights", weights, WEIGHTS)
    if biases not in BIASES:
        raise unknown("initialization of biases", biases, BIASES)


def initialize(network: nn.Module, weights: str, biases: str) -> None:
    """Draw the weights and biases of all convolutions and linear layers anew, from torch's generator.

    As in the originals all weights come first, then all biases, both in the order of the modules.

    Args:
        network: Changed in place.
        weights: One of :data:`WEIGHTS`.
        biases: One of :data:`BIASES`.
    """
    from torch import nn

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    if weights != "default":
        for layer in layers:
            _draw(weights)(layer.weight)
    if biases != "default":
        for layer in layers:
            if layer.bias is not None:
                _draw(biases)(layer.bias)


def _draw(way: str) -> Callable[[Tensor], Tensor]:
    from torch.nn import init

    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "xavier": init.xavier_normal_,
        "kaiming": init.kaiming_normal_,
        "normal": init.normal_,
        "zero": init.zeros_,
    }
    return ways[way]
