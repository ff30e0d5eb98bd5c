"""Operations of several spaces: the constant zero, and a pair of 1x1 convolutions that halves the side.

Modules have the names that the original codes give them, so that their state dicts fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Zero(nn.Module):
    """``none``: a constant zero of the output's shape, through which no gradient flows."""

    def __init__(self, stride: int):
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
