"""The response of a network with Gaussian weights to Gaussian images: the two measurements of the Zen-score."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.layers import (
    BatchNorm,
    batch_norms,
    by_repeat,
    fold,
    full_precision,
    in_turns,
    repeats_of,
    replaced_forward,
    replaced_tensors,
    unfold,
)


def gaussian_response(
    network: nn.Module,
    inputs: Tensor,
    weights: Collection[str],
    images: int,
    scale: float,
    seeds: Sequence[int],
    layout: torch.memory_format,
) -> list[tuple[Tensor, Tensor]]:
    """Feature change under input noise, and batch-norm variances (Lin et al., ICCV 2021, Algorithm 1).

    Prunable weights are drawn from N(0, 1), other parameters are reset (scales to 1, biases to 0), images x
    and noise e from N(0, 1). The features are the last four-dimensional activation before pooling to 1 x 1, or the
    logits where there is none. Batch norms use batch statistics.

    Args:
        network: In training mode.
        inputs: Any batch; the drawn images take its shape, type and device.
        weights: Names of the prunable weights among the parameters.
        images: How many images are drawn.
        scale: alpha, the noise's size.
        seeds: Of each repeat's draws.
        layout: Memory format of a single network, in which the draws are made: they depend on it.

    Returns:
        For each repeat ``||f(x) - f(x + alpha e)||_F`` of each image ``(images,)``, and for each live batch norm the
        mean over channels of the variance that it divides by (batch norms that dead branches feed are left out).
    """
    repeats = len(seeds)
    state, x, noise = _draws(network, inputs, weights, images, seeds, layout)
    noisy = x + scale * noise
    variances: list[tuple[Any, Tensor]] = []

    def observing(bn: BatchNorm) -> Any:
        def forward(value: Tensor) -> Tensor:
            weight, bias = (None if p is None else p.flatten() for p in (bn.weight, bn.bias))
            value = fold(value, repeats_of(bn))
            output, _, rstd = torch.native_batch_norm(value, weight, bias, None, None, True, 0.0, bn.eps)
            variance = full_precision(rstd.detach()).pow(-2) - bn.eps
            variances.append((output.grad_fn, variance.view(repeats, -1).mean(1)))
            return unfold(output, repeats_of(bn))

        return forward

    with replaced_forward(batch_norms(network), observing):
        features, logits = _features(network, state, x)
    live = nodes_above(logits)
    with torch.no_grad():
        moved, _ = _features(network, state, noisy)
    changes = torch.linalg.vector_norm(full_precision(features.detach() - moved).flatten(1), dim=1)
    counted = [v for node, v in variances if node in live]
    each = torch.stack(counted, 1) if counted else changes.new_zeros(repeats, 0)
    # A variance is 0 but for rounding behind a dead edge.
    return [(change, v[v > 1e-6]) for change, v in zip(by_repeat(changes, repeats), each, strict=True)]


def _draws(
    network: nn.Module,
    inputs: Tensor,
    gaussian: Collection[str],
    images: int,
    seeds: Sequence[int],
    layout: torch.memory_format,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Parameters, images and noise: each repeat draws as if it were alone, in that order."""
    stacked = len(seeds) > 1
    weights: dict[str, list[Tensor]] = {name: [] for name, _ in network.named_parameters() if name in gaussian}
    drawn: list[Tensor] = []
    noise: list[Tensor] = []
    for seed in seeds:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device
        for name, value in network.named_parameters():
            if name in gaussian:
                weights[name].append(_normal(value[0] if stacked else value, layout))
        drawn.append(_normal(inputs[:1].expand(images, *inputs.shape[1:]), layout))
        noise.append(_normal(drawn[-1], layout))
    state = {}
    for name, value in network.named_parameters():
        if name in weights:
            drawing = torch.stack([w.contiguous() for w in weights[name]]) if stacked else weights[name][0]
        else:
            drawing = torch.ones_like(value) if name.endswith("weight") else torch.zeros_like(value)
        state[name] = drawing.requires_grad_()
    return state, in_turns(drawn), in_turns(noise)


def _normal(form: Tensor, layout: torch.memory_format) -> Tensor:
    """Draws from N(0, 1), shaped as ``form`` and where it is; drawn on the CPU, so that all devices get the same."""
    memory_format = layout if form.dim() == 4 else torch.contiguous_format
    return torch.empty_like(form, memory_format=memory_format, device="cpu").normal_().to(form.device)


def _features(network: nn.Module, state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    last: list[Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2:].numel() > 1:
            last[:] = [output]

    leaves = [m for m in network.modules() if not any(m.children())]
    handles = [m.register_forward_hook(keep) for m in leaves]
    try:
        with replaced_tensors(network, state):
            logits = network(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    return (last[0] if last else logits), logits
