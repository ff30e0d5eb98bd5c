"""Each image's share of a weight gradient, and the Gram matrix of these shares.

For a layer with input A and output gradient B, image i's share of the weight gradient is G_i = B_i A_i^T (for a
convolution, summed over positions of the unfolded patches). Layers are handled one at a time, so that the full
N x P matrix of an entire network is never held.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prejudge.proxies.network.graph import nodes_from
from prejudge.proxies.network.layers import LayerCall, PrunableLayer, add_gram, by_repeat, full_precision


def weight_shares(
    layer: PrunableLayer, inputs: Tensor, output_grad: Tensor, images_at_once: int | None = None
) -> Tensor:
    """Each image's share of the gradient of ``layer.weight``, or of its own repeat's part of it.

    Args:
        layer: A convolution or linear layer.
        inputs: Its input A, ``(N, C, H, W)`` or ``(N, …, D_in)``.
        output_grad: Gradient B of a scalar with respect to its output.
        images_at_once: Images whose unfolded patches are held together; None for all.

    Returns:
        Shape ``(blocks, N, P / blocks)``, P the number of a repeat's weights, in an order that is the same
        for every image.
    """
    if isinstance(layer, nn.Linear):
        if inputs.dim() == 2:
            return (output_grad.unsqueeze(2) * inputs.unsqueeze(1)).flatten(1)[None]
        b, a = (t.reshape(len(t), -1, t.shape[-1]) for t in (output_grad, inputs))
        return torch.bmm(b.transpose(1, 2), a).flatten(1)[None]
    return _conv_shares(layer, inputs, output_grad, images_at_once or len(inputs))


def _conv_shares(layer: nn.Conv2d, inputs: Tensor, output_grad: Tensor, images_at_once: int) -> Tensor:
    if layer.padding_mode != "zeros":
        inputs = nn.functional.pad(inputs, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
    padding = [0, 0] if layer.padding_mode != "zeros" else _padding(layer)
    if layer.groups > 1 or layer.dilation != (1, 1) or (layer.stride != (1, 1) and layer.kernel_size != (1, 1)):
        return _grouped_shares(layer, inputs, output_grad, padding)
    return _shifted_shares(layer, inputs, output_grad, padding, images_at_once)


def _shifted_shares(
    layer: nn.Conv2d, inputs: Tensor, output_grad: Tensor, padding: list[int], images_at_once: int
) -> Tensor:
    """By matrix products: patches are unfolded along rows only; a shift along columns is a view of the same memory."""
    (kh, kw), (n, c_out, h, w) = layer.kernel_size, output_grad.shape
    x = inputs[:, :, :: layer.stride[0], :: layer.stride[1]].permute(
        0, 2, 3, 1
    )  # a stride comes with a 1x1 kernel only
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


def _grouped_shares(layer: nn.Conv2d, inputs: Tensor, output_grad: Tensor, padding: list[int]) -> Tensor:
    """By one grouped convolution, every image its own group: its weight gradient is the stack of the shares."""
    n = len(inputs)
    weight = layer.weight.new_empty(()).expand(n * layer.out_channels, *layer.weight.shape[-3:])
    _, shares, _ = torch.ops.aten.convolution_backward(
        output_grad.reshape(1, n * layer.out_channels, *output_grad.shape[2:]),
        inputs.reshape(1, n * layer.in_channels, *inputs.shape[2:]),
        weight.to(inputs.dtype),
        None,
        list(layer.stride),
        padding,
        list(layer.dilation),
        False,
        [0, 0],
        n * layer.groups,
        [False, True, False],
    )
    result: Tensor = shares.reshape(1, n, -1)
    return result


def _padding(layer: nn.Conv2d) -> list[int]:
    if layer.padding == "same":  # with stride 1 only
        return [d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return [0, 0] if layer.padding == "valid" else list(layer.padding)  # type: ignore[arg-type]


def bias_shares(output_grad: Tensor, layer: PrunableLayer) -> Tensor:
    """Each image's share of the gradient of ``layer.bias``, shape ``(N, C_out)``."""
    if isinstance(layer, nn.Conv2d):
        return output_grad.flatten(2).sum(2)
    return output_grad.reshape(len(output_grad), -1, output_grad.shape[-1]).sum(1)


