"""Convolution and batch norm whose backward can be differentiated at little cost, for the Hessian product of GraSP.

torch differentiates a convolution's backward through generic transposed convolutions and a batch norm's through some
thirty elementwise kernels. Here each needs a few fused ones:

* Convolution, z = conv(a, w), with gradients da = conv^T(b, w) and dw = a * b for b = dL/dz. Cotangents u of da and
  v of dw give gb = conv(u, w) + conv(a, v) and ga = conv^T(b, v).
* Batch norm, y = gamma x^ + beta. Its backward dy -> dx is self-adjoint, so gdy is the same fused backward applied to
  the cotangent; gx is one multiply-add per channel of x, the cotangent and dy.

GraSP reads theta . (H g) only, so a weight's second-order gradient is returned as its projection on the weight:
<w, a * b'> = <conv(a, w), b'>, a product of tensors that exist already. Half of the convolutions go away with that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.overrides import handle_torch_function, has_torch_function

from prejudge.proxies.network.layers import (
    BatchNorm,
    batch_norms,
    fold,
    prunable_layers,
    repeats_of,
    replaced_forward,
    unfold,
)
from prejudge.proxies.network.stacking import StackedBatchNorm2d, StackedConv2d

_aten = torch.ops.aten


@dataclass
class _Window:
    """The geometry of a convolution, and whether backwards that are not differentiated project on the weight.

    Or whether they give the whole gradients of weight and bias; they give none where neither is asked for.
    Where it holds several repeats, all tensors are folded: repeats lie side by side in the channels.
    """

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    repeats: int
    project: bool = False
    whole: bool = False

    def convolve(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        result: Tensor = _aten.convolution(
            x, w, bias, self.stride, self.padding, self.dilation, False, [0, 0], self.groups
        )
        return result

    def backward(self, grad: Tensor, x: Tensor, w: Tensor, mask: list[bool]) -> tuple[Any, Any, Any]:
        result: tuple[Any, Any, Any] = _aten.convolution_backward(
            grad, x, w, None, self.stride, self.padding, self.dilation, False, [0, 0], self.groups, mask
        )
        return result


def _projection(w: Tensor, along: Tensor) -> Tensor:
    """The multiple of ``w`` whose inner product with ``w`` is ``along``, or a multiple for each repeat's part of it."""
    if not along.dim():
        square = w.square().sum()
        return w * torch.where(square > 0, along / square, torch.zeros_like(square))
    parts = w.unflatten(0, (len(along), -1))
    square = parts.square().sum((1, 2, 3, 4))
    multiple = torch.where(square > 0, along / square, torch.zeros_like(square))
    result: Tensor = (parts * multiple[:, None, None, None, None]).flatten(0, 1)
    return result


class _Convolution(Function):
    keeps_images = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, window: _Window) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, w, bias = x.to(dtype), w.to(dtype), None if bias is None else bias.to(dtype)
        z = window.convolve(x, w, bias)
        ctx.save_for_backward(x, w, bias, z)
        ctx.window = window
        return z

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, w, bias, z = ctx.saved_tensors
        if torch.is_grad_enabled():
            dx, dw = _ConvolutionBackward.apply(grad, x, w, ctx.window)
            return dx, dw, None, None
        dx = ctx.window.backward(grad, x, w, [True, False, False])[0] if ctx.needs_input_grad[0] else None
        if not ctx.window.project:
            if not ctx.window.whole:
                return dx, None, None, None
            dw = ctx.window.backward(grad, x, w, [False, True, False])[1]
            return dx, dw, None if bias is None else grad.sum((0, 2, 3)), None
        along = _inner(grad, z, ctx.window.repeats)
        if bias is not None:
            along = along - (grad.sum((0, 2, 3)) * bias).view(*along.shape, -1).sum(-1)
        return dx, _projection(w, along), None, None


class _ConvolutionBackward(Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, w: Tensor, window: _Window) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad, x, w)
        ctx.window = window
        dx, dw, _ = window.backward(grad, x, w, [True, True, False])
        return dx, dw

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None) -> tuple[Any, ...]:
        grad, x, w = ctx.saved_tensors
        g_grad = g_x = g_w = None
        if u is not None:
            g_grad = ctx.window.convolve(u, w)
            g_w = _projection(w, _inner(g_grad, grad, ctx.window.repeats))
        if v is not None:
            through = ctx.window.convolve(x, v)
            g_grad = through if g_grad is None else g_grad.add_(through)
            g_x = ctx.window.backward(grad, x, v, [True, False, False])[0]
        return g_grad, g_x, g_w, None


