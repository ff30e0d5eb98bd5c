"""The Hessian of the loss against the weights and their gradients, for GraSP."""

from __future__ import annotations

import torch
from torch import Tensor


def weight_curvature(weights: dict[str, Tensor], gradients: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """theta_l . (H g)_l for every layer l, by double backward.

    Args:
        weights: Counted weights by layer name.
        gradients: Their gradients with a graph (``create_graph=True``); None for layers that did not run.

    Returns:
        A 0-dimensional tensor for each layer; zero where it did not run.
    """
    ran = [(weights[n], g) for n, g in gradients.items() if g is not None and g.requires_grad]
    product = sum((g.detach() * g).sum() for _, g in ran)
    result = {name: w.new_zeros(()) for name, w in weights.items()}
    if not ran:
        return result
    second = torch.autograd.grad(product, list(weights.values()), allow_unused=True)  # type: ignore[arg-type]
    for (name, w), hg in zip(weights.items(), second, strict=True):
        if hg is not None:
            result[name] = (w.detach() * hg).sum()
    return result
