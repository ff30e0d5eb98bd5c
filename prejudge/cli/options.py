"""Options that several commands have: which network, which images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Group, Parameter, validators

from prejudge.cli.arguments import pairs

if TYPE_CHECKING:
    from prejudge.spaces import Space

MACHINE = Group("Machine", sort_key=9)
Positive = validators.Number(gte=1)

_TRAINING = Group("Training", sort_key=2)
_NETWORK = Group("Network (the published macro-skeleton if left out)", sort_key=1)


@Parameter(name="*", group=_NETWORK)
@dataclass(frozen=True)
class NetworkOptions:
    """Macro numbers of the networks.

    Attributes:
        form: Network form of the space, e.g. official or zero-cost-nas.
        channels: Width of the first stage.
        cells: Cells per stage, or in all.
        skeleton: Any other macro number: NAME=VALUE.
    """

    form: str | None = None
    channels: int | None = None
    cells: int | None = None
    skeleton: list[str] | None = None

    def overrides(self, space: Space) -> dict[str, Any]:
        """The numbers that were given; raises :class:`~prejudge.errors.InputError` for one that the space lacks."""
        given = {"form": self.form, "channels": self.channels, "cells": self.cells}
        numbers = {k: v for k, v in given.items() if v is not None} | pairs(self.skeleton or [])
        space.skeleton(**numbers)  # said before anything is loaded
        return numbers


PUBLISHED = NetworkOptions()
"""No number given: the published ones."""


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """The images.

    Attributes:
        data: Images: digits, cifar10, cifar100, svhn, imagenet16-120, imagenet, npz:FILE or folder:DIR.
        data_dir: Folder with the files of a named data set.
        download: Fetch a named data set that is not there yet.
        normalisation: Published mean and deviation to use, e.g. cifar10; the data's own, or those published for it.
    """

    data: str
    data_dir: Path | None = None
    download: bool = False
    normalisation: str | None = None

    def places(self) -> dict[str, Any]:
        """How to find and read them, as keyword arguments of the loaders."""
        return {"data_dir": self.data_dir, "download": self.download, "normalisation": self.normalisation}


@Parameter(name="*", group=_TRAINING)
@dataclass(frozen=True)
class TrainingOptions:
    """Numbers of a training; those that are left out are the command's own.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: At the first step.
        min_learning_rate: What the learning rate falls to.
        weight_decay: Added to the gradient of every parameter.
        label_smoothing: Of the cross-entropy.
        augment: Crop and flip the training images at random.
        noise: Standard deviation of noise added to the training images, in 0..1 units.
        drop_path: Probability of dropping a path that the last epoch reaches; only for networks that can.
        clip: Largest norm of the gradient.
    """

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    min_learning_rate: float | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None
    augment: bool | None = None
    noise: float | None = None
    drop_path: float | None = None
    clip: float | None = None

    def given(self) -> dict[str, Any]:
        """The numbers that were given, by the names of :class:`~prejudge.train.recipe.Recipe`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


OWN_TRAINING = TrainingOptions()
"""No number given: the command's own."""


def use_threads(threads: int | None) -> None:
    """Give torch so many threads, where a number was given."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
