"""Operations of several spaces: blocks of ReLU, convolution and batch norm, the constant zero, a halving pair.

Modules have the names that the original codes give them, so that their state dicts fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ReLUConvBN(nn.Module):
    """Blocks of a ReLU, convolutions and a batch norm, in a row.

    Args:
        blocks: The convolutions of each block.
        affine: Whether the batch norms have parameters.
        track: Whether they keep running statistics.
    """

    def __init__(self, *blocks: Sequence[nn.Conv2d], affine: bool = True, track: bool = True):
        super().__init__()
        layers: list[nn.Module] = []
        for convolutions in blocks:
            norm = nn.BatchNorm2d(convolutions[-1].out_channels, affine=affine, track_running_stats=track)
            layers += [nn.ReLU(), *convolutions, norm]
        self.op = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.op(x)
        return result


def conv_bn(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution without bias, and a batch norm: the stem of most networks."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(c_out))


def average_pool(stride: int = 1) -> nn.AvgPool2d:
    """The 3x3 average pooling that leaves the padding out of the mean."""
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


class Zero(nn.Module):
    """``none``: a constant zero of the output's shape, through which no gradient flows."""

    def __init__(self, stride: int = 1):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        # Not x * 0, which would turn an overflow elsewhere into NaN here.
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions that halve the side, one on the even pixels and one on the odd ones, batch norm.

    An odd side gets one more row or column of zeros, after which the odd pixels are as many as the even ones. Even
    sides are untouched, so that their outputs are those of the original.
    """

    def __init__(self, c_in: int, c_out: int, *, affine: bool = True):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out - c_out // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn(self.halves(self.relu(x)))
        return result

    def halves(self, x: Tensor) -> Tensor:
        """The two convolutions on what has passed the ReLU."""
        rows, columns = x.shape[2] % 2, x.shape[3] % 2
        odd = nn.functional.pad(x, (0, columns, 0, rows)) if rows or columns else x
        return torch.cat([self.conv_1(x), self.conv_2(odd[:, :, 1:, 1:])], dim=1)
