"""Batches from images that fit in memory: shuffled, augmented and noised anew in every epoch, from one seed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from prejudge.data.augmentation import Augmentation, CropAndFlip
from prejudge.data.dataset import ImageDataset
from prejudge.data.transforms import normalize
from prejudge.errors import InputError
from prejudge.train.recipes.recipe import Recipe


class MemoryBatches:
    """Training batches of an :class:`ImageDataset`; the same seed gives the same batches, epoch by epoch.

    An epoch depends on the seed and its number alone: a training can go on at any epoch, and on any device.

    Args:
        data: The images.
        batch_size: Images per step, of all processes together; the last batch of an epoch may be smaller, but a single
            image that is left over is left out: batch normalization cannot learn from one.
        seed: Of the order, the augmentation and the noise.
        augment: What happens to the images; ``True`` is a random crop from a border of 4 pixels and a horizontal flip.
        noise: Standard deviation of the Gaussian noise, in 0..1 units.
        device: Where the images lie, as bytes, and where the batches are made.
        rank: Number of this process, from 0.
        world: Processes that train together. All of them go through the same permutation; each batch is divided
            equally between them, and images that do not fill a last batch are left out in this epoch.

    Raises:
        InputError: The batch size cannot be divided between the processes, or the images do not fill one batch of them.
    """

    def __init__(
        self,
        data: ImageDataset,
        batch_size: int,
        *,
        seed: int = 0,
        augment: bool | Augmentation = False,
        noise: float = 0.0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_shares(data.name, len(data), batch_size, rank, world)
        self._images = torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous().to(device)
        self._targets = torch.from_numpy(data.labels).to(device)
        # On the device once and for all: a copy for every batch would only cost time.
        self._mean, self._std = (torch.tensor(numbers, device=device) for numbers in (data.mean, data.std))
        self._batch_size = batch_size
        self._seed = seed
        self._augmentation = _augmentation(augment)
        self._noise = noise
        self._rank, self._world = rank, world

    @classmethod
    def from_recipe(
        cls,
        data: ImageDataset,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> MemoryBatches:
        """The batches that a recipe asks for."""
        augmentation = Augmentation.from_recipe(recipe, data.image_size)
        return cls(
            data,
            recipe.batch_size,
            seed=seed,
            augment=augmentation,
            noise=recipe.noise_std,
            device=device,
            rank=rank,
            world=world,
        )

    def __len__(self) -> int:
        return count_batches(len(self._targets), self._batch_size, self._world)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs ``(N, C, H, W)`` float32, normalized, and targets ``(N,)`` of epoch ``number`` (from 0)."""
        order, generator = epoch_order(len(self._targets), self._seed, number, self._rank, self._world)
        order = order.to(self._images.device)
        for chosen in shares(order, self._batch_size, self._rank, self._world):
            images = self._augmentation.on_bytes(self._images[chosen], generator)
            inputs = normalize(images, self._mean, self._std, noise=self._noise, generator=generator)
            yield self._augmentation.on_inputs(inputs, generator), self._targets[chosen]


def epoch_order(images: int, seed: int, epoch: int, rank: int = 0, world: int = 1) -> tuple[Tensor, torch.Generator]:
    """The permutation of an epoch, the same in every process, and what this process draws its other numbers from.

    Args:
        images: How many there are.
        seed: Of the training.
        epoch: From 0.
        rank: Number of this process.
        world: Processes.

    Returns:
        Indices ``(images,)`` and a generator, both on the CPU.
    """
    # One generator for each epoch: an epoch can be repeated without the ones before it.
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(images, generator=generator)
    if world > 1:  # or all processes would crop alike
        seeds = torch.randint(2**62, (world,), generator=generator)
        generator = torch.Generator().manual_seed(int(seeds[rank]))
    return order, generator


def count_batches(images: int, batch_size: int, world: int = 1) -> int:
    """Batches of an epoch."""
    whole, rest = divmod(images, batch_size)
    return whole if world > 1 else whole + (rest > 1 or not whole)


def shares(order: Tensor, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Tensor]:
    """What a process takes of each batch of a permutation ``(N,)``."""
    size = batch_size // world
    for batch in order.split(batch_size)[: count_batches(len(order), batch_size, world)]:
        yield batch[rank * size : (rank + 1) * size] if world > 1 else batch


def check_shares(name: str, images: int, batch_size: int, rank: int, world: int) -> None:
    """Raise :class:`InputError` unless the images can be divided between the processes."""
    if world < 1 or not 0 <= rank < world:
        raise InputError(f"process {rank} of {world}: the number must be from 0 and below the number of processes")
    if batch_size < 1 or batch_size % world:
        raise InputError(
            f"batch_size {batch_size} cannot be divided equally between {world} processes; take a multiple of {world}"
        )
    if world > 1 and images < batch_size:
        raise InputError(f"{name}: {images} images do not fill one batch of {batch_size} for {world} processes")


def _augmentation(augment: bool | Augmentation) -> Augmentation:
    if isinstance(augment, Augmentation):
        return augment
    return Augmentation((CropAndFlip(),)) if augment else Augmentation()
