"""The changes of a tensor of images on its way into a network: crop, flip, turn, noise, normalization, cutout.

Every function takes a whole batch, on any device. Random numbers are drawn where the generator is and moved to the
images: with a generator on the CPU, as everywhere in prejudge, a seed means the same images on every device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def normalize(
    images: Tensor,
    mean: Sequence[float] | Tensor,
    std: Sequence[float] | Tensor,
    *,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Turn bytes into the inputs of a network.

    Args:
        images: uint8, ``(N, C, H, W)``.
        mean: Of each channel, in 0..1 units.
        std: Of each channel, in 0..1 units.
        noise: Standard deviation of Gaussian noise added before normalizing, in 0..1 units.
        generator: Draws the noise.

    Returns:
        float32, ``(N, C, H, W)``, contiguous.
    """
    scaled = images.to(torch.float32).div_(255)
    if noise:
        where = None if generator is None else generator.device
        scaled += moved(noise * torch.randn(scaled.shape, generator=generator, device=where), scaled)
    return scaled.sub_(_per_channel(mean, scaled)).div_(_per_channel(std, scaled))


def crop_and_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """A random crop of each image after zero-padding, and a horizontal flip of half of them.

    Args:
        images: Of any type, ``(N, C, H, W)``.
        generator: Draws where each crop begins, and which images are flipped.
        padding: Zero pixels on each side.

    Returns:
        Images of the same shape and type.
    """
    n, channels, height, width = images.shape
    top = _integers(2 * padding + 1, n, generator)
    left = _integers(2 * padding + 1, n, generator)
    flipped = torch.rand(n, 1, generator=generator, device=generator.device) < 0.5
    rows = top.view(n, 1) + torch.arange(height, device=top.device)
    columns = left.view(n, 1) + torch.arange(width, device=left.device)
    columns = torch.where(flipped, columns.flip(1), columns)
    # One gather of pixels by their number in the padded image: several times faster than indexing by rows and columns.
    pixels = rows.view(n, height, 1) * (width + 2 * padding) + columns.view(n, 1, width)
    pixels = moved(pixels, images).view(n, 1, height * width).expand(n, channels, height * width)
    return F.pad(images, (padding,) * 4).flatten(2).gather(2, pixels).view(images.shape)


def cutout(inputs: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """One square of zeros in each image, its center uniform over the pixels, cut off at the border (DeVries & Taylor).

    Args:
        inputs: Normalized images, ``(N, C, H, W)``: zero is the mean.
        length: Side of the square; an odd one is one pixel less.
        generator: Draws the centers.
    """
    n, _, height, width = inputs.shape
    down = moved(_integers(height, n, generator), inputs).view(n, 1)
    across = moved(_integers(width, n, generator), inputs).view(n, 1)
    rows, columns = torch.arange(height, device=inputs.device), torch.arange(width, device=inputs.device)
    half = length // 2
    in_rows = (rows >= down - half) & (rows < down + half)
    in_columns = (columns >= across - half) & (columns < across + half)
    return inputs.masked_fill((in_rows.view(n, height, 1) & in_columns.view(n, 1, width)).unsqueeze(1), 0.0)


def affine(images: Tensor, angle: Tensor, across: Tensor, down: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Turn, scale, shear and move each image about its center, to the nearest pixel; what comes from outside is zero.

    It is ``torchvision.transforms.functional.affine`` with numbers of its own for each image.

    Args:
        images: uint8, ``(N, C, H, W)``.
        angle: Degrees clockwise, ``(N,)``, as all that follow.
        across: Pixels to the right.
        down: Pixels downwards.
        scale: Factor.
        shear: Degrees, along the rows.
    """
    n, _, height, width = images.shape
    turn, lean = torch.deg2rad(angle.double()), torch.tan(torch.deg2rad(shear.double()))
    # Where a pixel of the result comes from: back by the move, then by the inverse of scale * rotation * shear.
    cos, sin, size = turn.cos(), turn.sin(), scale.double()
    back = torch.stack([cos - lean * sin, sin + lean * cos, -sin, cos], 1).view(n, 2, 2) / size.view(n, 1, 1)
    origin = -(back @ torch.stack([across, down], 1).double().unsqueeze(2))
    # affine_grid counts in half sides of the image.
    sides = torch.tensor([width / 2, height / 2], dtype=torch.float64, device=back.device)
    theta = torch.cat([back * sides.view(1, 1, 2), origin], 2) / sides.view(1, 2, 1)
    grid = F.affine_grid(moved(theta.float(), images), list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(images.dtype)


def _integers(high: int, n: int, generator: torch.Generator) -> Tensor:
    """``(N,)`` integers from 0 to ``high - 1``, where the generator is."""
    return torch.randint(high, (n, 1), generator=generator, device=generator.device).view(n)


def moved(drawn: Tensor, images: Tensor) -> Tensor:
    """Random numbers on the device of the images."""
    # Without waiting: CUDA has copied the numbers to a buffer of its own before it returns.
    return drawn.to(images.device, non_blocking=images.is_cuda)


def _per_channel(numbers: Sequence[float] | Tensor, images: Tensor) -> Tensor:
    return torch.as_tensor(numbers, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
