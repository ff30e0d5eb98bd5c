"""Folders of images with one sub-folder per class, read into memory or listed to be read later."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prejudge.data.dataset import SPLITS, ImageDataset, NoSuchSplit, channel_statistics
from prejudge.data.decoding import IMAGE_SUFFIXES, decode_images
from prejudge.data.image_files import IMAGE_SIZE, ImageFiles
from prejudge.data.normalization import NORMALIZATIONS, Normalization
from prejudge.errors import InputError, MissingDataError, unknown

FOLDER_NAMES = {"train": ("train",), "valid": ("valid",), "test": ("test", "val")}
"""Sub-folders of each split, in the order of the look-up; ImageNet's ``val`` is what everybody tests on."""


def read_folder(
    folder: Path,
    split: str = "train",
    *,
    size: int | None = None,
    per_class: int | None = None,
    name: str | None = None,
    normalization: Normalization | None = None,
    in_memory: bool = True,
) -> ImageDataset:
    """Read the images in class sub-folders; the classes are the sub-folders' names in alphabetical order.

    Args:
        folder: Class folders, or ``train`` and ``test`` (or ``val``, ``valid``) with class folders in each.
        split: ``"train"``, ``"valid"`` or ``"test"``; class folders without a split are ``"train"``.
        size: Scale the shorter side to this and cut out the center. Without it images in memory must all be of one
            size, and those in files become 224 pixels large.
        per_class: Take only the first so many images of each class, in the order of their names.
        name: Name of the dataset; the folder's where left out.
        normalization: Mean and standard deviation of each channel; where left out, those of the training images, or
            ImageNet's for images in files.
        in_memory: Whether to decode the images now; otherwise none is read, and they stay in their files.

    Returns:
        The images: RGB, or grey where all images in memory are.

    Raises:
        MissingDataError: The folder does not exist.
        FileFormatError: A file is not an image, or truncated.
        InputError: There are no classes or no images, a class is not among those of the training images, sizes differ,
            or the images do not fit into memory.
    """
    where, train, by_class = class_files(folder, split, per_class)
    files = [file for group in by_class.values() for file in group]
    labels = np.repeat(np.arange(len(by_class), dtype=np.int64), [len(group) for group in by_class.values()])
    name, classes = name or folder.resolve().name, tuple(by_class)
    if not in_memory:
        listed = ImageFiles.of(where, files, size or IMAGE_SIZE)
        return ImageDataset(name, listed, labels, len(classes), *(normalization or NORMALIZATIONS["imagenet"]), classes)
    images = decode_images(files, size)
    if normalization is None and train == where:
        normalization = channel_statistics(images)
    elif normalization is None:
        reference = read_folder(folder, "train", size=size or images.shape[1], per_class=per_class)
        normalization = reference.mean, reference.std
    mean, std = normalization
    if images.shape[3] < len(mean):  # all grey, in a dataset of color images
        images = images.repeat(len(mean), axis=3)
    return ImageDataset(name, images, labels, len(classes), mean, std, classes)


def class_files(folder: Path, split: str, per_class: int | None = None) -> tuple[Path, Path, dict[str, list[Path]]]:
    """List the image files of every class of a split, in alphabetical order, without reading any.

    Args:
        folder: As for :func:`read_folder`, as are ``split`` and ``per_class``.

    Returns:
        The folder with the class folders of this split, that of the training images, and the files by class: all
        classes of the training images, some of which may have none here.

    Raises:
        MissingDataError: The folder does not exist.
        InputError: There are no classes or no images, or a class is not among those of the training images.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if per_class is not None and per_class < 1:
        raise InputError(f"per_class must be at least 1, not {per_class}")
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}: it should hold one folder of images per class")
    where = _split_folder(folder, split)
    train = where if split == "train" or where == folder else _split_folder(folder, "train", missing_ok=True)
    classes = _class_names(train)
    strange = sorted(set(_class_names(where)) - set(classes))
    if strange:
        raise InputError(f"{where}: class {strange[0]} is not among the training classes in {train}")
    found = {c: _image_files(where / c)[:per_class] for c in classes}
    if not any(found.values()):
        raise InputError(f"{where}: no images ({', '.join(IMAGE_SUFFIXES)}) in any of its {len(classes)} class folders")
    return where, train, found


def _split_folder(folder: Path, split: str, *, missing_ok: bool = False) -> Path:
    for name in FOLDER_NAMES[split]:
        if (folder / name).is_dir():
            return folder / name
    has_splits = any((folder / n).is_dir() and any(d.is_dir() for d in (folder / n).iterdir())
                     for names in FOLDER_NAMES.values() for n in names)  # fmt: skip
    if split == "train" and not has_splits:
        return folder
    if missing_ok:
        return _split_folder(folder, "test")
    raise NoSuchSplit(f"{folder} has no {split} images: a folder {' or '.join(FOLDER_NAMES[split])} is needed in it")


def _class_names(folder: Path) -> list[str]:
    names = sorted(d.name for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))
    if not names:
        raise InputError(f"{folder} has no class folders; put the images of each class into a folder of its own")
    return names


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith("."))
