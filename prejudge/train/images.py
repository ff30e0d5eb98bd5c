"""What happens to a tensor of images on its way into a network: crop, flip, noise, normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def normalise(
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """From bytes to what a network takes.

    Args:
        images: uint8, ``(N, C, H, W)``.
        mean: Of each channel, in 0..1 units.
        std: Of each channel, in 0..1 units.
        noise: Standard deviation of Gaussian noise added before normalising, in 0..1 units.
        generator: Draws the noise.

    Returns:
        float32, ``(N, C, H, W)``, contiguous.
    """
    scaled = images.to(torch.float32).div_(255)
    if noise:
        scaled += noise * torch.randn(scaled.shape, generator=generator)
    return scaled.sub_(_per_channel(mean)).div_(_per_channel(std))


def crop_and_flip(images: Tensor, generator: torch.Generator, border: int = 4) -> Tensor:
    """A random crop of each image after zero-padding, and a horizontal flip of half of them, ``(N, C, H, W)``."""
    n, channels, height, width = images.shape
    padded = F.pad(images, (border,) * 4)
    rows = torch.randint(2 * border + 1, (n, 1), generator=generator) + torch.arange(height)
    columns = torch.randint(2 * border + 1, (n, 1), generator=generator) + torch.arange(width)
    flipped = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    return padded[
        torch.arange(n).view(n, 1, 1, 1),
        torch.arange(channels).view(1, channels, 1, 1),
        rows.view(n, 1, height, 1),
        columns.view(n, 1, 1, width),
    ]


def _per_channel(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(1, -1, 1, 1)
