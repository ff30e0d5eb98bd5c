"""The options of one training in four groups: optimization, schedule, augmentation and regularization.

One dataclass is the Python API, the options of the command line, the arguments of YAML files and the provenance that
results keep: :class:`Recipe` has the fields of all groups in one flat namespace. The docstrings of the groups are the
help texts of the command line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self, TypeVar

from prejudge.errors import InputError, quoted, unknown
from prejudge.train.recipes import schedules

OPTIMIZERS = ("sgd", "rmsprop")
AUGMENTATIONS = {
    "crop-flip": "a random crop of the padded image, and a horizontal flip of half of the images: CIFAR, and SVHN too",
    "affine": "turned by up to 15 degrees, moved by up to a tenth, scaled by 0.9 to 1.1, sheared: MNIST as in StacNAS",
    "imagenet": "a random part of the image scaled to one size, flipped, its colors changed: ImageNet",
}
"""The values of ``augmentation``."""

POLICIES = ("cifar10", "svhn", "imagenet")
"""AutoAugment's learned policies, by the images that they were learned on."""

N = TypeVar("N", int, float)


def _number(default: N, bounds: str = "at least 0", holds: Callable[[float], bool] = lambda v: v >= 0) -> N:
    return field(default=default, metadata={"bounds": bounds, "holds": holds})


def _at_least_one(default: int) -> int:
    return _number(default, "at least 1", lambda v: v >= 1)


def _below_one(default: float) -> float:
    return _number(default, "at least 0 and below 1", lambda v: 0 <= v < 1)


def _choice(default: str, names: Iterable[str]) -> str:
    return field(default=default, metadata={"names": tuple(names)})


@dataclass(frozen=True, kw_only=True)
class _OptionGroup:
    """Options whose values are checked: first each for itself, then those of a group against each other."""

    def __post_init__(self) -> None:
        for option in fields(self):
            _check(option.name, str(option.type), getattr(self, option.name), option.metadata)
        for group in type(self).__mro__:
            if "check_group" in vars(group):
                group.check_group(self)  # type: ignore[attr-defined]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the options."""
        return tuple(option.name for option in fields(cls))


