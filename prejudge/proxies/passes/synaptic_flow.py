"""Synaptic flow: the linearized network of SynFlow (Tanaka et al., NeurIPS 2020, arXiv:2006.05467)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.proxies.network.layers import (
    NoOtherBatchNorm,
    batch_norms,
    replaced_forward,
    replaced_tensors,
    sums_by_repeat,
)


def synaptic_flow(
    network: nn.Module, inputs: Tensor, prunable: Mapping[str, Tensor], repeats: int = 1, *, keep_bn: str = ""
) -> dict[str, Tensor]:
    """Sum |theta * dR/dtheta| of every prunable weight, R the sum of all logits.

    Every weight, bias and buffer of the state is replaced by its absolute value (what is not saved with it, as a mask,
    stays), batch norms are the identity, and the input is one image of ones. All in float64: values span 1e12 to 1e60.
    It runs on the CPU where the device has no float64.

    Args:
        network: In training mode.
        inputs: Any batch; only its shape ``(N, C, H, W)`` and device are read.
        prunable: The prunable weights, parameters of the network.
        repeats: R; each gets an image of its own.
        keep_bn: Pattern of the names of batch norms that stay active. zero-cost-nas leaves those of NAS-Bench-201's
            reduction blocks active (``"cells.*.conv_[ab].*"`` here): a slip that changes values by orders of magnitude.

    Returns:
        A float64 tensor ``(R,)`` for each prunable weight; zero where nothing read it.
    """
    device = torch.device("cpu") if inputs.device.type == "mps" else inputs.device
    state: dict[str, Tensor] = {}
    saved = network.state_dict(keep_vars=True).keys()
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        linear = value.detach().to(device)
        linear = linear.double() if linear.is_floating_point() else linear.clone()
        state[name] = linear.abs() if name in saved or isinstance(value, nn.Parameter) else linear
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    weights = {name: state[names[id(parameter)]] for name, parameter in prunable.items()}
    for weight in weights.values():
        weight.requires_grad_(True)
    off = {name: bn for name, bn in batch_norms(network).items() if not (keep_bn and fnmatch(name, keep_bn))}
    ones = torch.ones(repeats, *inputs.shape[1:], dtype=torch.float64, device=device, requires_grad=True)

    def identity(_: Any) -> Any:
        return lambda x: x

    alone = nullcontext() if keep_bn else NoOtherBatchNorm(ones)
    with alone, replaced_forward(off, identity), replaced_tensors(network, state), torch.enable_grad():
        total = network(ones.clone()).sum()
    if not total.requires_grad:
        return {name: w.new_zeros(repeats) for name, w in weights.items()}
    gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return {
        name: w.new_zeros(repeats) if g is None else sums_by_repeat((w * g).detach().abs(), repeats)
        for (name, w), g in zip(weights.items(), gradients, strict=True)
    }
