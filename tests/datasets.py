"""Small datasets that several rooms' tests learn."""

from __future__ import annotations

import numpy as np

from prejudge.data import ImageDataset, load


def few_digits(count: int) -> ImageDataset:
    """The first digits of the training images."""
    return load("digits").subset(slice(count))


def colors(count: int = 48, seed: int = 0, classes: int = 3, side: int = 8) -> ImageDataset:
    """Random images of classes that differ in brightness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype(np.int64)
    images = (rng.integers(0, 100, (count, side, side, 3)) + 50 * labels[:, None, None, None]).astype(np.uint8)
    return ImageDataset("colors", images, labels, classes, (0.5,) * 3, (0.25,) * 3)
