"""The content of a report on trainings: plain values, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from prejudge.errors import InputError
from prejudge.report.cell_drawing import Graph

SERIES = ("train", "valid", "test")
"""Images that a curve can be of, in the order in which they are shown."""


@dataclass(frozen=True)
class Tested:
    """The accuracy of a network on some images.

    Attributes:
        top1: Per cent of the images that are classified correctly.
        top5: Per cent of the images whose class is among the first five.
        loss: Mean cross-entropy.
        images: How many there were.
    """

    __test__ = False  # pytest takes classes with such names for its own

    top1: float
    top5: float
    loss: float
    images: int


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """One training.

    Attributes:
        name: What it is called in the report; unique in it.
        architecture: Its architecture's text.
        loss: Of the training images after each epoch, NaN where not known, ``(epochs,)``.
        accuracy: Per cent after each epoch by images, some of :data:`SERIES`; each ``(epochs,)``.
        learning_rate: At the first step of each epoch, ``(epochs,)``; empty where not known.
        selection: Which epoch's network is the result, in words.
        epoch: The number of that epoch, from 1.
        valid: The result on validation images; None where there are none.
        test: Likewise on test images.
        last_test: The network of the last epoch on the test images, where it is another.
        params: Its parameters.
        macs: Multiply-adds of one image; NaN where not known.
        seconds: Of all training steps.
        images_per_second: Speed of the training steps.
        classes: Names of the classes; empty where not known.
        confusion: Test images of each class (rows) by what they are taken for (columns); None where not known.
        by_class: Test images of each class, ``(classes,)``; those that are in no column of ``confusion`` count too.
        cells: The architecture's cells, to be drawn.
        protocol: What was trained and how, label to text.
        provenance: Versions, machine and files, label to text.

    Raises:
        InputError: Columns have different lengths, or the confusion matrix is not square.
    """

    name: str
    architecture: str
    loss: np.ndarray
    accuracy: Mapping[str, np.ndarray]
    learning_rate: np.ndarray
    selection: str
    epoch: int
    valid: Tested | None
    test: Tested | None
    last_test: Tested | None
    params: int
    macs: float
    seconds: float
    images_per_second: float
    classes: Sequence[str] = ()
    confusion: np.ndarray | None = None
    by_class: np.ndarray | None = None
    cells: Mapping[str, Graph] = field(default_factory=dict)
    protocol: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, column in (*self.accuracy.items(), ("learning rate", self.learning_rate)):
            if len(column) not in (0, self.epochs):
                raise InputError(f"{self.name}: {self.epochs} epochs, but {what} has {len(column)} values")
        if self.confusion is not None and self.confusion.shape != (len(self.classes),) * 2:
            raise InputError(f"{self.name}: {len(self.classes)} classes, confusion matrix {self.confusion.shape}")

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.loss)

    @property
    def accuracies(self) -> list[float]:
        """Per cent of the test images of each class that are classified correctly; NaN for a class without any."""
        if self.confusion is None:
            return []
        of = self.confusion.sum(1) if self.by_class is None else self.by_class
        hits = np.diag(self.confusion)
        return [100 * float(h) / float(n) if n else math.nan for h, n in zip(hits, of, strict=True)]


@dataclass(frozen=True, eq=False)
class TrainingReportData:
    """The content of one report on trainings.

    Attributes:
        title: Heading of the report.
        space: Name of the search space, or of several.
        trainings: At least one.
        warnings: What a reader must know to trust it, one sentence or paragraph each.

    Raises:
        InputError: There is no training, or two have one name.
    """

    title: str
    space: str
    trainings: Sequence[TrainingRecord]
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [training.name for training in self.trainings]
        if not names:
            raise InputError("a report needs at least one training")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"two trainings are called {twice!r}; give them different names")
