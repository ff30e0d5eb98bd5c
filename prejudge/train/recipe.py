"""The numbers of one training: optimiser, schedule, and what happens to the images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from prejudge.errors import InputError

_NUMBERS = (
    "learning_rate", "min_learning_rate", "momentum", "weight_decay", "label_smoothing", "noise", "clip", "drop_path",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """SGD with a cosine learning rate that is set before every step and ends at (almost) its least value.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step; the last batch of an epoch may be smaller.
        learning_rate: At the first step.
        min_learning_rate: What the learning rate falls to.
        momentum: Of SGD.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Added to the gradient of every parameter.
        label_smoothing: Of the cross-entropy, 0..1.
        augment: Random crop from a border of 4 and horizontal flip, anew in every epoch.
        noise: Standard deviation of Gaussian noise added to the training images, in 0..1 units, anew in every epoch.
        clip: Largest norm of the gradient of all parameters together, longer ones are scaled down to it; 0: any.
        drop_path: Probability of dropping an operation's output that would be reached one epoch after the last, 0..1:
            epoch e (from 0) of E has ``drop_path * e / E``. Only networks that know drop-path can be trained with it.
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

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"recipe: {name} must be a positive integer, not {value!r}")
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InputError(f"recipe: {name} must be a number >= 0, not {value!r}")
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

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step ``step`` (from 0) out of ``steps``."""
        falling = 0.5 * (self.learning_rate - self.min_learning_rate)
        return self.min_learning_rate + falling * (1 + math.cos(math.pi * step / steps))

    def drop_path_at(self, epoch: int) -> float:
        """Probability of dropping a path in epoch ``epoch`` (from 0)."""
        return self.drop_path * epoch / self.epochs

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name."""
        return asdict(self)
