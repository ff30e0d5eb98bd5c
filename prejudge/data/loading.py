"""Every ``--data`` kind, read by one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from prejudge.data import published
from prejudge.data.dataset import ImageDataset, channel_statistics, no_such_split
from prejudge.data.decoding import decode_image
from prejudge.data.folder import class_files, read_folder
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.data.npz import read_npz
from prejudge.errors import InputError, quoted, unknown
from prejudge.formats.text import user_path, whole_number

KINDS = {
    "digits": "1,797 images of digits, 8x8 grey (scikit-learn); splits train (1,000), valid (397), test (400)",
    "cifar10": "50,000 + 10,000 color images 32x32, 10 classes (torchvision's files); train, test",
    "cifar100": "50,000 + 10,000 color images 32x32, 100 classes (torchvision's files); train, test",
    "svhn": "73,257 + 26,032 color images 32x32 of house numbers (torchvision's files); train, test",
    "mnist": "60,000 + 10,000 grey images 28x28 of digits (torchvision's files); train, test",
    "fashionmnist": "60,000 + 10,000 grey images 28x28 of clothes (torchvision's files); train, test",
    "imagenet16-120": "151,700 + 6,000 color images 16x16, the first 120 classes of ImageNet16; train, test",
    "imagenet": "ImageNet-1k from folders train/ and val/, scaled to 224x224 (imagenet@SIZE: else); train, test",
    "npz:FILE": "NumPy file: uint8 images (N, H, W, C) and labels, named x, y or x_train, y_train … or images, labels",
    "folder:DIR": "folder of class folders, or of train/ and test/ with class folders (folder:DIR@SIZE: scaled)",
}
"""Every kind that :func:`load` takes, with a description."""

LARGE = 96
"""Images with at least so many pixels a side may stay in their files, and are trained as ImageNet's are."""

DIGITS_SPLITS = {"train": (0, 1000), "valid": (1000, 1397), "test": (1397, 1797)}
"""First digit of each split and the one after its last, once they are in a fixed random order."""


def load(
    kind: str,
    *,
    split: str = "train",
    data_dir: Path | None = None,
    download: bool = False,
    normalization: str | None = None,
    per_class: int | None = None,
    labels: bool = True,
    in_memory: bool | None = True,
    verify: bool = True,
) -> ImageDataset:
    """Read one split of a dataset.

    >>> load("digits")
    <digits: 1000 images 8x8x1, 10 classes, cc11f60a74c2d1a1>

    Args:
        kind: One of :data:`KINDS`; ``folder:DIR@SIZE`` and ``imagenet@SIZE`` scale the images to SIZE x SIZE.
        split: ``"train"``, ``"test"`` or, where the dataset has one, ``"valid"``.
        data_dir: Folder with the files of a named dataset; the user's data folder where left out.
        download: Fetch a named dataset that is not there. Nothing is ever fetched otherwise.
        normalization: Name of a published normalization (``"cifar10"`` …), or ``"own"`` to compute it from the training
            images. By default the published one of a named dataset, ImageNet's for images in files, and ``"own"`` for
            any other.
        per_class: Read only the first so many images of each class of a folder (for ``imagenet`` in memory 10 where
            left out).
        labels: Whether a NumPy file must have labels; without any, all images count as of class 0.
        in_memory: Whether to read all images now. ``False`` leaves those of folders and of ImageNet in their files;
            ``None`` does so where they are large: ImageNet, and folders of images of at least :data:`LARGE` pixels, of
            which no ``@SIZE`` is asked.
        verify: Whether the files of ``cifar10``, ``cifar100`` and ``svhn`` must be the published ones, by their
            checksums. Others in that layout are read by a reader that runs nothing in them.

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
    folder = user_path(argument) if argument else Path()
    if in_memory is None:
        in_memory = size is not None or not (name == "imagenet" or (name == "folder" and _has_large_images(folder)))
    if name == "digits":
        found = digits(split)
    elif name == "npz":
        found = read_npz(folder, split, labels=labels)
    elif name == "folder":
        found = read_folder(folder, split, size=size, per_class=per_class, in_memory=in_memory)
    else:
        found = published.read(
            name,
            split,
            data_dir,
            download=download,
            size=size,
            per_class=per_class,
            in_memory=in_memory,
            verify=verify,
        )
        found = replace(found, published=True)
    if normalization is None:
        return found
    return _renormalized(
        found, normalization, lambda: found if split == "train" else load(kind, data_dir=data_dir, verify=verify)
    )


def digits(split: str = "train") -> ImageDataset:
    """Read scikit-learn's digits: 8x8, one channel, 10 classes; 16 grey levels spread over 0..255.

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
    chosen = slice(*DIGITS_SPLITS[split])
    return ImageDataset("digits", images[chosen], labels[chosen], 10, mean, std)


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


def _has_large_images(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    files = [file for group in class_files(folder, "train")[2].values() for file in group]
    return max(decode_image(files[0]).size) >= LARGE


def _renormalized(data: ImageDataset, normalization: str, train: Callable[[], ImageDataset]) -> ImageDataset:
    if normalization == "own" and not data.in_memory:
        raise InputError(f"{data.name}: images in files are too many to compute their own normalization; name another")
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
