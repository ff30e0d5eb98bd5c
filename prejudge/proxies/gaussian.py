"""How a network with Gaussian weights answers Gaussian images: the two measurements of the Zen-score."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prejudge.proxies.graph import nodes_above
from prejudge.proxies.layers import BatchNorm, batch_norms, counted_layers, full_precision, replaced_forward
from prejudge.proxies.logits import class_scores


def gaussian_response(network: nn.Module, inputs: Tensor, images: int, scale: float) -> tuple[Tensor, Tensor]:
    """Feature change under input noise, and batch-norm variances (Lin et al., ICCV 2021, Algorithm 1).

    Weights of counted layers are drawn from N(0, 1), other parameters are reset (scales to 1, biases to 0), images x
    and noise e from N(0, 1). The features are the last four-dimensional activation before pooling to 1 x 1, or the
    logits where there is none. Batch norms use batch statistics.

    Args:
        network: In training mode.
        inputs: Any batch; the drawn images take its shape, type, device and memory format.
        images: How many images are drawn.
        scale: alpha, the noise's size.

    Returns:
        ``||f(x) - f(x + alpha e)||_F`` of each image ``(images,)``, and for each live batch norm the mean over channels
        of the variance that it divides by (batch norms that dead branches feed are left out).
    """
    state = _gaussian_state(network)
    form = inputs[:1].expand(images, *inputs.shape[1:])
    x = torch.randn_like(form, memory_format=torch.channels_last if form.dim() == 4 else torch.contiguous_format)
    noisy = x + scale * torch.randn_like(x)
    variances: list[tuple[Any, Tensor]] = []

    def observing(bn: BatchNorm) -> Any:
        def forward(value: Tensor) -> Tensor:
            output, _, rstd = torch.native_batch_norm(value, bn.weight, bn.bias, None, None, True, 0.0, bn.eps)
            variances.append((output.grad_fn, (full_precision(rstd.detach()).pow(-2) - bn.eps).mean()))
            return output

        return forward

    with replaced_forward(batch_norms(network), observing):
        features, logits = _features(network, state, x)
    live = nodes_above(logits)
    with torch.no_grad():
        moved, _ = _features(network, state, noisy)
    change = torch.linalg.vector_norm(full_precision(features.detach() - moved).flatten(1), dim=1)
    counted = [v for node, v in variances if node in live and v > 1e-6]  # 0 but for rounding behind a dead edge
    return change, torch.stack(counted) if counted else change.new_zeros(0)


def _gaussian_state(network: nn.Module) -> dict[str, Tensor]:
    gaussian = {f"{name}.weight" if name else "weight" for name in counted_layers(network)}
    state = {}
    for name, value in network.named_parameters():
        if name in gaussian:
            drawn = torch.randn_like(value)
        else:
            drawn = torch.ones_like(value) if name.endswith("weight") else torch.zeros_like(value)
        state[name] = drawn.requires_grad_()
    return state


def _features(network: nn.Module, state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    last: list[Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2:].numel() > 1:
            last[:] = [output]

    leaves = [m for m in network.modules() if not any(m.children())]
    handles = [m.register_forward_hook(keep) for m in leaves]
    try:
        logits = class_scores(torch.func.functional_call(network, state, (x,)))
    finally:
        for handle in handles:
            handle.remove()
    return (last[0] if last else logits), logits
