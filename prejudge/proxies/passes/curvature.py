"""The Hessian of the loss against the weights and their gradients, for GraSP."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor

from prejudge.proxies.kernels.double_backward import Projection
from prejudge.proxies.network.layers import sums_by_repeat


def weight_curvature(
    weights: dict[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    projection: Projection | None,
    repeats: int,
) -> dict[str, Tensor]:
    """theta_l . (H g)_l for every layer l, by double backward.

    Args:
        weights: Prunable weights by layer name.
        gradients: Their gradients with a graph (``create_graph=True``); None for layers that did not run.
        projection: Of :func:`~prejudge.proxies.kernels.double_backward.cheap_double_backward`, if the forward pass ran
        in it.
        repeats: R. One double backward serves all: no repeat's gradients depend on another's weights.

    Returns:
        A tensor ``(R,)`` for each layer; zero where it did not run.
    """
    result = {name: w.new_zeros(repeats) for name, w in weights.items()}
    ran = [g for g in gradients.values() if g is not None and g.requires_grad]
    if not ran:
        return result
    product = torch.stack([(g.detach() * g).sum() for g in ran]).sum()
    with projection.active() if projection is not None else nullcontext():
        second = torch.autograd.grad(product, list(weights.values()), allow_unused=True)
    for (name, w), hg in zip(weights.items(), second, strict=True):
        if hg is not None:
            result[name] = sums_by_repeat(w.detach() * hg, repeats)
    return result
