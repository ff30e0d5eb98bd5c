"""The splits of a dataset: training, validation and test images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prejudge.data.dataset import ImageDataset, NoSuchSplit
from prejudge.data.loading import load
from prejudge.errors import InputError


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """Images to learn, to validate on while deciding, and to test on at the end.

    Attributes:
        train: Training images.
        valid: Validation images, if there are any.
        test: Test images, if there are any.

    Raises:
        InputError: Shapes or classes differ between the splits.
    """

    train: ImageDataset
    valid: ImageDataset | None = None
    test: ImageDataset | None = None

    def __post_init__(self) -> None:
        train = self.train
        for split, images in self.named().items():
            if (images.shape, images.num_classes) != (train.shape, train.num_classes):
                raise InputError(
                    f"{train.name}: training images are {train.shape} of {train.num_classes} classes, "
                    f"{split} images {images.shape} of {images.num_classes}"
                )

    def __repr__(self) -> str:
        height, width, channels = self.train.shape
        counts = ", ".join(f"{len(images)} {split}" for split, images in self.named().items())
        return f"<{self.name}: images {height}x{width}x{channels}, {self.train.num_classes} classes: {counts}>"

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.train.name

    def named(self) -> dict[str, ImageDataset]:
        """The splits that there are, by name."""
        every = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: images for split, images in every.items() if images is not None}

    def required(self, split: str) -> ImageDataset:
        """The images of a split; raises :class:`InputError` where there are none."""
        try:
            return self.named()[split]
        except KeyError:
            raise InputError(f"{self.name} has no {split} images; load_splits(..., held_out=0.2) makes some") from None

    def with_train_images(self, count: int) -> Splits:
        """Keep only the first ``count`` training images; raises :class:`InputError` if a class is lost by that."""
        train = self.train
        if not 1 <= count <= len(train):
            raise InputError(f"{self.name} has {len(train)} training images; {count} of them cannot be taken")
        classes, kept = len(np.unique(train.labels)), len(np.unique(train.labels[:count]))
        if kept < min(classes, count):
            raise InputError(
                f"the first {count} training images of {self.name} have {kept} of {classes} classes; shuffle the file"
            )
        return replace(self, train=train.subset(slice(count)))


def random_split(data: ImageDataset, share: float = 0.5, *, seed: int = 0) -> tuple[ImageDataset, ImageDataset]:
    """Split a dataset in two at random, as DARTS and its kin do with the training images.

    Args:
        data: The images.
        share: Share of them that the first part gets; rounded down.
        seed: Of the draw.

    Returns:
        The two parts, each in the order of the dataset.

    Raises:
        InputError: A part would be empty.
    """
    first = int(share * len(data)) if 0 < share < 1 else 0
    if not 1 <= first < len(data):
        raise InputError(f"{data.name}: {len(data)} images cannot be split with a share of {share}")
    order = np.random.default_rng(seed).permutation(len(data))
    return data.subset(np.sort(order[:first])), data.subset(np.sort(order[first:]))


def load_splits(
    kind: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    normalization: str | None = None,
    per_class: int | None = None,
    verify: bool = True,
    held_out: float = 0.2,
    seed: int = 0,
    in_memory: bool | None = True,
) -> Splits:
    """Read all splits of a dataset.

    >>> load_splits("digits")
    <digits: images 8x8x1, 10 classes: 1000 train, 397 valid, 400 test>

    Args:
        kind: As in :func:`prejudge.data.load`, as are ``data_dir``, ``download``, ``normalization``, ``per_class``,
            ``verify`` and ``in_memory``.
        held_out: Share of the training images that each missing split takes, drawn at random and without overlap; with
            0 nothing is drawn, and splits that the dataset does not have are None.
        seed: Of that draw.

    Raises:
        InputError: There are too few images to hold some out; also raises what :func:`prejudge.data.load` raises.
    """
    if not 0 <= held_out < 0.5:
        raise InputError(f"held_out is a share from 0 to below 0.5, not {held_out}")

    def read(split: str, download: bool = False) -> ImageDataset:
        return load(
            kind,
            split=split,
            data_dir=data_dir,
            download=download,
            normalization=normalization,
            per_class=per_class,
            verify=verify,
            in_memory=in_memory,
        )

    train = read("train", download)
    found: dict[str, ImageDataset] = {}
    for split in ("valid", "test"):
        try:
            found[split] = read(split)
        except NoSuchSplit:
            continue
    missing = [split for split in ("valid", "test") if split not in found]
    if missing and held_out:
        order = np.random.default_rng(seed).permutation(len(train))
        count = int(held_out * len(train))
        if count < 1:
            raise InputError(
                f"{train.name}: {len(train)} images are too few to hold out {' and '.join(missing)} images"
            )
        for split in missing:
            found[split], order = train.subset(np.sort(order[:count])), order[count:]
        train = train.subset(order)
    return Splits(train, found.get("valid"), found.get("test"))
