"""Each image's share of the gradient of an operation's weight.

For a linear layer with input A and output gradient B, image i's share is G_i = B_i A_i^T; for a convolution the same
summed over positions of the unfolded patches; for any other operation the gradient of the operation on image i alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prejudge.proxies.network.operations import CONVOLUTIONS, Operation
from prejudge.proxies.network.placement import IMAGES_FIRST


def weight_shares(
    operation: Operation, output_grad: Tensor, *, plain_order: bool = False, images_at_once: int | None = None
) -> Tensor:
    """Each image's share of the gradient of an operation's weight, or of its own repeat's part of it.

    Args:
        operation: An operation whose images have known places.
        output_grad: Gradient B of a scalar with respect to its output.
        plain_order: Whether a row has the order of the weight's entries; otherwise any that is the same for every
            image, which costs less.
        images_at_once: Images whose unfolded patches are held together; None for all.

    Returns:
        Shape ``(blocks, N, P / blocks)``, P the number of a repeat's weights.
    """
    inputs = operation.inputs.to(output_grad.dtype)
    first = operation.place == operation.output_place == IMAGES_FIRST
    if operation.function == "linear" and first and inputs.dim() == 2:
        return (output_grad.unsqueeze(2) * inputs.unsqueeze(1)).flatten(1)[None]
    if operation.function == "linear":
        b, a = _positions(operation, output_grad, inputs)
        return torch.bmm(b.transpose(1, 2), a).flatten(1)[None]
    if operation.function in CONVOLUTIONS and first and inputs.dim() == int(operation.function[-2]) + 2:
        return _conv_shares(operation, inputs, output_grad, plain_order, images_at_once or len(inputs))
    return _repeated_shares(operation, inputs, output_grad)[0]


def bias_shares(operation: Operation, output_grad: Tensor) -> Tensor:
    """Each image's share of the gradient of an operation's bias, shape ``(N, C_out)``."""
    first = operation.place == operation.output_place == IMAGES_FIRST
    if operation.function in CONVOLUTIONS and first:
        return output_grad.flatten(2).sum(2)
    if operation.function == "linear":
        return _positions(operation, output_grad, operation.inputs)[0].sum(1)
    return _repeated_shares(operation, operation.inputs.to(output_grad.dtype), output_grad)[1]


def _positions(operation: Operation, output_grad: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Output gradient and input of a linear layer as ``(N, positions, D)``."""
    assert operation.place is not None and operation.output_place is not None
    if operation.place == operation.output_place == IMAGES_FIRST:
        b, a = output_grad, inputs
    else:
        b, a = operation.output_place.first(output_grad), operation.place.first(inputs)
    return b.reshape(len(b), -1, b.shape[-1]), a.reshape(len(a), -1, a.shape[-1])


def _repeated_shares(operation: Operation, inputs: Tensor, output_grad: Tensor) -> tuple[Tensor, Tensor]:
    """By repeating the operation on each image: the shares of the weight ``(1, N, P)`` and of the bias ``(N, P)``."""
    assert operation.place is not None and operation.output_place is not None
    weight = operation.weight.detach()
    narrowed = [dim for dim in range(weight.dim()) if weight.stride(dim) == 0 and weight.shape[dim] > 1]
    bias = None if operation.bias is None else operation.bias.detach()
    rows, shifts = [], []
    for image in range(operation.place.images_of(inputs)):
        one = operation.place.one(inputs, image)
        kernel = weight.to(one.dtype)
        for dim in narrowed:  # a weight that is expanded over the batch: each image reads one copy
            kernel = kernel.narrow(dim, 0, 1)
        kernel = kernel.clone().requires_grad_()
        shift = None if bias is None else bias.to(one.dtype).clone().requires_grad_()
        wanted = [kernel] if shift is None else [kernel, shift]
        with torch.enable_grad():
            output = operation.again(one, kernel, shift)
        given = operation.output_place.one(output_grad, image).reshape(output.shape)
        found = torch.autograd.grad(output, wanted, given)
        rows.append(_expanded_once(found[0], weight).flatten())
        shifts.append(found[-1].flatten())
    return torch.stack(rows)[None], torch.stack(shifts)


