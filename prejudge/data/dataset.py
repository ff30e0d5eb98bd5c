"""A set of images with labels: the one form in which data travels through prejudge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from prejudge.errors import InputError

_MOST_CLASSES = 100_000


class NoSuchSplit(InputError):
    """The set does not have the split that was asked for."""


def no_such_split(name: str, split: str, known: Iterable[str]) -> NoSuchSplit:
    """The one way to say it."""
    return NoSuchSplit(f"{name} has no split {split!r} (it has {', '.join(known)})")


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images and labels, checked.

    Attributes:
        name: What the set is called in protocols and reports.
        images: uint8, shape ``(N, H, W, C)``.
        labels: int64, shape ``(N,)``, from 0 to ``num_classes - 1``.
        num_classes: Number of classes.
        mean: What is subtracted from each channel, in 0..1 units.
        std: What each channel is divided by, in 0..1 units.
        digest: SHA-256 prefix of images and labels; computed where left out.

    Raises:
        InputError: The set is empty, or a shape, type or label is wrong; the message says which.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        check_images(images, self.name)
        if labels.shape != (len(images),):
            raise InputError(f"{self.name}: {len(images)} images but labels of shape {labels.shape}; each needs one")
        if labels.dtype != np.int64:
            raise InputError(f"{self.name}: labels must be int64, not {labels.dtype}")
        check_labels(labels, self.num_classes, self.name)
        for what, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != self.in_channels or not np.isfinite(numbers).all():
                raise InputError(f"{self.name}: {what} needs {self.in_channels} numbers, one a channel, not {numbers}")
        if min(self.std) <= 0:
            raise InputError(f"{self.name}: std must be above 0, not {self.std}")
        if not self.digest:
            digest = hashlib.sha256(f"{images.shape}".encode())
            digest.update(np.ascontiguousarray(images).data)
            digest.update(np.ascontiguousarray(labels).data)
            object.__setattr__(self, "digest", digest.hexdigest()[:16])

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, height, width, channels = self.images.shape
        return f"<{self.name}: {n} images {height}x{width}x{channels}, {self.num_classes} classes, {self.digest}>"

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return int(self.images.shape[3])

    @property
    def image_size(self) -> int:
        """Height of the images (the longer side where they are not square)."""
        return int(max(self.images.shape[1:3]))

    def part(self, chosen: np.ndarray | slice) -> ImageDataset:
        """The chosen images, with the same classes and normalization."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], digest="")


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
    """Mean and standard deviation of each channel, in 0..1 units, exact.

    Args:
        images: uint8, ``(N, H, W, C)``.

    Returns:
        Means and standard deviations; a channel that is the same everywhere gets 1.
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
