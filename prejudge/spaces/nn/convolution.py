"""Convolutions without bias, by what is fastest for few channels on a CPU."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_native_backward = torch.ops.aten.convolution_backward


def convolution(x: Tensor, conv: nn.Conv2d, *, dense: bool = False) -> Tensor:
    """A convolution without bias.

    Args:
        x: ``(N, C, H, W)``.
        conv: The layer; it is not called.
        dense: Whether to leave out its stride and dilation, because ``x`` holds only the pixels that these reach.
    """
    stride, padding, dilation = conv.stride, conv.padding, conv.dilation
    assert not isinstance(padding, str)
    if dense:
        padding = (padding[0] // dilation[0], padding[1] // dilation[1])
        stride = dilation = (1, 1)
    if x.device.type == "cpu" and stride == dilation == (1, 1):
        if conv.kernel_size == (1, 1) and conv.groups == 1:  # with the channels last, one matrix product without copies
            return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1)).permute(0, 3, 1, 2)
        if conv.weight.shape[1:] == (1, 5, 5) and not torch.is_autocast_enabled("cpu"):
            return cast(Tensor, _FiveWide.apply(x, conv.weight))
    return F.conv2d(x, conv.weight, None, stride, padding, dilation, conv.groups)


class _FiveWide(torch.autograd.Function):
    """Depth-wise convolution 5 x 5, whose weights' gradient is computed in two parts of three columns.

    oneDNN has a fast kernel for that gradient only up to three columns. Both parts see ``x`` one column to the right of
    where it is; the gradient moves over it by two columns between them.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=2, groups=len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        (x, weight), (dx, dw) = ctx.saved_tensors, tangents
        parts = [
            F.conv2d(*pair, padding=2, groups=len(weight))
            for pair in ((dx, weight), (x, dw))
            if all(p is not None for p in pair)
        ]
        return sum(parts[1:], parts[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        gradient = gradients[0]
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _depthwise_backward(gradient, x, weight, (2, 2), [True, False, False])[0]
        if ctx.needs_input_grad[1]:
            right, narrow = F.pad(x, (1, 1)), weight[..., :3]
            first, last = (
                _depthwise_backward(F.pad(gradient, sides), right, narrow, (2, 1), [False, True, False])[1]
                for sides in ((0, 2), (2, 0))
            )
            dw = torch.cat([first, last[..., 1:]], dim=3)
        return dx, dw


def _depthwise_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], wanted: list[bool]
) -> tuple[Tensor, ...]:
    result: tuple[Tensor, ...] = _native_backward(
        gradient, x, weight, None, (1, 1), padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return result