def _expanded_once(gradient: Tensor, weight: Tensor) -> Tensor:
    """A gradient in the shape of the weight, whose expanded dimensions hold it once and zeros else."""
    for dim, size in enumerate(weight.shape):
        if gradient.shape[dim] != size:
            rest = gradient.new_zeros(*gradient.shape[:dim], size - 1, *gradient.shape[dim + 1 :])
            gradient = torch.cat([gradient, rest], dim)
    return gradient


def _conv_shares(
    operation: Operation, inputs: Tensor, output_grad: Tensor, plain_order: bool, images_at_once: int
) -> Tensor:
    dims, transposed = inputs.dim() - 2, "transpose" in operation.function
    kernel = operation.weight.shape[-dims:]
    stride, dilation, padding = (_each(operation.options[key], dims) for key in ("stride", "dilation", "padding"))
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
        if any(t % 2 for t in total):
            sides = [side for t in reversed(total) for side in (t // 2, t - t // 2)]
            inputs, total = torch.nn.functional.pad(inputs, sides), [0] * dims
        padding = [t // 2 for t in total]
    patches = dims == 2 and not transposed and operation.options["groups"] == 1 and dilation == [1, 1]
    if patches and (stride == [1, 1] or (tuple(kernel) == (1, 1) and padding == [0, 0])):
        shares = _shifted_shares(tuple(kernel), stride, padding, inputs, output_grad, images_at_once)
        if not plain_order:
            return shares
        n, c_out = output_grad.shape[:2]
        rows: Tensor = shares.unflatten(2, (c_out, kernel[1], -1)).permute(1, 2, 4, 0, 3)  # (N, C_out, C_in, kh, kw)
        return rows.reshape(1, n, -1)
    return _grouped_shares(operation, inputs, output_grad, stride, padding, dilation)


def _each(value: Any, dims: int) -> Any:
    if isinstance(value, str):
        return value
    values = list(value) if isinstance(value, tuple | list) else [value]
    return values * dims if len(values) == 1 else values


def _shifted_shares(
    kernel: tuple[int, ...],
    stride: list[int],
    padding: list[int],
    inputs: Tensor,
    output_grad: Tensor,
    images_at_once: int,
) -> Tensor:
    """By matrix products: patches are unfolded along rows only; a shift along columns is a view of the same memory."""
    (kh, kw), (n, c_out, h, w) = kernel, output_grad.shape
    x = inputs[:, :, :: stride[0], :: stride[1]].permute(0, 2, 3, 1)  # a stride comes with a 1x1 kernel only
    (ph, pw), (height, width, c_in) = padding, x.shape[1:]
    b = output_grad.permute(0, 2, 3, 1).reshape(n, h * w, c_out).transpose(1, 2)
    c = kw * c_in
    step = min(n, images_at_once)
    rows = x.new_zeros(step, height + 2 * ph, w, kw, c_in)
    shares = x.new_empty(kh, n, c_out, c)
    for start in range(0, n, step):
        part = x[start : start + step]
        for k in range(kw):
            left, right = max(0, pw - k), min(w, width + pw - k)  # output columns whose k-th tap lies inside the image
            rows[: len(part), ph : ph + height, left:right, k] = part[:, :, left + k - pw : right + k - pw]
        for shift in range(kh):
            view = rows.as_strided((len(part), h * w, c), (rows.stride(0), c, 1), shift * w * c)
            torch.bmm(b[start : start + step], view, out=shares[shift, start : start + step])
    return shares.flatten(2)


def _grouped_shares(
    operation: Operation,
    inputs: Tensor,
    output_grad: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
) -> Tensor:
    """By one grouped convolution, every image its own group: its weight gradient is the stack of the shares."""
    dims, n = len(stride), len(inputs)
    shape = operation.weight.shape[-dims - 2 :]
    weight = operation.weight.new_empty(()).expand(n * shape[0], *shape[1:])
    transposed = "transpose" in operation.function
    _, shares, _ = torch.ops.aten.convolution_backward(
        output_grad.reshape(1, -1, *output_grad.shape[2:]),
        inputs.reshape(1, -1, *inputs.shape[2:]),
        weight.to(inputs.dtype),
        None,
        stride,
        padding,
        dilation,
        transposed,
        _each(operation.options.get("output_padding", 0), dims),
        n * operation.options["groups"],
        [False, True, False],
    )
    result: Tensor = shares.reshape(1, n, -1)
    return result
