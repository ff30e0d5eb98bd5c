"""Convolutions by other kernels than torch would choose: its results, for every shape that the spaces have."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from prejudge.spaces.nn.convolution import convolution


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("side", [1, 4, 7])
def test_outputs_and_first_and_second_gradients(kernel: int, stride: int, dilation: int, side: int) -> None:
    torch.manual_seed(0)
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(4, 4, kernel, stride, padding, dilation, groups=4, bias=False).double()
    x = torch.randn(3, 4, side, side + 1, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    results = []
    for run in (conv, lambda x: convolution(x, conv)):
        output = run(x)
        first = torch.autograd.grad(output.pow(3).sum(), [x, conv.weight], create_graph=True)
        results.append([output, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), [x, conv.weight])])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kernel", [3, 5])
def test_dense_on_every_other_pixel_is_dilated_with_a_stride(kernel: int) -> None:
    conv = nn.Conv2d(2, 2, kernel, stride=2, padding=2 * (kernel // 2), dilation=2, groups=2, bias=False).double()
    x = torch.randn(2, 2, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(convolution(x[:, :, ::2, ::2], conv, dense=True), conv(x))


@pytest.mark.slow  # torch prepares forward-mode rules for seconds
def test_forward_mode() -> None:
    conv = nn.Conv2d(2, 2, 5, padding=2, groups=2, bias=False).double()
    x, direction = torch.randn(2, 2, 2, 6, 6, dtype=torch.float64)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(convolution(forward_ad.make_dual(x, direction), conv)).tangent
    torch.testing.assert_close(tangent, conv(direction))
