"""Batches from folders of images that do not fit in memory: read, decoded and augmented by worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from prejudge.data.augmentation import Augmentation, center_view, imagenet_view
from prejudge.data.batches import check_shares, count_batches, epoch_order, shares
from prejudge.data.files import class_files, decode_image
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.data.transforms import normalize
from prejudge.errors import InputError, PrejudgeError, unknown
from prejudge.train.recipes.recipe import Recipe

IMAGE_SIZE = 224


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Files of images with their classes; nothing of them has been read yet.

    Attributes:
        name: What the set is called.
        folder: Where the class folders are.
        files: Paths below ``folder`` as bytes, ``(N,)``. An array, since a list of a million texts would be copied by
            every worker.
        labels: int64, ``(N,)``: positions in ``classes``.
        classes: Names of the classes, in alphabetical order.
        mean: What is subtracted from each of the three channels, in 0..1 units.
        std: What each channel is divided by, in 0..1 units.
    """

    name: str
    folder: Path
    files: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def path(self, index: int) -> Path:
        """Where an image is."""
        return self.folder / os.fsdecode(self.files[index])

    def part(self, chosen: np.ndarray | slice) -> ImageFiles:
        """The chosen files, with the same classes and normalization."""
        return replace(self, files=self.files[chosen], labels=self.labels[chosen])


def list_folder(
    folder: Path,
    split: str = "train",
    *,
    name: str | None = None,
    per_class: int | None = None,
    normalization: str = "imagenet",
) -> ImageFiles:
    """List the images of a folder with class sub-folders, in alphabetical order, without reading any.

    Args:
        folder: As in :func:`prejudge.data.files.read_folder`: class folders, or ``train`` and ``test`` or ``val``
            with class folders in each.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        name: What to call the set; the folder's name where left out.
        per_class: Take only the first so many images of each class, in the order of their names.
        normalization: Name of published means and deviations of three channels.

    Raises:
        MissingDataError: There is no such folder.
        InputError: There are no classes or no images, or a class is not among those of the training images.
    """
    if normalization not in NORMALIZATIONS:
        raise unknown("normalization", normalization, NORMALIZATIONS)
    mean, std = NORMALIZATIONS[normalization]
    if len(mean) != 3:
        raise InputError(f"normalization {normalization!r} is for {len(mean)} channel; images of folders have three")
    where, _, found = class_files(folder, split, per_class)
    files = [os.fsencode(f.relative_to(where)) for of_class in found.values() for f in of_class]
    labels = np.repeat(np.arange(len(found), dtype=np.int64), [len(of_class) for of_class in found.values()])
    return ImageFiles(name or folder.resolve().name, where, np.array(files), labels, tuple(found), mean, std)


def read_image(path: Path) -> Tensor:
    """Decode an image: uint8 RGB, ``(3, H, W)``.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no image, is truncated, or has too many pixels.
    """
    return torch.from_numpy(np.array(decode_image(path, color=True))).permute(2, 0, 1)


