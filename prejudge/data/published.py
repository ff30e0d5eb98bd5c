"""The published datasets: CIFAR, SVHN, MNIST, ImageNet16-120 and ImageNet, read from the files of their authors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.data.dataset import ImageDataset, no_such_split
from prejudge.data.folder import read_folder
from prejudge.data.image_files import IMAGE_SIZE
from prejudge.data.layouts import LAYOUTS, read_layout
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.formats.pickle.files import load_pickle

IMAGENET_PER_CLASS = 10
"""Images of each class that are read where nothing is said: all 1.28 million do not fit into memory."""


@dataclass(frozen=True)
class _Archive:
    """A dataset that torchvision reads.

    Attributes:
        dataset: Name of torchvision's class.
        files: Name below the data folder that must be there, by split.
        source: Where to get it.
        num_classes: Number of classes.
    """

    dataset: str
    files: dict[str, str]
    source: str
    num_classes: int = 10

    def open(self, folder: Path, split: str, *, download: bool) -> Any:
        """The object of torchvision's class."""
        from torchvision import datasets

        which = {"split": split} if self.dataset == "SVHN" else {"train": split == "train"}
        return getattr(datasets, self.dataset)(str(folder), download=download, **which)


def _cifar(classes: int) -> _Archive:
    folder = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
    address = f"https://www.cs.toronto.edu/~kriz/cifar-{classes}-python.tar.gz"
    return _Archive(f"CIFAR{classes}", {"train": folder, "test": folder}, f"unpack {address} there", classes)


def _mnist(name: str) -> _Archive:
    files = {"train": f"{name}/raw/train-images-idx3-ubyte", "test": f"{name}/raw/t10k-images-idx3-ubyte"}
    return _Archive(name, files, f"unpack its four files into {name}/raw there")


_ARCHIVES = {
    "cifar10": _cifar(10),
    "cifar100": _cifar(100),
    "svhn": _Archive(
        "SVHN",
        {"train": "train_32x32.mat", "test": "test_32x32.mat"},
        "get it from http://ufldl.stanford.edu/housenumbers/",
    ),
    "mnist": _mnist("MNIST"),
    "fashionmnist": _mnist("FashionMNIST"),
}

_IMAGENET16_FILES = {"train": tuple(f"train_data_batch_{i}" for i in range(1, 11)), "test": ("val_data",)}
_IMAGENET16_FOLDERS = ("ImageNet16", "imagenet16-120", "imagenet16", ".")


def default_folder() -> Path:
    """The folder of named datasets where none is given; downloads go there, too."""
    from platformdirs import user_data_path

    return Path(user_data_path("prejudge", appauthor=False)) / "data"


def read(
    name: str,
    split: str,
    data_dir: Path | None = None,
    *,
    download: bool = False,
    size: int | None = None,
    per_class: int | None = None,
    in_memory: bool = True,
    verify: bool = True,
) -> ImageDataset:
    """Read a published dataset.

    Args:
        name: ``"cifar10"``, ``"cifar100"``, ``"svhn"``, ``"mnist"``, ``"fashionmnist"``, ``"imagenet16-120"`` or
            ``"imagenet"``.
        split: ``"train"`` or ``"test"``.
        data_dir: Folder with its files; :func:`default_folder` where left out.
        download: Fetch what is missing, where the dataset can be fetched.
        size: Side of the images, for ``imagenet``.
        per_class: Images of each class to read, for ``imagenet``; :data:`IMAGENET_PER_CLASS` where left out and all are
            read into memory.
        in_memory: Whether to read all images now; those of ``imagenet`` alone can stay in their files.
        verify: Whether files must have the published checksums, where there are some.

    Raises:
        InputError: The split is unknown, or the dataset cannot be downloaded.
        MissingDataError: A file is missing.
        FileFormatError: A file is damaged.
        PrejudgeError: The download failed.
    """
    if split not in ("train", "test"):
        raise no_such_split(name, split, ("train", "test"))
    folder = Path(data_dir).expanduser() if data_dir is not None else default_folder()
    if not verify and name in LAYOUTS and not download:
        images, labels = read_layout(name, split, folder)
        return ImageDataset(name, images, labels, _ARCHIVES[name].num_classes, *NORMALIZATIONS[name])
    if name in _ARCHIVES:
        return _read_archive(name, _ARCHIVES[name], split, folder, download)
    if download:
        raise InputError(f"{name} cannot be downloaded; {_HOW_TO_GET[name]}")
    if name == "imagenet16-120":
        return _read_imagenet16(split, folder)
    if in_memory and per_class is None:
        per_class = IMAGENET_PER_CLASS
    where = _imagenet_folder(split, folder)
    size, normalization = size or IMAGE_SIZE, NORMALIZATIONS["imagenet"]
    return read_folder(
        where, split, size=size, per_class=per_class, name=name, normalization=normalization, in_memory=in_memory
    )


