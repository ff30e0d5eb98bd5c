"""The operations of the DARTS search space (Liu et al., ICLR 2019, arXiv:1806.09055), for final networks and supernets.

All convolutions are free of biases. What differs between the published codes are three switches of :func:`operation`:

===================================  ======  =========  =========
network                              affine  pool_norm  skip_norm
===================================  ======  =========  =========
final network of DARTS               yes     no         no
final network of StacNAS             yes     yes        no
ISTA-NAS one-stage, also its search  yes     yes        yes
supernets of the other methods       no      yes        no
===================================  ======  =========  =========

Modules have the names that the original code gives them, so that its state dicts fit. Odd sides are halved upwards; the
original :class:`FactorizedReduce` fails on them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from prejudge.errors import InputError, unknown
from prejudge.spaces.darts.counts import POOLS, SEPARABLE, Separable
from prejudge.spaces.darts.genotype import OPERATIONS
from prejudge.spaces.nn.operations import FactorizedReduce, ReLUConvBN, Zero, average_pool


class Noise(nn.Module):
    """``noise`` of space S4 (Zela et al., ICLR 2020): fresh N(0, 1) of the output's shape, which ignores the input."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn_like(x[:, :, :: self.stride, :: self.stride])


def preprocess(c_in: int, c_out: int, *, halve: bool, affine: bool = True) -> nn.Module:
    """The module that brings a cell's input to the cell's width, and to half the side where the other is smaller."""
    if halve:
        return FactorizedReduce(c_in, c_out, affine=affine)
    return ReLUConvBN([nn.Conv2d(c_in, c_out, 1, bias=False)], affine=affine)


def _separable(kind: Separable, c: int, stride: int, affine: bool) -> nn.Module:
    def block(stride: int) -> list[nn.Conv2d]:
        k, d = kind.kernel, kind.dilation
        depthwise = nn.Conv2d(c, c, k, stride, padding=d * (k // 2), dilation=d, groups=c, bias=False)
        return [depthwise, nn.Conv2d(c, c, 1, bias=False)]

    return ReLUConvBN(block(stride), *(block(1) for _ in range(1, kind.repeats)), affine=affine)


def _factorized_7x7(c: int, stride: int, affine: bool) -> nn.Module:
    wide = nn.Conv2d(c, c, (1, 7), stride=(1, stride), padding=(0, 3), bias=False)
    tall = nn.Conv2d(c, c, (7, 1), stride=(stride, 1), padding=(3, 0), bias=False)
    return ReLUConvBN([wide, tall], affine=affine).op


_BUILDERS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "none": lambda c, stride, affine: Zero(stride),
    "max_pool_3x3": lambda c, stride, affine: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda c, stride, affine: average_pool(stride),
    "skip_connect": lambda c, stride, affine: nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine=affine),
    **{name: partial(_separable, kind) for name, kind in SEPARABLE.items()},
    "conv_7x1_1x7": _factorized_7x7,
    "noise": lambda c, stride, affine: Noise(stride),
}


def operation(
    name: str, channels: int, stride: int, *, affine: bool = True, pool_norm: bool = False, skip_norm: bool = False
) -> nn.Module:
    """One operation, from ``(N, C, H, W)`` to ``(N, C, ceil(H / stride), ceil(W / stride))``.

    Args:
        name: One of :data:`~prejudge.spaces.darts.genotype.OPERATIONS`.
        channels: C.
        stride: 1 or 2.
        affine: Whether batch norms have a weight and a bias.
        pool_norm: Whether a batch norm follows the poolings.
        skip_norm: Whether a batch norm follows the identity; the skip connection of stride 2 always ends in one.

    Raises:
        InputError: No operation has that name, or the stride is neither 1 nor 2.
    """
    if name not in _BUILDERS:
        raise unknown("darts operation", name, OPERATIONS)
    if stride not in (1, 2):
        raise InputError(f"darts: the stride of an operation is 1 or 2, not {stride!r}")
    module = _BUILDERS[name](channels, stride, affine)
    if (pool_norm and name in POOLS) or (skip_norm and isinstance(module, nn.Identity)):
        return nn.Sequential(module, nn.BatchNorm2d(channels, affine=affine))
    return module


def drop_path(x: Tensor, probability: float | Tensor) -> Tensor:
    """Set each image's tensor to zero with this probability, and scale the others so that the mean stays.

    Args:
        x: One operation's output, ``(N, C, H, W)``.
        probability: At least 0, less than 1; a number, or a tensor ``()``, which draws other random numbers.
    """
    keep = 1.0 - probability
    kept = x.new_empty(len(x), 1, 1, 1)
    if isinstance(keep, Tensor):
        kept = (torch.rand_like(kept, dtype=torch.float32) < keep).to(x.dtype)
    else:
        kept.bernoulli_(keep)
    return x * kept.div_(keep)