@dataclass(frozen=True, kw_only=True)
class OptimizationOptions(_OptionGroup):
    """The step of the weights.

    Attributes:
        optimizer: sgd, or rmsprop with NAS-Bench-101's constants (decay 0.9, epsilon 1).
        batch_size: Images per step; the last batch of an epoch may be smaller.
        accumulation_steps: Parts into which the images of a step are divided; they pass the network one after the other
            and their gradients are averaged. It saves memory; batch norm sees one part at a time.
        momentum: Momentum of the optimizer.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Added to the gradient of every parameter, times the parameter.
        max_grad_norm: Largest norm of the gradient of all parameters together: a longer one is scaled down to it; 0:
            any norm.
    """

    optimizer: str = _choice("sgd", OPTIMIZERS)
    batch_size: int = _at_least_one(256)
    accumulation_steps: int = _at_least_one(1)
    momentum: float = _below_one(0.9)
    nesterov: bool = True
    weight_decay: float = _number(5e-4)
    max_grad_norm: float = _number(0.0)

    def check_group(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise InputError("recipe: nesterov needs a momentum above 0")
        if self.nesterov and self.optimizer != "sgd":
            raise InputError(f"recipe: nesterov is for sgd, not for {self.optimizer}")
        if self.accumulation_steps > self.batch_size:
            raise InputError(
                f"recipe: accumulation_steps must be at most batch_size ({self.batch_size}), "
                f"not {self.accumulation_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions(_OptionGroup):
    """The length of the training, and its learning rate.

    Attributes:
        epochs: Passes over the training images.
        learning_rate: Learning rate of the first step, or after the warm-up.
        min_learning_rate: Value to which the cosine schedules fall.
        schedule: How the learning rate falls: cosine, cosine-epochs, cosine-power, linear, exponential or constant.
        warmup_epochs: Epoch e (from 0) of the first so many has learning_rate * (e + 1) / warmup_epochs in place of the
            schedule's, which is not delayed by them.
        gamma: Factor of the learning rate after every epoch, in the exponential schedule.
        cosine_power: Base of the cosine-power schedule, above 1.
    """

    epochs: int = _at_least_one(200)
    learning_rate: float = _number(0.1, "above 0", lambda v: v > 0)
    min_learning_rate: float = _number(0.0)
    schedule: str = _choice("cosine", schedules.SCHEDULES)
    warmup_epochs: int = _number(0)
    gamma: float = _number(0.97, "above 0 and at most 1", lambda v: 0 < v <= 1)
    cosine_power: float = _number(2.0, "above 1", lambda v: v > 1)

    def check_group(self) -> None:
        if self.min_learning_rate > self.learning_rate:
            raise InputError("recipe: min_learning_rate must be at most learning_rate")
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise InputError(f"recipe: warmup_epochs must be below epochs ({self.epochs}), not {self.warmup_epochs}")
        if self.min_learning_rate and not self.schedule.startswith("cosine"):
            raise InputError(f"recipe: min_learning_rate is for the cosine schedules, not for {self.schedule!r}")
        if self.schedule == "linear" and self.epochs <= schedules.SLOW_EPOCHS:
            raise InputError(
                f"recipe: the linear schedule needs more than {schedules.SLOW_EPOCHS} epochs, not {self.epochs}"
            )

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step ``step`` (from 0) of all ``steps`` of the training; its epochs are equally long."""
        epoch = step * self.epochs // steps
        highest, lowest = self.learning_rate, self.min_learning_rate
        if epoch < self.warmup_epochs:
            return highest * (epoch + 1) / self.warmup_epochs
        match self.schedule:
            case "cosine":
                return schedules.cosine(step, steps, highest, lowest)
            case "cosine-epochs":
                return schedules.cosine(epoch, self.epochs, highest, lowest)
            case "cosine-power":
                return schedules.cosine_power(epoch, self.epochs, highest, lowest, self.cosine_power)
            case "linear":
                return schedules.linear(epoch, self.epochs, highest)
            case "exponential":
                return schedules.exponential(epoch, highest, self.gamma)
        return highest


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions(_OptionGroup):
    """The random changes of the training images, anew in every epoch.

    Attributes:
        augment: Whether the training images are augmented; how, augmentation says.
        augmentation: What augment does: crop-flip, affine or imagenet.
        padding: Zero pixels on each side of an image that a crop may reach into.
        image_size: Side of the images that the network takes, for the imagenet augmentation and for images read from
            folders; 0: as they are, and 224 from folders.
        cutout: Side of one square of zeros at a random place of each normalized training image, cut off at the image's
            edge; 0: none.
        cutout_probability: Share of the images that cutout is applied to.
        vertical_flip: Whether half of the augmented images are also flipped top to bottom.
        autoaugment: AutoAugment's policy (cifar10, svhn or imagenet), applied after the augmentation and before cutout.
        noise_std: Standard deviation of Gaussian noise added to the training images, in 0..1 units.
    """

    augment: bool = False
    augmentation: str = _choice("crop-flip", AUGMENTATIONS)
    padding: int = _number(4)
    image_size: int = _number(0)
    cutout: int = _number(0)
    cutout_probability: float = _number(1.0, "at least 0 and at most 1", lambda v: 0 <= v <= 1)
    vertical_flip: bool = False
    autoaugment: str = _choice("", ("", *POLICIES))
    noise_std: float = _number(0.0)

    def check_group(self) -> None:
        if self.vertical_flip and not self.augment:
            raise InputError("recipe: vertical_flip is part of the augmentation, which augment switches on")


@dataclass(frozen=True, kw_only=True)
class RegularizationOptions(_OptionGroup):
    """The means against overfitting besides weight decay and augmentation.

    Attributes:
        label_smoothing: Label smoothing of the cross-entropy of the training images, 0..1.
        drop_path: Probability of dropping an operation's output that would be reached one epoch after the last: epoch e
            (from 0) of E has drop_path * e / E. Only networks with drop-path can be trained with it.
        auxiliary_weight: Weight of the auxiliary classifier's loss; 0: the network has no such classifier.
        ema_decay: Decay of an exponential moving average of the weights over steps, which is evaluated in place of
            them; 0: no average.
    """

    label_smoothing: float = _number(0.0, "at least 0 and at most 1", lambda v: 0 <= v <= 1)
    drop_path: float = _below_one(0.0)
    auxiliary_weight: float = _number(0.0)
    ema_decay: float = _below_one(0.0)


GROUPS: tuple[type[_OptionGroup], ...] = (
    OptimizationOptions,
    ScheduleOptions,
    AugmentationOptions,
    RegularizationOptions,
)
"""The groups of a recipe, in the order in which help texts show them."""


@dataclass(frozen=True, kw_only=True)
class Recipe(RegularizationOptions, AugmentationOptions, ScheduleOptions, OptimizationOptions):
    """All options of one training.

    By default: SGD with a cosine learning rate that is set before every step, without augmentation.

    Raises:
        InputError: An option is out of range, or contradicts another one.
    """

    def drop_path_at(self, epoch: int) -> float:
        """Probability of dropping a path in epoch ``epoch`` (from 0)."""
        return self.drop_path * epoch / self.epochs

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The recipe with other values, by name; raises :class:`InputError` for a name that no group has."""
        for name in options:
            if name not in self.names():
                raise unknown("option of a training recipe", name, self.names())
        return replace(self, **options)

    def as_dict(self) -> dict[str, Any]:
        """Every option by name, as plain values: ``Recipe(**options)`` is the recipe again."""
        return asdict(self)


def _check(name: str, kind: str, value: Any, limits: Mapping[str, Any]) -> None:
    if kind == "bool" and not isinstance(value, bool):
        raise InputError(f"recipe: {name} must be True or False, not {quoted(value)}")
    if kind == "str" and value not in limits["names"]:
        raise unknown(f"{name} of a recipe", value, [n for n in limits["names"] if n])
    if kind in ("int", "float"):
        allowed = int if kind == "int" else int | float
        is_number = isinstance(value, allowed) and not isinstance(value, bool) and abs(value) < math.inf
        if not is_number or not limits["holds"](value):
            what = "an integer" if kind == "int" else "a number"
            raise InputError(f"recipe: {name} must be {what}, {limits['bounds']}, not {quoted(value)}")
