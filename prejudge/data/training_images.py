"""The images of a training, whatever ``--data`` names: in memory, or read from folders where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prejudge.data.dataset import ImageDataset, NoSuchSplit
from prejudge.data.folder_batches import ImageFiles, list_folder, read_image
from prejudge.data.loading import load
from prejudge.data.published import default_folder
from prejudge.data.splits import split_in_two
from prejudge.errors import InputError, MissingDataError
from prejudge.train.recipes.resolve import LARGE
from prejudge.train.training import Data

TEST_SHARE = 0.2
"""Share of the training images that test where a set has no test images; they are drawn from the seed 0."""

AnyImages = ImageDataset | ImageFiles


def load_training_images(
    kind: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    normalization: str | None = None,
) -> tuple[Data, list[str]]:
    """All images of a set, ready for :func:`prejudge.train.training.train_network`.

    Args:
        kind: As for :func:`prejudge.data.loading.load`. ImageNet, and folders of images of at least 96 pixels without
            ``@SIZE``, stay on disk and are read while they are learned.
        data_dir: Folder with the files of a named set.
        download: Fetch a named set that is not there.
        normalization: As for :func:`prejudge.data.loading.load`.

    Returns:
        The images, and what the user should know of them, one sentence each.

    Raises:
        InputError: The kind or the normalization is unknown, or the files hold something else.
        MissingDataError: A file is not there.
        FileFormatError: A file is damaged.
    """
    folder = _on_disk(kind, data_dir)
    if folder is not None:
        return _listed(folder, kind, normalization)
    train = load(kind, data_dir=data_dir, download=download, normalization=normalization)
    others: dict[str, ImageDataset | None] = {"valid": None, "test": None}
    for split in others:
        try:
            found = load(kind, split=split, data_dir=data_dir, normalization=normalization)
        except NoSuchSplit:
            continue
        others[split] = replace(found, mean=train.mean, std=train.std)
    if others["test"] is not None:
        return Data(train, others["valid"], others["test"]), []
    train, test = split_in_two(train, 1 - TEST_SHARE)
    note = f"{train.name} has no test images: {len(test)} of its training images, drawn at random, are kept for that"
    return Data(train, others["valid"], test), [note]


def load_test_images(
    kind: str,
    split: str = "test",
    *,
    data_dir: Path | None = None,
    download: bool = False,
    normalization: str | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> tuple[AnyImages, list[str]]:
    """One split of a set, as a network that is trained on the set sees it.

    Args:
        kind: As for :func:`load_training_images`, as are ``data_dir``, ``download`` and ``normalization``.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        mean: Of each channel, as the network's file says it; counts where no normalization is named.
        std: Likewise.

    Returns:
        The images, and what the user should know of them.

    Raises:
        InputError: The set has no such images, or the network was trained on another number of channels.
    """
    places = {"data_dir": data_dir, "download": download, "normalization": normalization}
    folder = _on_disk(kind, data_dir)
    found: AnyImages | None
    notes: list[str] = []
    if folder is not None:
        found = list_folder(folder, split, name=_name(kind), normalization=normalization or "imagenet")
    else:
        try:
            found = load(kind, split=split, **places)  # type: ignore[arg-type]  # each has its own type
        except NoSuchSplit:
            if split == "valid":
                raise
            data, notes = load_training_images(kind, **places)  # type: ignore[arg-type]
            found = data.test if split == "test" else data.train
            assert found is not None
    if normalization is None and mean:
        if len(mean) != len(found.mean):
            raise InputError(
                f"the network sees images of {len(mean)} channels, {found.name} has {len(found.mean)}; "
                "give images like those that it was trained on"
            )
        found = replace(found, mean=tuple(mean), std=tuple(std))
    return found, notes


def images_of(data: Data) -> tuple[int, int, int]:
    """Classes, channels, and the longer side in pixels (that of the network's images, of those on disk)."""
    train = data.train
    if isinstance(train, ImageDataset):
        return train.num_classes, train.in_channels, train.image_size
    return train.num_classes, len(train.mean), 224


def _on_disk(kind: str, data_dir: Path | None) -> Path | None:
    """The folder of images that are read while they are learned; None for all others."""
    name, _, argument = kind.partition(":")
    if kind == "imagenet":
        base = Path(data_dir).expanduser() if data_dir is not None else default_folder()
        found = next((d for d in (base / "imagenet", base) if (d / "train").is_dir()), None)
        if found is None:
            raise MissingDataError(
                f"imagenet: no {base / 'imagenet' / 'train'}; get ILSVRC2012 from https://image-net.org (it needs an "
                "account), sort its images into train and val with one folder per class, and give the folder above "
                "them with --data-dir"
            )
        return found
    if name != "folder" or not argument or not Path(argument).expanduser().is_dir():
        return None
    folder = Path(argument).expanduser()
    files = list_folder(folder)
    return folder if max(read_image(files.path(0)).shape[1:]) >= LARGE else None


def _listed(folder: Path, kind: str, normalization: str | None) -> tuple[Data, list[str]]:
    name, chosen = _name(kind), normalization or "imagenet"
    train = list_folder(folder, "train", name=name, normalization=chosen)
    others: dict[str, ImageFiles | None] = {}
    for split in ("valid", "test"):
        try:
            others[split] = list_folder(folder, split, name=name, normalization=chosen)
        except NoSuchSplit:
            others[split] = None
    notes = [] if others["test"] is not None else [f"{folder} has no folder test or val: nothing is tested"]
    return Data(train, others["valid"], others["test"]), notes


def _name(kind: str) -> str:
    name, _, argument = kind.partition(":")
    return Path(argument).expanduser().resolve().name if argument else name
