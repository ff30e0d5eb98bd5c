"""Training batches: shuffled, augmented and noised anew in every epoch, from one seed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from prejudge.data.augmentation import Augmentation, CropAndFlip, center_view, imagenet_view
from prejudge.data.dataset import ImageDataset
from prejudge.data.image_files import ImageFiles
from prejudge.data.transforms import normalize
from prejudge.engine.orphans import end_with_parent
from prejudge.errors import InputError, PrejudgeError

Read = Iterator[tuple[Tensor, Tensor]]


class ImageBatches:
    """Batches of an :class:`~prejudge.data.ImageDataset`, epoch by epoch; the same seed gives the same batches.

    An epoch depends on the seed and its number alone: a training can go on at any epoch, and on any device. Images in
    files are read, decoded and augmented by worker processes; the view of each depends on the seed, the epoch and its
    own number alone, so that neither the workers nor processes that train together change any of them.

    Args:
        data: The images. Those in memory are put on the device as bytes, once.
        batch_size: Images per step, of all processes together; the last batch of an epoch may be smaller, but where the
            order is random a single image that is left over is left out: batch normalization cannot learn from one.
        seed: Of the order, the augmentation and the noise.
        augment: The changes of the images. ``True`` is a random crop from a padding of 4 pixels and a horizontal flip,
            or, for images in files, a random part scaled to the dataset's size, flipped, its colors changed; ``False``
            is no change, or the center of that size. The views must make all images of a batch equally large.
        noise: Standard deviation of the Gaussian noise, in 0..1 units.
        shuffle: Whether the order is random; otherwise every image comes once, in the order of the dataset.
        workers: Processes that read files; 0: this one does. At most 4 where left out.
        device: Where the batches are made.
        rank: Number of this process, from 0.
        world: Processes that train together. All of them go through the same permutation; each batch is divided
            equally between them, and images that do not fill a last batch are left out in this epoch.

    Raises:
        InputError: The batch size cannot be divided between the processes, the images do not fill one batch of them, or
            there are several processes without shuffling.
    """

    def __init__(
        self,
        data: ImageDataset,
        batch_size: int,
        *,
        seed: int = 0,
        augment: bool | Augmentation = False,
        noise: float = 0.0,
        shuffle: bool = True,
        workers: int | None = None,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        _check_shares(data.name, len(data), batch_size, rank, world)
        if not shuffle and world > 1:
            raise InputError(f"{data.name}: without shuffling every image is needed; read them in one process")
        self._order = _Order(len(data), batch_size, seed, rank, world, shuffle)
        self._augmentation = _augmentation(augment, data)
        self._noise, self._device = noise, torch.device(device)
        # On the device once and for all: a copy for every batch would only cost time.
        self._mean, self._std = (torch.tensor(numbers, device=device) for numbers in (data.mean, data.std))
        self._source: _OnDevice | _InFiles
        if isinstance(data.source, ImageFiles):
            workers = min(4, os.cpu_count() or 1) if workers is None else workers
            views = _FileViews(data.source, data.labels, self._augmentation, seed)
            self._source = _InFiles(views, workers, self._device)
        else:
            images = torch.from_numpy(data.source).permute(0, 3, 1, 2).contiguous().to(device)
            self._source = _OnDevice(images, torch.from_numpy(data.labels).to(device), self._augmentation)

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, number: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over an epoch.

        Args:
            number: Of the epoch, from 0.

        Returns:
            Inputs ``(N, C, H, W)`` float32, normalized, and targets ``(N,)`` of each batch.

        Raises:
            MissingDataError: A file is gone.
            FileFormatError: A file is not an image.
            InputError: The views are not equally large.
        """
        order = replace(self._order, epoch=number)
        generator = order.drawn()[1]
        for images, targets in self._source.read(order, generator):
            inputs = normalize(images, self._mean, self._std, noise=self._noise, generator=generator)
            yield self._augmentation.on_inputs(inputs, generator), targets


@dataclass(frozen=True)
class _Order(Sampler[list[tuple[int, int]]]):
    """The images of each batch of an epoch that fall to this process."""

    images: int
    batch_size: int
    seed: int
    rank: int
    world: int
    shuffle: bool
    epoch: int = 0

    def drawn(self) -> tuple[Tensor, torch.Generator]:
        """The permutation of the epoch, the same in every process, and the generator of its other random numbers."""
        # One generator for each epoch: an epoch can be repeated without the ones before it.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.images, generator=generator)
        if self.world > 1:  # or all processes would draw the same crops
            seeds = torch.randint(2**62, (self.world,), generator=generator)
            generator = torch.Generator().manual_seed(int(seeds[self.rank]))
        return (order if self.shuffle else torch.arange(self.images)), generator

    def __len__(self) -> int:
        whole, rest = divmod(self.images, self.batch_size)
        if not self.shuffle:
            return whole + (rest > 0)
        return whole if self.world > 1 else whole + (rest > 1 or not whole)

    def batches(self, device: torch.device) -> Iterator[Tensor]:
        """Indices ``(n,)`` of this process's images of each batch, on the device."""
        share = self.batch_size // self.world
        for batch in self.drawn()[0].to(device).split(self.batch_size)[: len(self)]:
            yield batch[self.rank * share : (self.rank + 1) * share] if self.world > 1 else batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Pairs of the epoch and an image's number: the keys of :class:`_FileViews`."""
        for batch in self.batches(torch.device("cpu")):
            yield [(self.epoch, index) for index in batch.tolist()]


