"""NumPy files of images and labels."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prejudge.data.dataset import SPLITS, ImageDataset, NoSuchSplit, channel_statistics, check_images, check_labels
from prejudge.data.decoding import MOST_BYTES
from prejudge.errors import FileFormatError, InputError, MissingDataError, unknown
from prejudge.formats.zip import PickledObjects, read_arrays

NPZ_KEYS = {
    "train": (("x_train", "y_train"), ("x", "y"), ("images", "labels")),
    "valid": (("x_valid", "y_valid"), ("x_val", "y_val")),
    "test": (("x_test", "y_test"),),
}
"""Names of the two arrays of each split, in the order in which they are looked for."""

UNLABELLED_CLASSES = 10
"""Classes of images without labels: outputs of a network that never sees a label."""

_MOST_CHANNELS = 1024


def read_npz(path: Path, split: str, *, labels: bool = True) -> ImageDataset:
    """Images and labels of a NumPy file.

    Args:
        path: ``.npz`` with uint8 images ``(N, H, W, C)`` or ``(N, H, W)`` and integer labels ``(N,)`` or ``(N, 1)``;
            see :data:`NPZ_KEYS` for the names. An optional ``num_classes`` says how many classes there are.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        labels: Whether labels are needed. Otherwise images that have none get label 0, of :data:`UNLABELLED_CLASSES`
            classes unless ``num_classes`` says how many.

    Returns:
        The images; classes are counted over all splits, mean and standard deviation are those of the training images.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is not a NumPy file, or truncated.
        InputError: It lacks the arrays, or they are not images with labels.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    arrays = _npz_arrays(path)
    pairs = {s: pair for s in SPLITS if (pair := next((p for p in NPZ_KEYS[s] if p[0] in arrays), None))}
    if split not in pairs:
        wanted = " or ".join(" and ".join(p) if labels else p[0] for p in NPZ_KEYS[split])
        raise NoSuchSplit(f"{path} has no {split} images: {wanted} is needed, it has {', '.join(arrays) or 'nothing'}")
    for x, y in pairs.values():
        if labels and y not in arrays:
            raise InputError(f"{path} has images {x} but no labels {y}")
    x, y = pairs[split]
    if y in arrays:
        targets, classes = _npz_labels(path, arrays, pairs, split)
    else:
        targets = np.zeros(len(arrays[x]), dtype=np.int64)
        classes = _class_count(path, arrays) if "num_classes" in arrays else UNLABELLED_CLASSES
    images = _with_channels(arrays[x], f"{path}: {x}")
    check_labels(targets, classes, f"{path}: {y}")
    reference = images if "train" not in pairs or split == "train" else _with_channels(
        arrays[pairs["train"][0]], f"{path}: {pairs['train'][0]}"
    )  # fmt: skip
    mean, std = channel_statistics(reference)
    return ImageDataset(path.stem, images, targets, classes, mean, std)


def _npz_arrays(path: Path) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        raise MissingDataError(
            f"no file {path}: it should hold uint8 images (N, H, W, C) and labels (N,), "
            "e.g. x_train, y_train, x_test, y_test"
        )
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise InputError(f"{path} holds one bare array; images and labels are needed (numpy.savez)")
    wanted = {key for pairs in NPZ_KEYS.values() for pair in pairs for key in pair} | {"num_classes"}
    try:
        arrays = read_arrays(path, most_bytes=MOST_BYTES, wanted=wanted.__contains__)
        return arrays or read_arrays(path, most_bytes=MOST_BYTES)
    except PickledObjects:
        raise InputError(f"{path} holds Python objects; save plain arrays of numbers") from None
    except FileFormatError as error:
        if zipfile.is_zipfile(path):
            raise
        raise FileFormatError(f"{path} is not a NumPy file, or it is truncated") from error


def _npz_labels(
    path: Path, arrays: Mapping[str, np.ndarray], pairs: Mapping[str, tuple[str, str]], split: str
) -> tuple[np.ndarray, int]:
    """Labels of a split, and the number of classes: that of the training images where they have labels."""
    labels = {s: _integers(arrays[y], f"{path}: {y}") for s, (_, y) in pairs.items() if y in arrays}
    x, y = pairs[split]
    if not labels[split].size:
        raise InputError(f"{path}: {y} is empty")
    images = arrays[x].shape[0] if arrays[x].ndim else 0
    if images != len(labels[split]):
        raise InputError(f"{path}: {images} images {x} but {len(labels[split])} labels {y}")
    base = labels.get("train", labels[split])
    classes = _class_count(path, arrays) if "num_classes" in arrays else int(base.max(initial=-1)) + 1
    if "num_classes" not in arrays and "train" in labels and split != "train" and int(labels[split].max()) >= classes:
        raise InputError(f"{path}: {y} has label {labels[split].max()}, the training labels end at {classes - 1}")
    return labels[split], classes


def _class_count(path: Path, arrays: Mapping[str, np.ndarray]) -> int:
    said = arrays["num_classes"]
    if said.size != 1 or said.dtype.kind not in "iu":
        raise InputError(f"{path}: num_classes must be one integer, not {said.dtype} of shape {said.shape}")
    return int(said.item())


def _with_channels(images: np.ndarray, what: str) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    check_images(images, what)
    if images.shape[3] > _MOST_CHANNELS:
        raise InputError(f"{what}: shape {images.shape}, but images have at most {_MOST_CHANNELS} channels (last)")
    return images


def _integers(labels: np.ndarray, what: str) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise InputError(f"{what} must be integers, not {labels.dtype}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"{what} must have shape (N,), not {labels.shape} (one-hot labels: argmax(1) first)")
    return labels.astype(np.int64)
