"""Counted layers, batch norms, and what a forward pass leaves behind in them.

The field counts the weights of every ``nn.Conv2d`` and ``nn.Linear``, executed or not, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm
CountedLayer = nn.Conv2d | nn.Linear


def counted_layers(network: nn.Module) -> dict[str, CountedLayer]:
    """Every convolution and linear layer by its module name; a shared module appears once."""
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def batch_norms(network: nn.Module) -> dict[str, BatchNorm]:
    """Every batch norm by its module name."""
    return {name: m for name, m in network.named_modules() if isinstance(m, BatchNorm)}


def full_precision(x: Tensor) -> Tensor:
    """``x`` in at least fp32, for sums that bf16 would spoil."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@dataclass(eq=False)
class Call:
    """One execution of a counted layer.

    Attributes:
        name: Module name of the layer.
        layer: The layer.
        inputs: What it was given, ``(N, C, H, W)`` or ``(N, …, D)``, detached.
        output: What it returned, part of the autograd graph.
    """

    name: str
    layer: CountedLayer
    inputs: Tensor
    output: Tensor


@contextmanager
def recorded_calls(network: nn.Module) -> Iterator[list[Call]]:
    """Collect every call of a counted layer, in execution order, while the block runs."""
    calls: list[Call] = []
    handles = []

    def recorder(name: str) -> Any:
        def record(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            calls.append(Call(name, layer, args[0].detach(), output))

        return record

    for name, layer in counted_layers(network).items():
        handles.append(layer.register_forward_hook(recorder(name)))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced_forward(modules: dict[str, Any], make: Any) -> Iterator[None]:
    """Give each module the forward function ``make(module)`` while the block runs."""
    try:
        for module in modules.values():
            module.forward = make(module)
        yield
    finally:
        for module in modules.values():
            del module.forward