class _Norm(Function):
    keeps_images = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float) -> Tensor:
        y, mean, rstd = _norm_forward(x, gamma, beta, eps)
        ctx.save_for_backward(x, gamma, mean, rstd)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, gamma, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():
            dx, dgamma, dbeta = _NormBackward.apply(dy, x, gamma, mean, rstd, ctx.eps)
        else:
            dx, dgamma, dbeta = _norm_backward(dy, x, gamma, mean, rstd, ctx.eps)
        return (dx, None, None, None) if gamma is None else (dx, dgamma, dbeta, None)


class _NormBackward(Function):
    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, rstd: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        dx, dgamma, dbeta = _norm_backward(dy, x, gamma, mean, rstd, eps)
        ctx.save_for_backward(dy, x, gamma, mean, rstd, dgamma, dbeta)
        ctx.eps = eps
        ctx.mark_non_differentiable(dgamma, dbeta)  # no proxy differentiates a batch norm's own parameters
        return dx, dgamma, dbeta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, w: Tensor | None, *_: Any) -> tuple[Any, ...]:
        if w is None:
            return None, None, None, None, None, None
        dy, x, gamma, mean, rstd, sum_dy_x, sum_dy = ctx.saved_tensors
        g_dy, sum_w_x, sum_w = _norm_backward(w, x, gamma, mean, rstd, ctx.eps)
        m = x.numel() // x.shape[1]
        w_rows, dy_rows, x_rows = (_rows(t, like=x) for t in (w, dy, x))
        a, b, p, q = sum_w / m, sum_dy / m, sum_w_x / m, sum_dy_x / m
        t = (w_rows * dy_rows).sum(0).view(-1, x.shape[1]).sum(0) / m
        # gx = -gamma r^2 [(t - ab - 3pq) x^ + q (w - a) + p (dy - b)] with x^ = (x - mean) r
        k, along = rstd.square(), (t - a * b - 3 * p * q) * rstd
        if gamma is not None:
            k = k * gamma
        repeats = x_rows.shape[1] // x.shape[1]
        g_x = x_rows * (-k * along).repeat(repeats).to(x.dtype)
        g_x.addcmul_(w_rows, (-k * q).repeat(repeats).to(x.dtype))
        g_x.addcmul_(dy_rows, (-k * p).repeat(repeats).to(x.dtype))
        g_x.add_((k * (along * mean + q * a + p * b)).repeat(repeats).to(x.dtype))
        n, c, h, width = x.shape
        return g_dy, g_x.view(n, h, width, c).permute(0, 3, 1, 2), None, None, None, None


def _rows(x: Tensor, like: Tensor) -> Tensor:
    """``(N * H, W * C)``, channels innermost: rows wide enough for per-channel arithmetic to run at full speed."""
    return x.permute(0, 2, 3, 1).reshape(like.shape[0] * like.shape[2], like.shape[3] * like.shape[1])


def _inner(x: Tensor, y: Tensor, repeats: int) -> Tensor:
    """Inner product, without an intermediate tensor where both share a memory format; ``(R,)`` of several repeats."""
    if repeats > 1:
        precise = torch.promote_types(x.dtype, torch.float32)
        result: Tensor = (x * y).unflatten(1, (repeats, -1)).sum((0, 2, 3, 4), dtype=precise)
        return result
    if x.dtype not in (torch.float32, torch.float64):  # dot is not vectorized for these, and would lose digits
        return (x * y).sum(dtype=torch.float32)
    return torch.dot(x.permute(0, 2, 3, 1).reshape(-1), y.permute(0, 2, 3, 1).reshape(-1))


