"""The images of a training and of a test, as ``--data`` names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prejudge.data.dataset import ImageDataset, NoSuchSplit
from prejudge.data.loading import load
from prejudge.data.splits import Splits, load_splits, random_split
from prejudge.errors import InputError

TEST_SHARE = 0.2
"""Share of the training images that test where a dataset has no test images; they are drawn from the seed 0."""


def load_training_images(kind: str, **places: Any) -> tuple[Splits, list[str]]:
    """Load all images for a training.

    Args:
        kind: As for :func:`prejudge.data.load`. ImageNet, and folders of images of at least 96 pixels without
            ``@SIZE``, stay in their files and are read while they are learned.
        places: ``data_dir``, ``download`` and ``normalization``, as for :func:`prejudge.data.load`.

    Returns:
        The images, with some of the training images as test images where there are none; and warnings, one sentence
        each.

    Raises:
        InputError: The kind or the normalization is unknown, or the files hold something else.
        MissingDataError: A file is not there.
        FileFormatError: A file is damaged.
    """
    data = load_splits(kind, held_out=0, in_memory=None, **places)
    if data.test is not None:
        return data, []
    if not data.train.in_memory:
        return data, [f"{data.name} has no folder test or val: nothing is tested"]
    train, test = random_split(data.train, 1 - TEST_SHARE)
    warning = f"{train.name} has no test images: {len(test)} of its training images, drawn at random, are kept for that"
    return Splits(train, data.valid, test), [warning]


def load_test_images(kind: str, split: str = "test", **places: Any) -> tuple[ImageDataset, list[str]]:
    """Load one split of a dataset; test images as :func:`load_training_images` keeps them.

    Args:
        kind: As for :func:`load_training_images`, as are ``places``.
        split: ``"train"``, ``"valid"`` or ``"test"``.

    Returns:
        The images, and warnings.

    Raises:
        InputError: The dataset has no such images.
    """
    warnings: list[str] = []
    try:
        found = load(kind, split=split, in_memory=None, **places)
    except NoSuchSplit:
        if split != "test":
            raise
        data, warnings = load_training_images(kind, **places)
        if data.test is None:
            raise
        found = data.test
    return found, warnings


def normalized_by(data: ImageDataset, mean: Sequence[float], std: Sequence[float]) -> ImageDataset:
    """The images with the normalization that a network was trained with.

    Args:
        data: The images.
        mean: Of each channel, in 0..1 units.
        std: Likewise.

    Raises:
        InputError: The network was trained on another number of channels.
    """
    if len(mean) != data.in_channels:
        raise InputError(
            f"the network sees images of {len(mean)} channels, {data.name} has {data.in_channels}; "
            "give images like those that it was trained on"
        )
    return replace(data, mean=tuple(mean), std=tuple(std))
