"""Images and labels: every ``--data`` kind, and the batch that a proxy looks at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prejudge.data import files, published
from prejudge.data.dataset import ImageDataset, channel_statistics, no_such_split
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.errors import InputError, quoted, unknown
from prejudge.formats.text import user_path, whole_number

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KINDS", "Batch", "ImageDataset", "batch", "digits", "load"]

KINDS = {
    "digits": "1,797 images of digits, 8x8 grey (scikit-learn); splits train (1,000), valid (397), test (400)",
    "cifar10": "50,000 + 10,000 color images 32x32, 10 classes (torchvision's files); train, test",
    "cifar100": "50,000 + 10,000 color images 32x32, 100 classes (torchvision's files); train, test",
    "svhn": "73,257 + 26,032 color images 32x32 of house numbers (torchvision's files); train, test",
    "imagenet16-120": "151,700 + 6,000 color images 16x16, the first 120 classes of ImageNet16; train, test",
    "imagenet": "ImageNet-1k from folders train/ and val/, scaled to 224x224 (imagenet@SIZE: else); train, test",
    "npz:FILE": "NumPy file: uint8 images (N, H, W, C) and labels, named x, y or x_train, y_train … or images, labels",
    "folder:DIR": "folder of class folders, or of train/ and test/ with class folders (folder:DIR@SIZE: scaled)",
}
"""Every kind that :func:`load` takes, with what it is."""

DIGITS_SPLITS = {"train": (0, 1000), "valid": (1000, 1397), "test": (1397, 1797)}
"""Which digits each split has, after they were put in a fixed random order."""


def load(
    kind: str,
    *,
    split: str = "train",
    data_dir: Path | None = None,
    download: bool = False,
    normalization: str | None = None,
    per_class: int | None = None,
    labels: bool = True,
) -> ImageDataset:
    """Read a set of images.

    Args:
        kind: One of :data:`KINDS`; ``folder:DIR@SIZE`` and ``imagenet@SIZE`` scale the images to SIZE x SIZE.
        split: ``"train"``, ``"test"`` or, where the set has one, ``"valid"``.
        data_dir: Folder with the files of a named set; the user's data folder where left out.
        download: Fetch a named set that is not there. Nothing is ever fetched otherwise.
        normalization: Name of a published normalization (``"cifar10"`` …), or ``"own"`` to compute it from the set's
            training images. By default the published one of a named set, and ``"own"`` for any other.
        per_class: Read only the first so many images of each class of a folder (for ``imagenet`` 10 where left out).
        labels: Whether a NumPy file must have labels; without any, all images count as of class 0.

    Returns:
        The images.

    Raises:
        InputError: The kind, the split or the normalization is unknown, or the files hold something else than images
            with labels.
        MissingDataError: A file is not there; the message says which, where it belongs and how to get it.
        FileFormatError: A file is truncated or damaged.
    """
    name, argument, size = _parse(kind)
    if per_class is not None and name not in ("folder", "imagenet"):
        raise InputError(f"per_class is for folders of images, not for {kind}")
    if name == "digits":
        found = digits(split)
    elif name == "npz":
        found = files.read_npz(user_path(argument), split, labels=labels)
    elif name == "folder":
        found = files.read_folder(user_path(argument), split, size=size, per_class=per_class)
    else:
        found = published.read(name, split, data_dir, download=download, size=size, per_class=per_class)
    if normalization is None:
        return found
    return _renormalized(found, normalization, lambda: found if split == "train" else load(kind, data_dir=data_dir))


def digits(split: str = "train") -> ImageDataset:
    """Scikit-learn's digits: 8x8, one channel, 10 classes; 16 grey levels spread over 0..255.

    The images are in a fixed random order (scikit-learn's is by writer); the first 1,000 are ``train``, the next 397
    ``valid``, the last 400 ``test``.
    """
    if split not in DIGITS_SPLITS:
        raise no_such_split("digits", split, DIGITS_SPLITS)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images = np.rint(bunch.images[order] * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target[order].astype(np.int64)
    mean, std = channel_statistics(images[slice(*DIGITS_SPLITS["train"])])
    part = slice(*DIGITS_SPLITS[split])
    return ImageDataset("digits", images[part], labels[part], 10, mean, std)


@dataclass(frozen=True, eq=False)
class Batch:
    """Images as a network takes them.

    Attributes:
        inputs: float32, ``(N, C, H, W)``, normalized.
        targets: int64, ``(N,)``.
        digest: SHA-256 prefix of both.
        description: What is in it, in words.
    """

    inputs: Tensor
    targets: Tensor
    digest: str
    description: str

    def __len__(self) -> int:
        return len(self.targets)


def batch(data: ImageDataset, size: int = 64, *, seed: int = 0, augment: bool = False) -> Batch:
    """A batch drawn from a set: the same seed draws the same one, on any machine.

    Args:
        data: The images.
        size: Images in the batch, drawn uniformly without replacement.
        seed: Of the draw, and of the augmentation.
        augment: Random crop from a border of 4 zero pixels and horizontal flip of half of the images, as the training
            loaders of zero-cost-nas, HNAS and TE-NAS do.

    Returns:
        The batch, on the CPU.

    Raises:
        InputError: ``size`` or ``seed`` is out of range.
    """
    import torch

    from prejudge.data.transforms import crop_and_flip, normalize

    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise InputError(f"a batch needs at least one image; size is {size!r}")
    if size > len(data):
        raise InputError(f"a batch of {size} images cannot be drawn from the {len(data)} of {data.name}")
    if seed < 0:
        raise InputError(f"the seed of a batch must be at least 0, not {seed}")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(data), size=size, replace=False)
    images = torch.from_numpy(data.images[chosen]).permute(0, 3, 1, 2).contiguous()
    if augment:
        images = crop_and_flip(images, torch.Generator().manual_seed(int(rng.integers(2**63))))
    inputs = normalize(images, data.mean, data.std)
    targets = torch.from_numpy(data.labels[chosen])
    digest = hashlib.sha256(inputs.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()[:16]
    how = ", cropped and flipped" if augment else ""
    return Batch(inputs, targets, digest, f"{size} images of {data.name}, seed {seed}{how}")


def _parse(kind: str) -> tuple[str, str, int | None]:
    """Name, argument and size of ``NAME``, ``NAME:ARGUMENT`` and either with ``@SIZE``."""
    name, colon, argument = kind.partition(":")
    size: int | None = None
    text, at, number = kind.rpartition("@")
    # A folder may have an @ in its name: only what does not exist with it is a size.
    if at and number.isdecimal() and not (colon and _exists(argument)):
        name, colon, argument = text.partition(":")
        size = whole_number(number) or 0
    known = {k.partition(":")[0]: ":" in k for k in KINDS}
    if name not in known:
        raise unknown("data", kind, KINDS)
    if known[name] != bool(colon and argument):
        raise InputError(f"data {quoted(kind)}: write {next(k for k in KINDS if k.partition(':')[0] == name)}")
    if size is not None and name not in ("folder", "imagenet"):
        raise InputError(f"data {quoted(kind)}: only folders of images can be scaled (folder:DIR@SIZE, imagenet@SIZE)")
    if size is not None and not 1 <= size <= 1024:
        raise InputError(f"data {quoted(kind)}: the size must be from 1 to 1024 pixels")
    return name, argument, size


def _exists(path: str) -> bool:
    try:
        return user_path(path).exists()
    except (OSError, ValueError):
        return False


def _renormalized(data: ImageDataset, normalization: str, train: Callable[[], ImageDataset]) -> ImageDataset:
    if normalization == "own":
        mean, std = channel_statistics(train().images)
    elif normalization in NORMALIZATIONS:
        mean, std = NORMALIZATIONS[normalization]
    else:
        raise unknown("normalization", normalization, ["own", *NORMALIZATIONS])
    if len(mean) != data.in_channels:
        raise InputError(
            f"normalization {normalization!r} is for {len(mean)} channels; {data.name} has {data.in_channels}"
        )
    return replace(data, mean=mean, std=std)