_HOW_TO_GET = {
    "imagenet16-120": "get the ImageNet16 files (train_data_batch_1 … 10, val_data) that NAS-Bench-201's page links to",
    "imagenet": "get ILSVRC2012 from https://image-net.org (it needs an account)",
}


def _read_archive(name: str, archive: _Archive, split: str, folder: Path, download: bool) -> ImageDataset:
    where = folder / archive.files[split]
    if not download and not where.exists():
        raise MissingDataError(
            f"{name}: no {where}; {archive.source}, give its folder with --data-dir, or repeat with --download"
        )
    try:
        found = archive.open(folder, split, download=download)
    except (OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        if download and not where.exists():
            raise PrejudgeError(f"{name} could not be downloaded to {folder} ({first}); {archive.source}") from error
        own = "npz:FILE, folder:DIR" + (", or --no-verify for files in this layout" if name in LAYOUTS else "")
        raise FileFormatError(
            f"{name}: {where} is incomplete or damaged, or of other images ({first}); delete it and get it again. "
            f"Images of your own: {own}"
        ) from error
    images = np.asarray(found.data)
    if images.ndim == 3:  # MNIST comes as (N, H, W)
        images = images[..., None]
    if images.shape[1] == 3:  # SVHN comes as (N, C, H, W)
        images = images.transpose(0, 2, 3, 1)
    labels = np.asarray(getattr(found, "targets", None) if hasattr(found, "targets") else found.labels, dtype=np.int64)
    mean, std = NORMALIZATIONS[name]
    classes = tuple(getattr(found, "classes", ()))
    return ImageDataset(name, np.ascontiguousarray(images), labels, archive.num_classes, mean, std, classes)


def _read_imagenet16(split: str, folder: Path) -> ImageDataset:
    files = _IMAGENET16_FILES[split]
    where = next((folder / f for f in _IMAGENET16_FOLDERS if (folder / f / files[0]).is_file()), None)
    if where is None:
        raise MissingDataError(
            f"imagenet16-120: no {folder / _IMAGENET16_FOLDERS[0] / files[0]}; {_HOW_TO_GET['imagenet16-120']}, "
            f"and give their folder with --data-dir"
        )
    images, labels = zip(*(_imagenet16_batch(where / f) for f in files), strict=True)
    return ImageDataset(
        "imagenet16-120", np.concatenate(images), np.concatenate(labels), 120, *NORMALIZATIONS["imagenet16-120"]
    )


def _imagenet16_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 16, 16, 3)`` and labels of the first 120 classes in one file, where labels count from 1."""
    content = load_pickle(path)
    if not isinstance(content, dict) or not {"data", "labels"} <= set(content):
        raise FileFormatError(f"{path} is not an ImageNet16 batch: it has no data and labels")
    data, labels = np.asarray(content["data"]), np.asarray(content["labels"])
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 16 * 16 * 3 or labels.shape != data.shape[:1]:
        raise FileFormatError(
            f"{path} is not an ImageNet16 batch: {data.dtype} {data.shape} with labels {labels.shape}, "
            "not uint8 (N, 768)"
        )
    chosen = (labels >= 1) & (labels <= 120)
    return data[chosen].reshape(-1, 3, 16, 16).transpose(0, 2, 3, 1), labels[chosen].astype(np.int64) - 1


def _imagenet_folder(split: str, folder: Path) -> Path:
    where = next((d for d in (folder / "imagenet", folder) if (d / "train").is_dir() or (d / "val").is_dir()), None)
    sub = {"train": "train", "test": "val"}[split]
    if where is None or not ((where / sub).is_dir() or (split == "test" and (where / "test").is_dir())):
        raise MissingDataError(
            f"imagenet: no {folder / 'imagenet' / sub}; {_HOW_TO_GET['imagenet']}, sort the images of {sub} into one "
            f"folder per class, and give the folder above it with --data-dir"
        )
    return where
