"""TE-NAS's figures in the plain way: one backward pass per image, all pairs of patterns, everything measured anew.

The tests compare the library with these; the speed measurement times them as what is to be beaten.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def kernel(network: nn.Module, images: Tensor) -> Tensor:
    """Gram matrix of the Jacobian of every image's summed logits, ``(N, N)``."""
    network.train()
    weights = [p for name, p in network.named_parameters() if "weight" in name]
    sums = network(images).sum(1)
    rows = []
    for i in range(len(images)):
        gradients = torch.autograd.grad(sums[i], weights, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([g.reshape(-1) for g in gradients if g is not None]))
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def condition(network: nn.Module, images: Tensor) -> float:
    """Largest over smallest eigenvalue of the kernel."""
    values = torch.linalg.eigvalsh(kernel(network, images))
    return float(values[-1] / values[0])


def regions(network: nn.Module, batches: Sequence[Tensor]) -> float:
    """Sum over images of 1 / (number of images with the same pattern), from the distances of all pairs."""
    states: list[Tensor] = []
    rows = []
    handles = [
        module.register_forward_hook(lambda _, __, output: states.append((output > 0).flatten(1)))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    with torch.no_grad():
        for images in batches:
            states.clear()
            network(images)
            rows.append(torch.cat(states, dim=1))
    for handle in handles:
        handle.remove()
    on = torch.cat(rows).float()
    distance = on @ (1 - on).T
    distance = distance + distance.T
    return float((1 / (distance == 0).sum(1)).sum())
