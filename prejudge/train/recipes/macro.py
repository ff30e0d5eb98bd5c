"""The macro-architecture of a network for some images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.spaces.base import Space


def macro_for_images(space: Space[Any], numbers: Mapping[str, Any], data: ImageDataset) -> dict[str, Any]:
    """Complete the macro-architecture of a network: classes and channels follow the images.

    Args:
        space: The search space; its defaults count for what is left out.
        numbers: The numbers that are given, by name.
        data: The images.

    Raises:
        InputError: A number is unknown, out of range, or does not fit the images.
    """
    space.macro(**numbers)
    fitting = {"num_classes": data.num_classes, "in_channels": data.in_channels}
    for name, value in fitting.items():
        if numbers.get(name, value) != value:
            raise InputError(
                f"{data.name} needs {name}={value}, not {numbers[name]}; leave it out, or take a recipe for these "
                "images (PublishedRecipe.for_images)"
            )
    known = {name: value for name, value in fitting.items() if name in space.default_macro}
    return asdict(space.macro(**{**numbers, **known}))