def _norm_forward(x: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The results of ``native_batch_norm``, with statistics that have all digits of their type.

    On CPUs its sums of tensors with channels innermost lose up to three digits, and where few layers lie between
    images and logits GraSP shows a hundred times that. Here each channel's sums are short ones, one for each column of
    the images, joined in float64.
    """
    precise = x.device.type != "cpu" or x.dtype != torch.float32 or x.is_contiguous()
    if precise or not x.is_contiguous(memory_format=torch.channels_last):
        result: tuple[Tensor, Tensor, Tensor] = _aten.native_batch_norm(x, gamma, beta, None, None, True, 0.0, eps)
        return result
    n, c, height, width = x.shape
    columns = x.permute(0, 2, 3, 1).reshape(n, height, width * c, 1).permute(0, 2, 1, 3)
    means, variances = (t.view(width, c).double() for t in _aten.batch_norm_update_stats(columns, None, None, 0.0))
    mean, variance = means.mean(0), variances.mean(0) + means.var(0, unbiased=False)
    y = _aten.native_batch_norm(x, gamma, beta, mean.float(), variance.float(), False, 0.0, eps)[0]
    return y, mean.float(), (variance + eps).rsqrt().float()


def _norm_backward(
    dy: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, rstd: Tensor, eps: float
) -> tuple[Any, ...]:
    # The kernel is many times slower when the two do not share one memory format.
    if x.is_contiguous(memory_format=torch.channels_last):
        dy = dy.contiguous(memory_format=torch.channels_last)
    result: tuple[Any, ...] = _aten.native_batch_norm_backward(
        dy, x, gamma, None, None, mean, rstd, True, eps, [True, True, True]
    )
    return result


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    window: _Window,
) -> Tensor:
    """``F.conv2d`` by the function above; an observer sees it as that."""
    if has_torch_function((x, weight)):
        arguments = (x, weight, bias, stride, padding, dilation, groups, window)
        result: Tensor = handle_torch_function(conv2d, (x, weight), *arguments)
        return result
    return _Convolution.apply(x, weight, bias, window)  # type: ignore[no-any-return]


def batch_norm(
    x: Tensor,
    mean: None,
    variance: None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """``F.batch_norm`` by the function above; an observer sees it as that."""
    if has_torch_function((x,)):
        arguments = (x, mean, variance, weight, bias, training, momentum, eps)
        normalized: Tensor = handle_torch_function(batch_norm, (x,), *arguments)
        return normalized
    return _Norm.apply(x, weight, bias, eps)  # type: ignore[no-any-return]


class Projection:
    """Turns on, for all layers at once, what a backward returns for weights: by default nothing."""

    def __init__(self) -> None:
        self.windows: list[_Window] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        for window in self.windows:
            window.project = True
        yield
        for window in self.windows:
            window.project = False

    @contextmanager
    def whole_gradients(self) -> Iterator[None]:
        """Let backwards that are not differentiated give the gradients of single networks' weights and biases."""
        for window in self.windows:
            window.whole = True
        yield
        for window in self.windows:
            window.whole = False


@contextmanager
def cheap_double_backward(network: nn.Module) -> Iterator[Projection]:
    """Run the network's plain convolutions and training-mode batch norms through the functions above.

    Others (other padding modes, batch norms of sequences, subclasses with a forward of their own) keep torch's.
    """
    projection = Projection()
    convolutions = {
        name: layer
        for name, layer in prunable_layers(network).items()
        if type(layer) in (nn.Conv2d, StackedConv2d)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    }
    norms = {name: bn for name, bn in batch_norms(network).items() if type(bn) in (nn.BatchNorm2d, StackedBatchNorm2d)}

    def convolution(layer: nn.Conv2d) -> Any:
        repeats = repeats_of(layer)
        window = _Window(
            list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups * repeats, repeats  # type: ignore[arg-type]
        )  # fmt: skip
        projection.windows.append(window)
        if repeats == 1:
            return lambda x: conv2d(
                x, layer.weight, layer.bias, window.stride, window.padding, window.dilation, window.groups, window
            )

        def forward(x: Tensor) -> Tensor:
            bias = None if layer.bias is None else layer.bias.flatten()
            return unfold(_Convolution.apply(fold(x, repeats), layer.weight.flatten(0, 1), bias, window), repeats)

        return forward

    def norm(bn: BatchNorm) -> Any:
        repeats = repeats_of(bn)
        if repeats == 1:
            return lambda x: batch_norm(x, None, None, bn.weight, bn.bias, True, 0.0, bn.eps)

        def forward(x: Tensor) -> Tensor:
            weight, bias = (None if p is None else p.flatten() for p in (bn.weight, bn.bias))
            return unfold(_Norm.apply(fold(x, repeats), weight, bias, bn.eps), repeats)

        return forward

    with ExitStack() as stack:
        stack.enter_context(replaced_forward(convolutions, convolution))
        stack.enter_context(replaced_forward(norms, norm))
        yield projection
