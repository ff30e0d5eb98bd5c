"""Images in the layout of CIFAR's or SVHN's files, whatever their checksums.

The published files are read by torchvision, which unpickles CIFAR's once it knows their checksums. Others may hold
anything: here the restricted unpickler reads them, which runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.pickle.files import load_pickle


@dataclass(frozen=True)
class FileLayout:
    """Where a dataset's images and labels are.

    Attributes:
        files: Names below the data folder, by split.
        images: Key of the images: of pickles ``(N, 3072)``, of MATLAB's files ``(32, 32, 3, N)``.
        labels: Key of the labels.
        classes: Number of classes.
    """

    files: Mapping[str, tuple[str, ...]]
    images: str
    labels: str
    classes: int = 10


LAYOUTS = {
    "cifar10": FileLayout(
        {
            "train": tuple(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
            "test": ("cifar-10-batches-py/test_batch",),
        },
        "data",
        "labels",
    ),
    "cifar100": FileLayout(
        {"train": ("cifar-100-python/train",), "test": ("cifar-100-python/test",)}, "data", "fine_labels", 100
    ),
    "svhn": FileLayout({"train": ("train_32x32.mat",), "test": ("test_32x32.mat",)}, "X", "y"),
}
"""By the name of the dataset."""


def read_layout(name: str, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 32, 32, 3)`` uint8 and labels ``(N,)`` int64 of files in the layout of a published dataset.

    Args:
        name: One of :data:`LAYOUTS`.
        split: ``"train"`` or ``"test"``.
        folder: The data folder.

    Raises:
        MissingDataError: A file is not there.
        FileFormatError: A file holds something else.
    """
    layout = LAYOUTS[name]
    parts = [_read(layout, folder / file) for file in layout.files[split]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, labels


def _read(layout: FileLayout, path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    is_matlab = path.suffix == ".mat"
    content = _matlab(path) if is_matlab else load_pickle(path)
    try:
        images, labels = np.asarray(content[layout.images]), np.asarray(content[layout.labels]).reshape(-1)
    except (KeyError, TypeError, ValueError):
        raise FileFormatError(f"{path}: there is no {layout.images!r} or no {layout.labels!r} in it") from None
    if is_matlab and images.shape[:3] == (32, 32, 3) and images.ndim == 4:
        images, labels = images.transpose(3, 0, 1, 2), np.where(labels == 10, 0, labels)  # 10 is the digit 0
    elif not is_matlab and images.ndim == 2 and images.shape[1] == 3072:
        images = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    else:
        raise FileFormatError(f"{path}: the images are {images.shape}; of this layout they have 32 x 32 x 3 pixels")
    if images.dtype != np.uint8 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise FileFormatError(
            f"{path}: {images.dtype} images {images.shape} and {labels.dtype} labels {labels.shape}; "
            "uint8 images and as many integers are needed"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < layout.classes:
        raise FileFormatError(f"{path}: labels are {labels.min()} to {labels.max()}, not 0 to {layout.classes - 1}")
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _matlab(path: Path) -> Any:
    from scipy.io import loadmat

    try:
        return loadmat(path)
    except Exception as error:  # scipy raises anything for a damaged file
        raise FileFormatError(f"{path} is no MATLAB file, or is damaged ({type(error).__name__})") from None
