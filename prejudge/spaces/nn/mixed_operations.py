"""The operations on the edges of a supernet's cell, run so that what several of them need is computed once.

The results are those of the operations run one at a time, each output weighed and added, up to rounding:

* A state passes its ReLU once, and pooled and normalized once by each kind of pooling, for all edges that leave it.
* Where an operation ends in a batch norm, its weight joins the norm's scale and costs no pass of its own.
* On a CPU a dilated convolution runs as a dense one on the state's four lattices of every other pixel, since the
  kernels of dilated depth-wise convolutions are slow there. What follows, up to the sum, does not mind the layout.

An operation that someone watches (a hook on it, or a replaced ``forward``) runs as its own module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prejudge.spaces.nn.batch_norm import Normalized, batch_norm, normalized
from prejudge.spaces.nn.convolution import convolution
from prejudge.spaces.nn.operations import FactorizedReduce, Zero

Weight = float | Tensor
Layer = Callable[[Tensor], Tensor]
Pool = nn.MaxPool2d | nn.AvgPool2d


def is_watched(operation: nn.Module) -> bool:
    """Whether someone would notice that a module of an operation was not called."""
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks or "forward" in vars(m)
        for m in operation.modules()
    )


class LayerChain(NamedTuple):
    """An operation as a row of layers.

    Attributes:
        first: What it does with the state.
        middle: What follows.
        norm: The batch norm at its end, if it ends in one.
    """

    first: Layer
    middle: tuple[Layer, ...]
    norm: nn.BatchNorm2d | None


def layers_of(operation: nn.Module) -> LayerChain:
    """The layers of an operation of any space."""
    if isinstance(operation, FactorizedReduce):
        return LayerChain(operation.relu, (operation.halves,), operation.bn)
    inner = getattr(operation, "op", operation)
    first, *middle = inner if isinstance(inner, nn.Sequential) else (inner,)
    if middle and isinstance(middle[-1], nn.BatchNorm2d):
        return LayerChain(first, tuple(middle[:-1]), middle[-1])
    return LayerChain(first, tuple(middle), None)


class CellState:
    """A node of a cell, and the tensors that its edges derive from it, each computed when it is first asked for.

    Args:
        tensor: The node, ``(N, C, H, W)``.
    """

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
        self._pooled: dict[tuple[type[nn.Module], Any], Tensor] = {}
        self._normalized: dict[tuple[type[nn.Module], Any, float], Normalized] = {}

    @cached_property
    def relu(self) -> Tensor:
        """The state after ReLU."""
        return F.relu(self.tensor)

    @cached_property
    def lattices(self) -> Tensor:
        """The state after ReLU taken apart, ``(4 N, C, H / 2, W / 2)``: pixels of even and of odd rows and columns."""
        return take_apart(self.relu)

    @cached_property
    def every_other(self) -> Tensor:
        """Every other row and column of the state after ReLU."""
        return self.relu[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)

    def pooled(self, pool: Pool) -> Tensor:
        """The state after one of the two poolings 3x3."""
        key = type(pool), pool.stride
        if key not in self._pooled:
            self._pooled[key] = pool(self.tensor)
        return self._pooled[key]

    def normalized(self, pool: Pool, norm: nn.BatchNorm2d) -> Tensor:
        """The same after a batch norm without parameters, in training mode, which keeps its own running statistics."""
        key = type(pool), pool.stride, norm.eps
        if key not in self._normalized:
            self._normalized[key] = normalized(self.pooled(pool), None, None, norm.eps)
        return self._normalized[key].tracked_by(norm)


class WeightedSum:
    """The sum of the terms that have entered a node so far."""

    def __init__(self) -> None:
        self._sums: dict[bool, Tensor] = {}
        self._own: set[bool] = set()

    def add(self, term: Tensor, weight: Weight = 1.0, *, apart: bool = False) -> None:
        """Add a term times a weight.

        Args:
            term: ``(N, C, H, W)``, or what :func:`take_apart` makes of that; it stays as it is.
            weight: A number, or a tensor of one.
            apart: Whether the term is still taken apart.
        """
        before = self._sums.get(apart)
        # The first term may belong to others too; a sum is ours, and most of an addition's time goes into new memory.
        in_place = apart in self._own and before is not None and before.dtype == term.dtype
        if before is None:
            total = term if is_one(weight) else weight * term
        elif isinstance(weight, Tensor):
            total = (before.addcmul_ if in_place else before.addcmul)(term, weight.to(term))
        else:
            total = (before.add_ if in_place else before.add)(term, alpha=weight)
        if total is not term:
            self._own.add(apart)
        self._sums[apart] = total

    def total(self) -> Tensor | None:
        """The sum ``(N, C, H, W)``; None where there was no term."""
        apart = self._sums.pop(True, None)
        if apart is not None:
            self.add(put_together(apart))
        return self._sums.get(False)


def is_one(weight: Weight) -> bool:
    """Whether a weight is the number 1, for which nothing needs to be computed."""
    return not isinstance(weight, Tensor) and weight == 1


def is_zero(operation: nn.Module) -> bool:
    """Whether an operation is a constant zero that nobody watches."""
    return isinstance(operation, Zero) and not is_watched(operation)


def run(operation: nn.Module, state: CellState, weight: Weight, node: WeightedSum) -> None:
    """Add one operation on a state, times its weight, to a node."""
    if is_watched(operation):
        node.add(operation(state.tensor), weight)
        return
    first, middle, norm = layers_of(operation)
    apart = False
    if isinstance(first, nn.MaxPool2d | nn.AvgPool2d):
        if norm is not None and norm.training and not norm.affine:
            node.add(state.normalized(first, norm), weight)
            return
        x = state.pooled(first)
    elif isinstance(first, nn.ReLU):
        x = state.relu
        if isinstance(middle[0], nn.Conv2d) and (dense := _for_dilated(middle[0], state)) is not None:
            x = convolution(dense, middle[0], dense=True)
            apart = middle[0].stride == (1, 1)
            middle = middle[1:]
    else:
        x = first(state.tensor)
    for layer in middle:
        x = convolution(x, layer) if isinstance(layer, nn.Conv2d) else layer(x)
    if norm is not None:
        x, weight = batch_norm(norm, x, weight), 1.0
    node.add(x, weight, apart=apart)


def applied(operation: nn.Module, x: Tensor) -> Tensor:
    """One operation on a tensor."""
    node = WeightedSum()
    run(operation, CellState(x), 1.0, node)
    total = node.total()
    assert total is not None
    return total


def _for_dilated(conv: nn.Conv2d, state: CellState) -> Tensor | None:
    """Pixels of the state after ReLU on which a convolution of dilation 2 is dense; None where it stays dilated."""
    if conv.dilation != (2, 2) or state.tensor.device.type != "cpu":
        return None
    if conv.stride == (2, 2):
        return state.every_other
    even = state.tensor.shape[2] % 2 == state.tensor.shape[3] % 2 == 0
    return state.lattices if conv.stride == (1, 1) and even else None


def take_apart(x: Tensor) -> Tensor:
    """The four lattices of every other pixel as images of their own: ``(N, C, H, W)`` to ``(4 N, C, H/2, W/2)``."""
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c)
    return pixels.permute(2, 4, 0, 1, 3, 5).reshape(4 * n, h // 2, w // 2, c).permute(0, 3, 1, 2)


def put_together(x: Tensor) -> Tensor:
    """The images of which :func:`take_apart` made these."""
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(2, 2, n // 4, h, w, c)
    return pixels.permute(2, 3, 0, 4, 1, 5).reshape(n // 4, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
