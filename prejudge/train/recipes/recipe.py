"""The numbers of one training: optimizer, schedule, and what happens to the images."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from prejudge.errors import InputError, quoted, unknown
from prejudge.train.optimization import schedules

OPTIMIZERS = ("sgd", "rmsprop")
AUGMENTATIONS = {
    "crop-flip": "a random crop from a border, and a horizontal flip of half of the images: CIFAR, and SVHN too",
    "affine": "turned by up to 15 degrees, moved by up to a tenth, scaled by 0.9 to 1.1, sheared: MNIST as in StacNAS",
    "imagenet": "a random part of the image scaled to one size, flipped, its colors changed: ImageNet",
}
"""What ``augment`` can mean."""

POLICIES = ("cifar10", "svhn", "imagenet")
"""AutoAugment's learned policies, by the images that they were learned on."""

_COUNTS = {"epochs": 1, "batch_size": 1, "accumulate": 1, "warmup_epochs": 0, "border": 0, "image_size": 0, "cutout": 0}
_NUMBERS = (
    "learning_rate", "min_learning_rate", "momentum", "weight_decay", "label_smoothing", "noise", "clip", "drop_path",
    "decay", "power", "auxiliary_weight", "ema",
)  # fmt: skip
_SWITCHES = ("nesterov", "augment")
_FIRST_FIELDS = 12
"""So many fields were there first: files that were written with them alone stay what they are."""


