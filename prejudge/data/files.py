"""A user's own images: a NumPy file, or a folder with one sub-folder per class."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prejudge.data.dataset import ImageDataset, NoSuchSplit, channel_statistics, check_images, check_labels
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError, unknown
from prejudge.formats.zip import PickledObjects, read_arrays

if TYPE_CHECKING:
    from PIL import Image

NPZ_KEYS = {
    "train": (("x_train", "y_train"), ("x", "y"), ("images", "labels")),
    "valid": (("x_valid", "y_valid"), ("x_val", "y_val")),
    "test": (("x_test", "y_test"),),
}
"""Names of the two arrays of each split, in the order in which they are looked for."""

FOLDER_NAMES = {"train": ("train",), "valid": ("valid",), "test": ("test", "val")}
"""Sub-folders of each split, likewise; ImageNet's ``val`` is what everybody tests on."""

UNLABELLED_CLASSES = 10
"""Classes of images without labels: outputs of a network that never sees a label."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_SPLITS = ("train", "valid", "test")
_LARGEST = 8 * 2**30
_MOST_CHANNELS = 1024
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What :data:`IMAGE_SUFFIXES` stand for. Whatever its name, nothing else is decoded: Pillow has other programs read
some formats."""

MOST_PIXELS = 2**26
"""Of an image; the largest of ImageNet has 61 million."""

