"""Each image's share of a weight gradient, and the Gram matrix of these shares.

For a layer with input A and output gradient B, image i's share of the weight gradient is G_i = B_i A_i^T (for a
convolution, summed over positions of the unfolded patches). Layers are handled one at a time, so that the full
N x P matrix of an entire network is never held.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prejudge.proxies.layers import Call, CountedLayer


def weight_shares(layer: CountedLayer, inputs: Tensor, output_grad: Tensor) -> Tensor:
    """Each image's share of the gradient of ``layer.weight``.

    Args:
        layer: A convolution or linear layer.
        inputs: Its input A, ``(N, C, H, W)`` or ``(N, …, D_in)``.
        output_grad: Gradient B of a scalar with respect to its output.

    Returns:
        Shape ``(N, P)``, P the number of weights.
    """
    if isinstance(layer, nn.Linear):
        if inputs.dim() == 2:
            return (output_grad.unsqueeze(2) * inputs.unsqueeze(1)).flatten(1)
        n = len(inputs)
        return torch.einsum("npo,npi->noi", output_grad.reshape(n, -1, output_grad.shape[-1]),
                            inputs.reshape(n, -1, inputs.shape[-1])).flatten(1)
    return _conv_shares(layer, inputs, output_grad)


def _conv_shares(layer: nn.Conv2d, inputs: Tensor, output_grad: Tensor) -> Tensor:
    n = len(inputs)
    if layer.padding_mode != "zeros":
        inputs = nn.functional.pad(inputs, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
    if layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), "valid"):
        a = inputs[:, :, :: layer.stride[0], :: layer.stride[1]]
        return torch.bmm(output_grad.flatten(2), a.flatten(2).transpose(1, 2)).flatten(1)
    # One grouped convolution in which every image is its own group: its weight gradient is the stack of the shares.
    groups = n * layer.groups
    weight = layer.weight.new_empty(()).expand(n * layer.out_channels, *layer.weight.shape[1:])
    padding = [0, 0] if layer.padding_mode != "zeros" or layer.padding == "valid" else _padding(layer)
    _, shares, _ = torch.ops.aten.convolution_backward(
        output_grad.reshape(1, n * layer.out_channels, *output_grad.shape[2:]),
        inputs.reshape(1, n * layer.in_channels, *inputs.shape[2:]),
        weight, None, list(layer.stride), padding, list(layer.dilation), False, [0, 0], groups, [False, True, False],
    )
    return shares.reshape(n, -1)


def _padding(layer: nn.Conv2d) -> list[int]:
    if isinstance(layer.padding, str):  # "same", with stride 1
        return [d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return list(layer.padding)


def bias_shares(output_grad: Tensor, layer: CountedLayer) -> Tensor:
    """Each image's share of the gradient of ``layer.bias``, shape ``(N, C_out)``."""
    if isinstance(layer, nn.Conv2d):
        return output_grad.flatten(2).sum(2)
    return output_grad.reshape(len(output_grad), -1, output_grad.shape[-1]).sum(1)


class ShareGram:
    """Accumulates the N x N Gram matrix of all layers' shares as their output gradients arrive.

    A layer that runs several times contributes the Gram matrix of the *sum* of its shares, so its shares wait until the
    last call has reported.

    Args:
        calls: All calls of the forward pass.
        images: N.
        full: Accumulate the whole matrix; otherwise only its diagonal, which the trace needs and which is cheaper.
        biases: Whether the biases' shares are rows too (HNAS) or the weights alone count (TE-NAS).
    """

    def __init__(self, calls: list[Call], images: int, *, full: bool, biases: bool = True):
        self.full, self.biases = full, biases
        device = calls[0].output.device if calls else "cpu"
        self._diagonal = torch.zeros(images, device=device)
        self._matrix = torch.zeros(images, images, device=device) if full else None
        self._waiting: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._open: dict[str, int] = {}
        for call in calls:
            self._open[call.name] = self._open.get(call.name, 0) + 1

    def add(self, call: Call, output_grad: Tensor) -> None:
        """Take the gradient with respect to one call's output."""
        shares = weight_shares(call.layer, call.inputs.to(output_grad.dtype), output_grad)
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
        self.add_rows(shares)
        if bias is not None:
            self.add_rows(bias)

    def add_rows(self, rows: Tensor) -> None:
        """Take one block of rows, ``(N, P)``."""
        rows = rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
        if self._matrix is not None:
            self._matrix = self._matrix.to(rows.dtype).addmm_(rows, rows.T)
        else:
            self._diagonal = self._diagonal.to(rows.dtype) + torch.linalg.vector_norm(rows, dim=1).square()

    def finish(self) -> Tensor:
        """The Gram matrix ``(N, N)``, or its diagonal ``(N,)`` where only that was asked for."""
        for shares, bias in self._waiting.values():  # a call that nothing depends on never reports
            self.add_rows(shares)
            if bias is not None:
                self.add_rows(bias)
        self._waiting.clear()
        return self._diagonal if self._matrix is None else self._matrix
