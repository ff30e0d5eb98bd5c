"""The three sets that a training needs: images to learn, to validate on, and to test on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from prejudge.data.dataset import ImageDataset, NoSuchSplit
from prejudge.data.loading import load
from prejudge.errors import InputError


@dataclass(frozen=True, eq=False)
class Splits:
    """Images to learn, to validate on while deciding, and to test on at the end; none is in two of them.

    Attributes:
        train: Training images.
        valid: Validation images.
        test: Test images.
    """

    train: ImageDataset
    valid: ImageDataset
    test: ImageDataset

    def __post_init__(self) -> None:
        shape = self.train.images.shape[1:]
        for what in ("valid", "test"):
            other: ImageDataset = getattr(self, what)
            if other.images.shape[1:] != shape or other.num_classes != self.train.num_classes:
                raise InputError(
                    f"{self.train.name}: training images are {shape} of {self.train.num_classes} classes, "
                    f"{what} images {other.images.shape[1:]} of {other.num_classes}"
                )

    @property
    def name(self) -> str:
        """What the data is called."""
        return self.train.name

    def with_train_images(self, count: int) -> Splits:
        """Learn only the first ``count`` training images; raises :class:`InputError` if a class is lost by that."""
        train = self.train
        if not 1 <= count <= len(train):
            raise InputError(f"{self.name} has {len(train)} training images; {count} of them cannot be taken")
        classes, kept = len(np.unique(train.labels)), len(np.unique(train.labels[:count]))
        if kept < min(classes, count):
            raise InputError(
                f"the first {count} training images of {self.name} have {kept} of {classes} classes; shuffle the file"
            )
        return replace(self, train=train.part(slice(count)))


class _Parted(Protocol):
    """Images that can be parted: in memory, or files."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def part(self: P, chosen: np.ndarray | slice) -> P: ...


P = TypeVar("P", bound=_Parted)


def split_in_two(data: P, share: float = 0.5, *, seed: int = 0) -> tuple[P, P]:
    """Part training images at random: some to learn, the others to validate on, as DARTS and its kin search.

    Args:
        data: The images.
        share: How many of them the first part gets; rounded down.
        seed: Of the draw.

    Raises:
        InputError: A part would be empty.
    """
    first = int(share * len(data)) if 0 < share < 1 else 0
    if not 1 <= first < len(data):
        raise InputError(f"{data.name}: {len(data)} images cannot be parted with a share of {share}")
    order = np.random.default_rng(seed).permutation(len(data))
    return data.part(np.sort(order[:first])), data.part(np.sort(order[first:]))


def load_splits(
    kind: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    normalization: str | None = None,
    held_out: float = 0.2,
    seed: int = 0,
) -> Splits:
    """Read all splits of a set; those that it does not have are split off its training images.

    Args:
        kind: As in :func:`prejudge.train.load`, as are ``data_dir``, ``download`` and ``normalization``.
        held_out: Share of the training images that each missing split takes, drawn at random and without overlap.
        seed: Of that draw.

    Raises:
        InputError: There are too few images to hold some out.
    """
    if not 0 < held_out < 0.5:
        raise InputError(f"held_out is a share between 0 and 0.5, not {held_out}")
    train = load(kind, data_dir=data_dir, download=download, normalization=normalization)
    found: dict[str, ImageDataset] = {}
    for split in ("valid", "test"):
        try:
            found[split] = load(kind, split=split, data_dir=data_dir, normalization=normalization)
        except NoSuchSplit:
            continue
    missing = [s for s in ("valid", "test") if s not in found]
    if missing:
        order = np.random.default_rng(seed).permutation(len(train))
        count = int(held_out * len(train))
        if count < 1:
            raise InputError(
                f"{train.name}: {len(train)} images are too few to hold out {' and '.join(missing)} images"
            )
        for split in missing:
            found[split], order = train.part(np.sort(order[:count])), order[count:]
        train = train.part(order)
    return Splits(train, found["valid"], found["test"])