def share_gram(scalar: Tensor, logits: Tensor, x: Tensor, calls: list[LayerCall], gram: ShareGram) -> None:
    """Send the gradient of ``scalar`` back through the network and add every call's shares to ``gram``.

    Args:
        scalar: A sum of logits.
        logits: The network's output, with its graph, which is kept.
        x: The images, a leaf of the graph.
        calls: All calls of the forward pass.
        gram: Takes the shares.
    """
    reached = nodes_from(x, logits)
    handles, aside = [], []
    for call in calls:
        if call.output.requires_grad:
            handles.append(call.output.register_hook(_reporter(gram, call)))
            if call.output.grad_fn not in reached:
                aside.append(call.output)  # lies on no path to the images: ask for it by name
    if scalar.requires_grad:
        torch.autograd.grad(scalar, [x, *aside], retain_graph=True, allow_unused=True)
    for handle in handles:
        handle.remove()


def _reporter(gram: ShareGram, call: LayerCall) -> Any:
    def hook(gradient: Tensor) -> None:
        with torch.no_grad():
            gram.add(call, gradient.detach())

    return hook


class ShareGram:
    """Accumulates each repeat's N x N Gram matrix of all layers' shares as their output gradients arrive.

    A layer that runs several times contributes the Gram matrix of the *sum* of its shares, so its shares wait until the
    last call has reported.

    Args:
        calls: All calls of the forward pass.
        images: N.
        repeats: R.
        full: Accumulate the whole matrix; otherwise only its diagonal, which the trace needs and which is cheaper.
        biases: Whether the biases' shares are rows too (HNAS) or the weights alone count (TE-NAS).
        images_at_once: See :func:`weight_shares`.
    """

    def __init__(
        self,
        calls: list[LayerCall],
        images: int,
        repeats: int = 1,
        *,
        full: bool,
        biases: bool = True,
        images_at_once: int | None = None,
    ):
        self.full, self.biases = full, biases
        self._repeats, self._images_at_once = repeats, images_at_once
        device = calls[0].output.device if calls else "cpu"
        self._diagonal = torch.zeros(repeats, images, device=device)
        self._matrix = torch.zeros(repeats, images, images, device=device) if full else None
        self._waiting: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._open: dict[str, int] = {}
        for call in calls:
            self._open[call.name] = self._open.get(call.name, 0) + 1

    def add(self, call: LayerCall, output_grad: Tensor) -> None:
        """Take the gradient with respect to one call's output."""
        shares = weight_shares(call.layer, call.inputs.to(output_grad.dtype), output_grad, self._images_at_once)
        bias = bias_shares(output_grad, call.layer) if self.biases and call.layer.bias is not None else None
        self._open[call.name] -= 1
        if self._open[call.name] or call.name in self._waiting:
            earlier = self._waiting.pop(call.name, None)
            if earlier is not None:
                shares = shares + earlier[0]
                bias = None if bias is None or earlier[1] is None else bias + earlier[1]
            if self._open[call.name]:
                self._waiting[call.name] = (shares, bias)
                return
        self._add_blocks(shares, bias)

    def _add_blocks(self, shares: Tensor, bias: Tensor | None) -> None:
        for block in shares:
            self.add_rows(block)
        if bias is not None:
            self.add_rows(bias)

    def add_rows(self, rows: Tensor) -> None:
        """Take one block of rows, ``(N * R, P)``."""
        rows = by_repeat(full_precision(rows), self._repeats)
        if self._matrix is not None:
            self._matrix = self._matrix.to(rows.dtype)
            add_gram(self._matrix, rows)
        else:
            self._diagonal = self._diagonal.to(rows.dtype) + torch.linalg.vector_norm(rows, dim=2).square()

    def finish(self) -> Tensor:
        """The Gram matrices ``(R, N, N)``, or their diagonals ``(R, N)`` where only these were asked for."""
        for shares, bias in self._waiting.values():  # a call that nothing depends on never reports
            self._add_blocks(shares, bias)
        self._waiting.clear()
        return self._diagonal if self._matrix is None else self._matrix