@dataclass(frozen=True)
class Recipe:
    """By default: SGD with a cosine learning rate that is set before every step and ends at (almost) its least value.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step; the last batch of an epoch may be smaller.
        learning_rate: At the first step, or after the warm-up.
        min_learning_rate: What the learning rate falls to, in the cosine schedules.
        momentum: Of the optimizer.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Added to the gradient of every parameter, times the parameter.
        label_smoothing: Of the cross-entropy of the training images, 0..1.
        augment: Whether the training images are changed at random, anew in every epoch; see ``augmentation``.
        noise: Standard deviation of Gaussian noise added to the training images, in 0..1 units, anew in every epoch.
        clip: Largest norm of the gradient of all parameters together, longer ones are scaled down to it; 0: any.
        drop_path: Probability of dropping an operation's output that would be reached one epoch after the last, 0..1:
            epoch e (from 0) of E has ``drop_path * e / E``. Only networks that know drop-path can be trained with it.
        schedule: How the learning rate falls, one of :data:`prejudge.train.optimization.schedules.SCHEDULES`.
        warmup_epochs: Epoch e (from 0) of the first so many has ``learning_rate * (e + 1) / warmup_epochs`` instead of
            the schedule's, which is not put off by them.
        decay: What the exponential schedule multiplies the learning rate by after every epoch.
        power: Of the cosine-power schedule, above 1.
        auxiliary_weight: Of the auxiliary classifier's loss, which is added to the other; 0: the network has none.
        augmentation: What ``augment`` does, one of :data:`AUGMENTATIONS`.
        border: Zero pixels around an image that the crop may reach into.
        image_size: Side of the images that the network takes, for the ``imagenet`` augmentation and for images read
            from folders; 0: as they are, and 224 from folders.
        cutout: Side of one square of zeros at a random place of each normalized training image, cut off at the border;
            0: none.
        autoaugment: One of :data:`POLICIES`, applied after the augmentation and before cutout; empty: none.
        accumulate: Parts into which the images of a step are divided, that pass the network one after the other; their
            gradients are averaged. It saves memory; batch norm sees a part at a time.
        ema: Decay of an exponential moving average of the weights over steps, 0..1, which is evaluated instead of them;
            0: none.
        optimizer: ``"sgd"``, or ``"rmsprop"`` with NAS-Bench-101's constants (decay 0.9, epsilon 1).
    """

    epochs: int = 200
    batch_size: int = 256
    learning_rate: float = 0.1
    min_learning_rate: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augment: bool = False
    noise: float = 0.0
    clip: float = 0.0
    drop_path: float = 0.0
    schedule: str = "cosine"
    warmup_epochs: int = 0
    decay: float = 0.97
    power: float = 2.0
    auxiliary_weight: float = 0.0
    augmentation: str = "crop-flip"
    border: int = 4
    image_size: int = 0
    cutout: int = 0
    autoaugment: str = ""
    accumulate: int = 1
    ema: float = 0.0
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.learning_rate == 0:
            raise InputError("recipe: learning_rate must be above 0")
        if self.min_learning_rate > self.learning_rate:
            raise InputError("recipe: min_learning_rate must be at most learning_rate")
        if self.drop_path >= 1:
            raise InputError(f"recipe: drop_path must be below 1, not {self.drop_path}")
        if self.momentum >= 1 or self.label_smoothing > 1:
            raise InputError("recipe: momentum must be below 1 and label_smoothing at most 1")
        if self.nesterov and self.momentum == 0:
            raise InputError("recipe: nesterov needs a momentum above 0")
        if self.nesterov and self.optimizer != "sgd":
            raise InputError(f"recipe: nesterov is for sgd, not for {self.optimizer}")
        if self.accumulate > self.batch_size:
            raise InputError(
                f"recipe: accumulate must be at most batch_size ({self.batch_size}), not {self.accumulate}"
            )
        if self.ema >= 1:
            raise InputError(f"recipe: ema must be below 1, not {self.ema}")
        self._check_schedule()

    def _check_kinds(self) -> None:
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                what = "a positive integer" if least else "an integer >= 0"
                raise InputError(f"recipe: {name} must be {what}, not {quoted(value)}")
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InputError(f"recipe: {name} must be a number >= 0, not {quoted(value)}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"recipe: {name} must be True or False, not {quoted(getattr(self, name))}")
        known = {
            "schedule": tuple(schedules.SCHEDULES),
            "augmentation": tuple(AUGMENTATIONS),
            "autoaugment": ("", *POLICIES),
            "optimizer": OPTIMIZERS,
        }
        for name, names in known.items():
            if getattr(self, name) not in names:
                raise unknown(f"{name} of a recipe", getattr(self, name), [n for n in names if n])

    def _check_schedule(self) -> None:
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise InputError(f"recipe: warmup_epochs must be below epochs ({self.epochs}), not {self.warmup_epochs}")
        if self.min_learning_rate and not self.schedule.startswith("cosine"):
            raise InputError(f"recipe: min_learning_rate is for the cosine schedules, not for {self.schedule!r}")
        if self.schedule == "linear" and self.epochs <= schedules.SLOW_EPOCHS:
            raise InputError(
                f"recipe: the linear schedule needs more than {schedules.SLOW_EPOCHS} epochs, not {self.epochs}"
            )
        if not 0 < self.decay <= 1:
            raise InputError(f"recipe: decay must be above 0 and at most 1, not {self.decay}")
        if self.power <= 1:
            raise InputError(f"recipe: power must be above 1, not {self.power}")

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step ``step`` (from 0) of all ``steps`` of the training; its epochs are equally long."""
        epoch = step * self.epochs // steps
        highest, least = self.learning_rate, self.min_learning_rate
        if epoch < self.warmup_epochs:
            return highest * (epoch + 1) / self.warmup_epochs
        if self.schedule == "cosine":
            return schedules.cosine(step, steps, highest, least)
        if self.schedule == "cosine-epochs":
            return schedules.cosine(epoch, self.epochs, highest, least)
        if self.schedule == "cosine-power":
            return schedules.cosine_power(epoch, self.epochs, highest, least, self.power)
        if self.schedule == "linear":
            return schedules.linear(epoch, self.epochs, highest)
        if self.schedule == "exponential":
            return schedules.exponential(epoch, highest, self.decay)
        return highest

    def drop_path_at(self, epoch: int) -> float:
        """Probability of dropping a path in epoch ``epoch`` (from 0)."""
        return self.drop_path * epoch / self.epochs

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name, for a file: ``Recipe(**numbers)`` is the recipe again.

        Numbers that came later than the first twelve are there only where they are not their defaults, so that a recipe
        without them reads, and is compared with, as it always was.
        """
        named = [(f, getattr(self, f.name)) for f in fields(self)]
        return {f.name: value for n, (f, value) in enumerate(named) if n < _FIRST_FIELDS or value != f.default}
