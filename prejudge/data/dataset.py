"""Images with labels: the one form in which data travels through prejudge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from prejudge.data.image_files import ImageFiles
from prejudge.errors import InputError

SPLITS = ("train", "valid", "test")
_MOST_CLASSES = 100_000


class NoSuchSplit(InputError):
    """The dataset does not have the split that was asked for."""


def no_such_split(name: str, split: str, known: Iterable[str]) -> NoSuchSplit:
    """The error that names the split and those that there are."""
    return NoSuchSplit(f"{name} has no split {split!r} (it has {', '.join(known)})")


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Images and labels, checked; in memory, or in files where they do not fit.

    Attributes:
        name: Name of the dataset in protocols and reports.
        source: uint8 images ``(N, H, W, C)``, or the files that hold them.
        labels: int64, shape ``(N,)``, from 0 to ``num_classes - 1``.
        num_classes: Number of classes.
        mean: Subtracted from each channel, in 0..1 units.
        std: Divisor of each channel, in 0..1 units.
        classes: Names of the classes; empty where they have none.
        published: Whether they are the published images of that name; a file may be called so, too.

    Raises:
        InputError: The dataset is empty, or a shape, type or label is wrong; the message says which.
    """

    name: str
    source: np.ndarray | ImageFiles
    labels: np.ndarray
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    published: bool = False

    def __post_init__(self) -> None:
        source, labels = self.source, self.labels
        if isinstance(source, np.ndarray):
            check_images(source, self.name)
        elif not len(source):
            raise InputError(f"{self.name}: there are no images")
        if labels.shape != (len(source),):
            raise InputError(f"{self.name}: {len(source)} images but labels of shape {labels.shape}; each needs one")
        if labels.dtype != np.int64:
            raise InputError(f"{self.name}: labels must be int64, not {labels.dtype}")
        check_labels(labels, self.num_classes, self.name)
        channels = self.in_channels
        for what, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != channels or not np.isfinite(numbers).all():
                raise InputError(f"{self.name}: {what} needs {channels} numbers, one a channel, not {numbers}")
        if min(self.std) <= 0:
            raise InputError(f"{self.name}: std must be above 0, not {self.std}")
        if self.classes and len(self.classes) != self.num_classes:
            raise InputError(f"{self.name}: {len(self.classes)} names for {self.num_classes} classes")

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        height, width, channels = self.shape
        where = "" if self.in_memory else " in files"
        return (
            f"<{self.name}: {len(self)} images {height}x{width}x{channels}{where}, {self.num_classes} classes, "
            f"{self.digest}>"
        )

    @property
    def in_memory(self) -> bool:
        """Whether the images are in memory rather than in files."""
        return isinstance(self.source, np.ndarray)

    @property
    def images(self) -> np.ndarray:
        """All images, uint8 ``(N, H, W, C)``; those in files are decoded and scaled now, at every call.

        Raises:
            InputError: They do not fit into memory.
            MissingDataError: A file is gone.
            FileFormatError: A file is not an image.
        """
        return self.source if isinstance(self.source, np.ndarray) else self.source.read_all()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image as a network sees it."""
        if isinstance(self.source, np.ndarray):
            _, height, width, channels = self.source.shape
            return height, width, channels
        return self.source.size, self.source.size, 3

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.shape[2]

    @property
    def image_size(self) -> int:
        """Height of the images in pixels, or the longer side where they are not square."""
        return max(self.shape[:2])

    @cached_property
    def digest(self) -> str:
        """SHA-256 prefix of images and labels; of images in files, their names count instead of their pixels."""
        if isinstance(self.source, np.ndarray):
            shape, content = self.source.shape, self.source
        else:
            shape, content = (len(self), *self.shape), self.source.names
        found = hashlib.sha256(f"{shape}".encode())
        found.update(np.ascontiguousarray(content).data)
        found.update(np.ascontiguousarray(self.labels).data)
        return found.hexdigest()[:16]

    def subset(self, chosen: np.ndarray | slice) -> ImageDataset:
        """The chosen images, with the same classes and normalization.

        Args:
            chosen: Indices or a slice.

        Raises:
            InputError: No image is chosen.
        """
        return replace(self, source=self.source[chosen], labels=self.labels[chosen])

    def with_size(self, size: int) -> ImageDataset:
        """The same dataset with images in files scaled to ``size`` pixels a side; those in memory stay as they are."""
        return self if isinstance(self.source, np.ndarray) else replace(self, source=replace(self.source, size=size))


def check_images(images: np.ndarray, what: str) -> None:
    """Raise :class:`InputError` unless these are uint8 images ``(N, H, W, C)``."""
    if images.dtype != np.uint8:
        scaled = images.dtype.kind == "f" and images.size and float(np.nanmax(images)) <= 1
        hint = "multiply by 255 and round" if scaled else "values 0..255"
        raise InputError(f"{what}: images must be uint8 ({hint}), not {images.dtype}")
    if images.ndim != 4:
        raise InputError(f"{what}: images must have shape (N, H, W, C), not {images.shape}")
    if 0 in images.shape:
        raise InputError(f"{what}: there are no images in an array of shape {images.shape}")
    if images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4) and images.shape[2] > 4:
        raise InputError(
            f"{what}: shape {images.shape} looks like (N, C, H, W); (N, H, W, C) is needed: transpose(0, 2, 3, 1)"
        )


def check_labels(labels: np.ndarray, num_classes: int, what: str) -> None:
    """Raise :class:`InputError` unless all labels are from 0 to ``num_classes - 1``."""
    if not 1 <= num_classes <= _MOST_CLASSES:
        raise InputError(f"{what}: {num_classes} classes; 1 to {_MOST_CLASSES} are possible")
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(f"{what}: label {labels[first]} of image {first} is outside 0..{num_classes - 1}")


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of each channel, in 0..1 units, exactly.

    Args:
        images: uint8, ``(N, H, W, C)``.

    Returns:
        Means and standard deviations; a channel that is the same everywhere gets a deviation of 1.
    """
    means, deviations = [], []
    values = np.arange(256) / 255
    for channel in range(images.shape[3]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = float(counts @ values / counts.sum())
        variance = float(counts @ (values - mean) ** 2 / counts.sum())
        means.append(mean)
        deviations.append(variance**0.5 or 1.0)
    return tuple(means), tuple(deviations)