@dataclass(frozen=True, eq=False)
class _OnDevice:
    """Images in memory: bytes on the device, augmented a batch at a time."""

    images: Tensor
    targets: Tensor
    augmentation: Augmentation

    def read(self, order: _Order, generator: torch.Generator) -> Read:
        for chosen in order.batches(self.images.device):
            yield self.augmentation.on_bytes(self.images[chosen], generator), self.targets[chosen]


@dataclass(frozen=True, eq=False)
class _FileViews(Dataset[tuple[Tensor, int] | PrejudgeError]):
    """The work of the reading processes: an image's view in an epoch, and its class.

    An error is returned: raised in a worker it would come out wrapped in a traceback.
    """

    files: ImageFiles
    labels: np.ndarray
    augmentation: Augmentation
    seed: int

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | PrejudgeError:
        epoch, index = key
        state = np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]) >> 1)
        try:
            image = torch.from_numpy(self.files.read(index)).permute(2, 0, 1).unsqueeze(0)
        except PrejudgeError as error:
            return error
        return self.augmentation.on_bytes(image, generator).squeeze(0), int(self.labels[index])


@dataclass(frozen=True, eq=False)
class _InFiles:
    """Images in files: read and augmented one by one, by worker processes."""

    views: _FileViews
    workers: int
    device: torch.device

    def read(self, order: _Order, generator: torch.Generator) -> Read:
        loader = DataLoader(
            self.views,
            batch_sampler=order,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            # Or the workers' seeds would be drawn from the global random state.
            generator=torch.Generator(),
            collate_fn=_stacked,
            # Of a thread other than the first one the end would be taken for that of the process.
            worker_init_fn=_in_worker if threading.current_thread() is threading.main_thread() else None,
        )
        for found in loader:
            if isinstance(found, PrejudgeError):
                raise found
            images, targets = found
            yield images.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)


def _in_worker(number: int) -> None:
    end_with_parent()


def _stacked(views: list[tuple[Tensor, int] | PrejudgeError]) -> tuple[Tensor, Tensor] | PrejudgeError:
    """A batch: uint8 ``(N, 3, H, W)`` and int64 ``(N,)``; or the first error."""
    images: list[Tensor] = []
    targets: list[int] = []
    for view in views:
        if isinstance(view, PrejudgeError):
            return view
        images.append(view[0])
        targets.append(view[1])
    sizes = {tuple(image.shape[1:]) for image in images}
    if len(sizes) > 1:
        (a, b), (c, d) = sorted(sizes)[:2]
        return InputError(
            f"images of {a}x{b} and {c}x{d} pixels do not make a batch; a view must bring them to one size"
        )
    return torch.stack(images), torch.tensor(targets)


def ordered_batches(
    data: ImageDataset, batch_size: int, *, device: torch.device | str = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over all images once, in order and unchanged, as for an evaluation.

    Unlike :class:`ImageBatches` it moves only one batch at a time to the device; targets of images in memory stay on
    the CPU.

    Args:
        data: The images; of those in files the centers are taken as ImageNet is tested.
        batch_size: Images per batch; the last one may be smaller.
        device: Where to normalize.

    Returns:
        Inputs ``(N, C, H, W)`` float32, normalized, and targets ``(N,)`` of each batch.
    """
    if isinstance(data.source, ImageFiles):
        yield from ImageBatches(data, min(batch_size, len(data)), shuffle=False, device=device).epoch()
        return
    images, labels = torch.from_numpy(data.source).permute(0, 3, 1, 2), torch.from_numpy(data.labels)
    for part, targets in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        # They go to the device as bytes, and are normalized there.
        yield normalize(part.to(device).contiguous(), data.mean, data.std), targets


def _augmentation(augment: bool | Augmentation, data: ImageDataset) -> Augmentation:
    if isinstance(augment, Augmentation):
        return augment
    if not data.in_memory:
        return Augmentation((imagenet_view(data.image_size) if augment else center_view(data.image_size),))
    return Augmentation((CropAndFlip(),)) if augment else Augmentation()


def _check_shares(name: str, images: int, batch_size: int, rank: int, world: int) -> None:
    """Raise :class:`InputError` unless the images can be divided between the processes."""
    if world < 1 or not 0 <= rank < world:
        raise InputError(f"process {rank} of {world}: the number must be from 0 and below the number of processes")
    if batch_size < 1 or batch_size % world:
        raise InputError(
            f"batch_size {batch_size} cannot be divided equally between {world} processes; take a multiple of {world}"
        )
    if world > 1 and images < batch_size:
        raise InputError(f"{name}: {images} images do not fill one batch of {batch_size} for {world} processes")
