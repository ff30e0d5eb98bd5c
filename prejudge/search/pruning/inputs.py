"""The random inputs of a pruning search: images, crops and weights, each from the search's seed and a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from prejudge.data.dataset import ImageDataset, channel_statistics
from prejudge.data.probe_batch import batch
from prejudge.errors import InputError
from prejudge.search.pruning.protocol import PruningProtocol

CROP = 3
"""Side of the crops that the thin network sees, in pixels."""

_IMAGES, _CROPS, _WEIGHTS = range(3)


def image_set(data: ImageDataset | np.ndarray, num_classes: int = 10) -> ImageDataset:
    """Images with or without labels as a set; nothing here reads the labels.

    Args:
        data: A set, or uint8 images ``(N, H, W, C)`` or ``(N, H, W)``, which are normalized by their own statistics.
        num_classes: Outputs of the networks where there are no labels.

    Raises:
        InputError: These are not images, there are fewer than two, or they are smaller than a crop.
    """
    if isinstance(data, np.ndarray):
        images = data[..., None] if data.ndim == 3 else data
        statistics = channel_statistics(images) if images.dtype == np.uint8 and images.ndim == 4 and images.size else ()
        mean, std = statistics or ((0.0,), (1.0,))
        data = ImageDataset("images", images, np.zeros(len(images), dtype=np.int64), num_classes, mean, std)
    if len(data) < 2:
        raise InputError(f"{data.name} has one image; the kernel of a pruning search needs at least two")
    if min(data.images.shape[1:3]) < CROP:
        height, width = data.images.shape[1:3]
        raise InputError(f"{data.name}: images of {height}x{width} are too small; regions need {CROP}x{CROP} pixels")
    return data


@dataclass(frozen=True, eq=False)
class MeasurementInputs:
    """The inputs of one repeat of a round.

    Attributes:
        images: Of the kernel, normalized, ``(N, C, H, W)``.
        crops: Of the regions, normalized, one tensor ``(M, 1, 3, 3)`` per batch.
        weights: Seed of the networks' weights.
    """

    images: Tensor
    crops: tuple[Tensor, ...]
    weights: int


def draw_inputs(
    data: ImageDataset, protocol: PruningProtocol, batch_size: int, seed: int, stage: int, repeat: int
) -> MeasurementInputs:
    """Draw the inputs of a repeat: the same on any machine, whatever was drawn before.

    Args:
        data: The images.
        protocol: How many, and whether augmented.
        batch_size: Images of the kernel; all where there are fewer.
        seed: Of the search.
        stage: Number of the round.
        repeat: Number of the repeat.
    """
    size = min(batch_size, len(data))
    found = batch(data, size, seed=_seed(seed, stage, repeat, _IMAGES), augment=protocol.augment).inputs
    rng = np.random.default_rng(_seed(seed, stage, repeat, _CROPS))
    crops = random_crops(data, protocol.crops * protocol.crop_batches, rng, protocol.image_size)
    weights = _seed(seed, stage, repeat if protocol.redraw else 0, _WEIGHTS)
    return MeasurementInputs(_scaled(found, protocol.image_size), crops.split(protocol.crops), weights)


def random_crops(data: ImageDataset, count: int, rng: np.random.Generator, image_size: int) -> Tensor:
    """Crops of one random channel at random places, as the released code of TE-NAS takes them.

    Every image is used once before any is used again. A crop of an image larger than ``image_size`` takes every second,
    third … pixel, as if the image had been scaled down.

    Returns:
        Normalized, ``(count, 1, 3, 3)`` float32.
    """
    n, height, width, channels = data.images.shape
    turns = -(-count // n)
    images = np.concatenate([rng.permutation(n) for _ in range(turns)])[:count]
    step = max(1, min(height, width) // image_size)
    offsets = step * np.arange(CROP)
    rows = rng.integers(height - offsets[-1], size=count)[:, None] + offsets
    columns = rng.integers(width - offsets[-1], size=count)[:, None] + offsets
    channel = rng.integers(channels, size=count)
    pixels = data.images[images[:, None, None], rows[:, :, None], columns[:, None, :], channel[:, None, None]]
    mean = np.array(data.mean, dtype=np.float32)[channel, None, None]
    std = np.array(data.std, dtype=np.float32)[channel, None, None]
    return torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std)[:, None]


def initialize(network: nn.Module, initialization: str, mode: Literal["fan_in", "fan_out"]) -> None:
    """Draw the weights that PyTorch's defaults are not meant for.

    Args:
        network: Fresh from its constructor.
        initialization: One of :data:`~prejudge.search.pruning.protocol.INITIALIZATIONS`.
        mode: ``"fan_out"`` or ``"fan_in"``, for ``"kaiming"``.
    """
    if initialization == "kaiming":
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _scaled(images: Tensor, side: int) -> Tensor:
    largest = max(images.shape[2:])
    if largest <= side:
        return images
    size = [max(CROP, round(n * side / largest)) for n in images.shape[2:]]
    return nn.functional.interpolate(images, size=size, mode="area")
