"""Convolutions, linear layers and batch norms, and the arithmetic of several repeats that run at once.

Every pass may run R networks of one structure at once (see :mod:`stacking`). Their images then take turns in the batch,
``(N * R, …)`` with repeat r's images at ``r, R + r, 2 R + r …``, so that the batch of a convolution can be read as N
images of R * C channels without a copy. With R = 1 that is the plain batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.score import ScoreFailure

BatchNorm = nn.modules.batchnorm._BatchNorm
PrunableLayer = nn.Conv2d | nn.Linear


def prunable_layers(network: nn.Module) -> dict[str, PrunableLayer]:
    """Every convolution and linear layer by its module name; a shared module appears once."""
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def batch_norms(network: nn.Module) -> dict[str, BatchNorm]:
    """Every batch norm by its module name."""
    return {name: m for name, m in network.named_modules() if isinstance(m, BatchNorm)}


def full_precision(x: Tensor) -> Tensor:
    """``x`` in at least fp32, for sums that bf16 would spoil."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class StackedLayer:
    """The mark of a layer that holds the weights of several repeats, ``(R, …)``.

    Attributes:
        repeats: R.
    """

    repeats: int


def repeats_of(layer: nn.Module) -> int:
    """The number of repeats whose weights a layer holds."""
    return layer.repeats if isinstance(layer, StackedLayer) else 1


def fold(x: Tensor, repeats: int) -> Tensor:
    """``(N * R, C, …)`` as ``(N, R * C, …)``: the repeats side by side in the channels."""
    return x if repeats == 1 else x.reshape(len(x) // repeats, repeats * x.shape[1], *x.shape[2:])


def unfold(x: Tensor, repeats: int) -> Tensor:
    """``(N, R * C, …)`` as ``(N * R, C, …)``."""
    return x if repeats == 1 else x.reshape(len(x) * repeats, x.shape[1] // repeats, *x.shape[2:])


def in_turns(batches: Sequence[Tensor]) -> Tensor:
    """R batches ``(N, …)`` as one ``(N * R, …)``: first the first image of every repeat, then the second."""
    return batches[0] if len(batches) == 1 else torch.stack([b.contiguous() for b in batches], 1).flatten(0, 1)


def by_repeat(images: Tensor, repeats: int) -> Tensor:
    """``(N * R, …)`` as a view ``(R, N, …)``."""
    result: Tensor = images.unflatten(0, (-1, repeats)).transpose(0, 1)
    return result


def sums_by_repeat(values: Tensor, repeats: int) -> Tensor:
    """Sums ``(R,)`` of something shaped as a layer's weight, which has a leading R where there are several repeats."""
    return values.sum()[None] if repeats == 1 else values.sum(tuple(range(1, values.dim())))


def each_repeat(values: Mapping[str, Tensor], repeats: int) -> list[dict[str, Tensor]]:
    """The values ``(R, …)`` by name as one dictionary for each repeat."""
    return [{name: value[r] for name, value in values.items()} for r in range(repeats)]


def add_gram(grams: Tensor, rows: Tensor) -> None:
    """Add to ``(R, N, N)`` the Gram matrices of rows ``(R, N, P)``, in place."""
    if len(grams) == 1:
        grams[0].addmm_(rows[0], rows[0].T)
    else:
        grams.baddbmm_(rows, rows.mT)


@contextmanager
def replaced_forward(modules: Mapping[str, Any], make: Callable[[Any], Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Give each module the forward function ``make(module)`` while the block runs.

    A batch norm with a forward of its own, as one with an activation at its end, keeps it; ``make(module)`` normalizes
    inside.
    """
    try:
        for name, module in modules.items():
            forward = make(module)
            own = isinstance(module, BatchNorm) and type(module).forward is not BatchNorm.forward
            module.forward = _around(name, module, forward) if own and not isinstance(module, StackedLayer) else forward
        yield
    finally:
        for module in modules.values():
            del module.forward


@contextmanager
def replaced_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Put other tensors in the place of parameters and buffers, by their names, while the block runs.

    A tensor of several modules is replaced in all of them. ``torch.func.functional_call`` would leave its tensors in a
    module that is part of several others.
    """
    known = {id(value): name for name, value in (*network.named_parameters(), *network.named_buffers())}
    slots = [
        (owner, key, value)
        for module in network.modules()
        for owner in (module._parameters, module._buffers)
        for key, value in owner.items()
        if value is not None and known.get(id(value)) in tensors
    ]
    try:
        for owner, key, value in slots:
            owner[key] = tensors[known[id(value)]]  # type: ignore[assignment]  # whose gradient is asked for by name
        yield
    finally:
        for owner, key, value in slots:
            owner[key] = value  # type: ignore[assignment]


def _around(name: str, bn: Any, normalize: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def forward(*args: Any, **kwargs: Any) -> Tensor:
        with _Normalizing(bn, normalize) as mode:
            output: Tensor = type(bn).forward(bn, *args, **kwargs)
        if mode.found != 1:
            raise ScoreFailure(f"the batch norm {name!r} ({type(bn).__name__}) normalizes in a way that is not known")
        return output

    return forward


class NoOtherBatchNorm(TorchFunctionMode):
    """Refuses ``F.batch_norm`` of images outside of the modules whose forward is replaced.

    Args:
        x: The images, a leaf that requires a gradient; what does not depend on it, as a kernel that is standardized by
            ``F.batch_norm``, is left alone.

    Raises:
        ScoreFailure: Something calls it.
    """

    def __init__(self, x: Tensor):
        super().__init__()
        self._x = x

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            nodes = nodes_above(args[0] if args else kwargs["input"])
            if any(getattr(node, "variable", None) is self._x for node in nodes):
                raise ScoreFailure("a function calls batch_norm where no batch-norm module stands; make it a module")
        return func(*args, **kwargs)


class _Normalizing(TorchFunctionMode):
    """Calls a function in the place of torch's batch norm with the scales of one module."""

    def __init__(self, bn: Any, normalize: Callable[[Tensor], Tensor]):
        super().__init__()
        self.found = 0
        self._bn, self._normalize = bn, normalize

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        given = dict(zip(("input", "running_mean", "running_var", "weight", "bias"), args, strict=False)) | kwargs
        scales = given.get("weight") is self._bn.weight and given.get("bias") is self._bn.bias
        self.found += 1 if scales else 2  # with others it is none that can be replaced
        return self._normalize(given["input"])
