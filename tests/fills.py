"""Weights and images by formula, as the originals' figures were made with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn


def filled(network: nn.Module) -> nn.Module:
    """Weights by a formula that depends neither on names nor on order."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            w = module.weight
            values = np.sin(0.7 * np.arange(1, w.numel() + 1)) * np.sqrt(2 / (w.numel() / w.shape[0]))
            w.data.copy_(torch.from_numpy(values.astype(np.float32)).view_as(w))
            if module.bias is not None:
                module.bias.data.zero_()
    return network


def images(seed: int, n: int = 4, side: int = 32) -> tuple[Tensor, Tensor]:
    """The batch of a seed: images ``(n, 3, side, side)`` and classes of 10."""
    rng = np.random.RandomState(seed)
    x = rng.randn(n, 3, side, side).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(rng.randint(0, 10, n))


class Given:
    """Batches that are the same in every epoch: those of some seeds."""

    def __init__(self, seeds: Sequence[int], n: int = 4) -> None:
        self.batches = [images(seed, n) for seed in seeds]

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)


def close(found: Tensor, expected: np.ndarray, rtol: float) -> None:
    """Equal relative to the largest entry."""
    scale = float(np.abs(expected).max())
    torch.testing.assert_close(found.detach(), torch.from_numpy(np.asarray(expected)), rtol=rtol, atol=rtol * scale)