NARROWEST = 100
"""The longer side of an image may be so many times the shorter one: scaling makes the shorter one of a given size."""


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
        MissingDataError: There is no such file.
        FileFormatError: It is no NumPy file, or truncated.
        InputError: It lacks the arrays, or they are no images with labels.
    """
    if split not in _SPLITS:
        raise unknown("split", split, _SPLITS)
    arrays = _npz_arrays(path)
    pairs = {s: pair for s in _SPLITS if (pair := next((p for p in NPZ_KEYS[s] if p[0] in arrays), None))}
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


def read_folder(
    folder: Path,
    split: str,
    *,
    size: int | None = None,
    per_class: int | None = None,
    name: str | None = None,
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> ImageDataset:
    """Images in class sub-folders; the classes are the sub-folders' names in alphabetical order.

    Args:
        folder: Class folders, or ``train`` and ``test`` (or ``val``, ``valid``) with class folders in each.
        split: ``"train"``, ``"valid"`` or ``"test"``; class folders without a split are ``"train"``.
        size: Scale the shorter side to this and cut out the center; without it all images must be of one size.
        per_class: Read only the first so many images of each class, in the order of their names.
        name: What to call the set; the folder's name where left out.
        normalization: Mean and standard deviation of each channel; those of the training images where left out.

    Returns:
        The images, RGB unless all of them are grey.

    Raises:
        MissingDataError: There is no such folder.
        FileFormatError: A file is no image, or truncated.
        InputError: There are no classes or no images, sizes differ, or they do not fit into memory.
    """
    where, train, chosen = class_files(folder, split, per_class)
    total = sum(map(len, chosen.values()))
    if size is not None and total * size * size * 3 > _LARGEST:
        raise InputError(f"{where}: {total} images of {size}x{size} do not fit into memory; say per_class=N")
    images = _decode([f for group in chosen.values() for f in group], size)
    labels = np.repeat(np.arange(len(chosen), dtype=np.int64), [len(group) for group in chosen.values()])
    if normalization is None and train == where:
        normalization = channel_statistics(images)
    elif normalization is None:
        reference = read_folder(folder, "train", size=size or images.shape[1], per_class=per_class)
        normalization = reference.mean, reference.std
    mean, std = normalization
    if images.shape[3] < len(mean):  # all grey, in a set of color images
        images = images.repeat(len(mean), axis=3)
    return ImageDataset(name or folder.resolve().name, images, labels, len(chosen), mean, std)


def class_files(folder: Path, split: str, per_class: int | None = None) -> tuple[Path, Path, dict[str, list[Path]]]:
    """The image files of every class of a split, in alphabetical order, without reading any.

    Args:
        folder: As for :func:`read_folder`, as are ``split`` and ``per_class``.

    Returns:
        The folder with the class folders of this split, that of the training images, and the files by class: all
        classes of the training images, some of which may have none here.

    Raises:
        MissingDataError: There is no such folder.
        InputError: There are no classes or no images, or a class is not among those of the training images.
    """
    if split not in _SPLITS:
        raise unknown("split", split, _SPLITS)
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
        arrays = read_arrays(path, most_bytes=_LARGEST, wanted=wanted.__contains__)
        return arrays or read_arrays(path, most_bytes=_LARGEST)
    except PickledObjects:
        raise InputError(f"{path} holds Python objects; save plain arrays of numbers") from None
    except FileFormatError as error:
        if zipfile.is_zipfile(path):
            raise
        raise FileFormatError(f"{path} is no NumPy file, or it is truncated") from error


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


def decode_image(path: Path, *, color: bool = False) -> Image.Image:
    """Decode an image file.

    Args:
        path: The file, in one of the formats of :data:`IMAGE_SUFFIXES`.
        color: Make a grey image one of three channels too.

    Returns:
        The image in mode ``"RGB"`` or ``"L"``.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no image, is truncated, or has too many pixels.
    """
    from PIL import Image

    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about large images and odd metadata
            opened = Image.open(path, formats=_FORMATS)
        with opened:
            width, height = opened.size
            if width * height > MOST_PIXELS or max(width, height) > NARROWEST * min(width, height):
                raise FileFormatError(f"{path} has {width}x{height} pixels, too {_odd(width, height)}; leave it out")
            mode = "L" if opened.mode in ("1", "L") and not color else "RGB"
            opened.load()
            return opened if opened.mode == mode else opened.convert(mode)
    except PrejudgeError:
        raise
    except Image.DecompressionBombError as error:
        raise FileFormatError(f"{path} has more pixels than the {MOST_PIXELS:,} that are read; leave it out") from error
    except Exception as error:  # a decoder of many formats can fail in any way
        said = " ".join(str(error).split())[:100] or type(error).__name__
        raise FileFormatError(f"{path} is no image, or it is truncated ({said})") from error


def _odd(width: int, height: int) -> str:
    return "many" if width * height > MOST_PIXELS else "narrow an image"


def _decode(paths: list[Path], size: int | None) -> np.ndarray:
    arrays: list[np.ndarray] = []
    for path in paths:
        image = decode_image(path)
        if size is not None:
            image = _scaled(image, size)
        arrays.append(np.asarray(image))
        first = arrays[0].shape[:2]
        if arrays[-1].shape[:2] != first:
            raise InputError(
                f"{path} is {arrays[-1].shape[0]}x{arrays[-1].shape[1]}, {paths[0].name} {first[0]}x{first[1]}: "
                f"scale them all with folder:DIR@SIZE"
            )
        if len(paths) * 3 * first[0] * first[1] > _LARGEST:
            raise InputError(f"{path.parent}: {len(paths)} images of {first[0]}x{first[1]} do not fit into memory; "
                             "say per_class=N, or scale them with folder:DIR@SIZE")  # fmt: skip
    color = any(a.ndim == 3 for a in arrays)
    return np.stack([a if a.ndim == 3 else a[..., None].repeat(3 if color else 1, axis=2) for a in arrays])


def _scaled(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to ``size``, then the center, as everybody tests on ImageNet but without the border of 256/224."""
    from PIL.Image import Resampling

    width, height = image.size
    factor = size / min(width, height)
    image = image.resize((max(size, round(width * factor)), max(size, round(height * factor))), Resampling.BILINEAR)
    left, top = (image.size[0] - size) // 2, (image.size[1] - size) // 2
    return image.crop((left, top, left + size, top + size))