class FolderBatches:
    """Batches of :class:`ImageFiles`; the same seed gives the same batches, whatever the number of workers.

    An epoch depends on the seed and its number alone, and each image's view on its own number besides: a training can
    go on at any epoch, and processes that train together see the views that a single one would have seen.

    Args:
        files: The images.
        batch_size: Images per step, of all processes together; the last batch of an epoch may be smaller, but a single
            image that is left over is left out where the order is random.
        seed: Of the order, the views, cutout and noise.
        augment: What happens to the images; ``True`` is a random part of ``size``, flipped, its colors changed, and
            ``False`` the center, as for tests. The views must make all images equally large.
        size: Side of the images.
        noise: Standard deviation of the Gaussian noise, in 0..1 units.
        shuffle: Whether the order is random; otherwise every image comes once, in the order of the files: for tests.
        workers: Processes that read; 0: none, this one does.
        device: Where the batches are put.
        rank: Number of this process, from 0.
        world: Processes that train together, as in :class:`prejudge.data.batches.MemoryBatches`.

    Raises:
        InputError: The images cannot be divided between the processes, or without shuffling there are several.
    """

    def __init__(
        self,
        files: ImageFiles,
        batch_size: int,
        *,
        seed: int = 0,
        augment: bool | Augmentation = True,
        size: int = IMAGE_SIZE,
        noise: float = 0.0,
        shuffle: bool = True,
        workers: int = 4,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_shares(files.name, len(files), batch_size, rank, world)
        if not shuffle and world > 1:
            raise InputError(f"{files.name}: without shuffling every image is needed; read them in one process")
        if isinstance(augment, bool):
            augment = Augmentation((imagenet_view(size) if augment else center_view(size),))
        self._augmentation, self._noise = augment, noise
        self._device = torch.device(device)
        self._mean, self._std = (torch.tensor(numbers, device=device) for numbers in (files.mean, files.std))
        self._views = _Views(files, augment, seed)
        self._order = _Order(len(files), batch_size, seed, rank, world, shuffle)
        self._workers = workers

    @classmethod
    def from_recipe(
        cls,
        files: ImageFiles,
        recipe: Recipe,
        *,
        seed: int = 0,
        workers: int = 4,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> FolderBatches:
        """The batches that a recipe asks for; without augmentation, the centers of the images."""
        size = recipe.image_size or IMAGE_SIZE
        augment = Augmentation.from_recipe(recipe, size)
        if not recipe.augment or recipe.augmentation != "imagenet":  # the others need images of one size
            augment = Augmentation((center_view(size), *augment.views), augment.cutout)
        return cls(
            files,
            recipe.batch_size,
            seed=seed,
            augment=augment,
            noise=recipe.noise_std,
            workers=workers,
            device=device,
            rank=rank,
            world=world,
        )

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, number: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs ``(N, 3, H, W)`` float32, normalized, and targets ``(N,)`` of epoch ``number`` (from 0).

        Raises:
            MissingDataError: A file is gone.
            FileFormatError: A file is no image.
            InputError: The views are not equally large.
        """
        loader = DataLoader(
            self._views,
            batch_sampler=replace(self._order, epoch=number),
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            # Or the workers' seeds would be drawn from the global random state.
            generator=torch.Generator(),
            collate_fn=_stacked,
        )
        generator = self._order.drawn(number)[1]
        for found in loader:
            if isinstance(found, PrejudgeError):
                raise found
            images, targets = found
            images = images.to(self._device, non_blocking=True)
            inputs = normalize(images, self._mean, self._std, noise=self._noise, generator=generator)
            inputs = self._augmentation.on_inputs(inputs, generator)
            yield inputs, targets.to(self._device, non_blocking=True)


@dataclass(frozen=True)
class _Order(Sampler[list[tuple[int, int]]]):
    """Which images make each batch of an epoch: pairs of the epoch and an image's number."""

    images: int
    batch_size: int
    seed: int
    rank: int
    world: int
    shuffle: bool
    epoch: int = 0

    def drawn(self, epoch: int) -> tuple[Tensor, torch.Generator]:
        """The order of an epoch, and what cutout and noise are drawn from."""
        order, generator = epoch_order(self.images, self.seed, epoch, self.rank, self.world)
        return (order if self.shuffle else torch.arange(self.images)), generator

    def __len__(self) -> int:
        if self.shuffle:
            return count_batches(self.images, self.batch_size, self.world)
        return -(-self.images // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order, _ = self.drawn(self.epoch)
        if self.shuffle:
            batches: Iterable[Tensor] = shares(order, self.batch_size, self.rank, self.world)
        else:
            batches = order.split(self.batch_size)
        for batch in batches:
            yield [(self.epoch, index) for index in batch.tolist()]


@dataclass(frozen=True)
class _Views(Dataset[tuple[Tensor, int] | PrejudgeError]):
    """What the workers do: an image's view in an epoch, and its class.

    What is wrong with a file is returned: raised in a worker it would come out wrapped in a traceback.
    """

    files: ImageFiles
    augmentation: Augmentation
    seed: int

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | PrejudgeError:
        epoch, index = key
        state = np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]) >> 1)
        try:
            image = read_image(self.files.path(index)).unsqueeze(0)
        except PrejudgeError as error:
            return error
        return self.augmentation.on_bytes(image, generator).squeeze(0), int(self.files.labels[index])


def _stacked(views: list[tuple[Tensor, int] | PrejudgeError]) -> tuple[Tensor, Tensor] | PrejudgeError:
    """A batch: uint8 ``(N, 3, H, W)`` and int64 ``(N,)``; or the first thing that is wrong."""
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
