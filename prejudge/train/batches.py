"""Batches from images that fit in memory: shuffled, augmented and noised anew in every epoch, from one seed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from prejudge.train.image_set import ImageSet
from prejudge.train.images import crop_and_flip, normalise


class MemoryBatches:
    """Training batches of an :class:`ImageSet`; the same seed gives the same batches, epoch by epoch.

    Args:
        data: The images.
        batch_size: Images per batch; the last of an epoch may be smaller, but a single image that is left over is left
            out: batch normalisation cannot learn from one.
        seed: Of the order, the crops and the noise.
        augment: Random crop from a border of 4 pixels and horizontal flip.
        noise: Standard deviation of the Gaussian noise, in 0..1 units.
    """

    def __init__(
        self, data: ImageSet, batch_size: int, *, seed: int = 0, augment: bool = False, noise: float = 0.0
    ) -> None:
        self._images = torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous()
        self._targets = torch.from_numpy(data.labels)
        self._data = data
        self._batch_size = batch_size
        self._seed = seed
        self._augment = augment
        self._noise = noise

    def __len__(self) -> int:
        whole, rest = divmod(len(self._targets), self._batch_size)
        return whole + (rest > 1 or not whole)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs ``(N, C, H, W)`` float32, normalised, and targets ``(N,)`` of epoch ``number`` (from 0)."""
        # One generator for each epoch: an epoch can be repeated without the ones before it.
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        order = torch.randperm(len(self._targets), generator=generator)
        for chosen in order.split(self._batch_size)[: len(self)]:
            images = self._images[chosen]
            if self._augment:
                images = crop_and_flip(images, generator)
            inputs = normalise(images, self._data.mean, self._data.std, noise=self._noise, generator=generator)
            yield inputs, self._targets[chosen]
