"""The accuracy after a short training as an objective, in wall-clock seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.search.objectives.base import Evaluation, Objective
from prejudge.search.objectives.networks import check_seed, complete_macro
from prejudge.spaces.base import Architecture, Space
from prejudge.train.recipes.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


HNAS_TRAINING = Recipe(
    epochs=10,
    batch_size=576,
    learning_rate=0.1,
    min_learning_rate=5e-3,
    nesterov=False,
    weight_decay=3e-4,
    max_grad_norm=5.0,
    drop_path=0.2,
    schedule="cosine-epochs",
)
"""How HNAS trains on CIFAR what it has selected (shuyao95/HNAS 970789c): in the small networks that it scores, without
augmentation."""


class TrainingObjective(Objective):
    """Accuracy on held-out images after a training, in per cent; a training that fails is NaN.

    Weights, order of the images and augmentation come from the seed and are the same for every architecture, so that
    asking twice answers the same, and a search that is resumed goes on as if it had never stopped.

    Args:
        space: The search space.
        train: Images to learn.
        valid: Images to validate on; normalized as the others are.
        recipe: Optimizer and schedule; its noise, if it has any, is in the training images only.
        schedules: Epochs that can be asked for; the recipe's alone by default, which are always the longest.
        macro: Fields of the macro-architecture other than the space's defaults; classes and channels follow the images.
        seed: Of everything random.
        device: Where to train.

    Raises:
        InputError: A macro field is unknown, or a schedule is longer than the recipe's.
    """

    device: str

    def __init__(
        self,
        space: Space[Any],
        train: ImageDataset,
        valid: ImageDataset,
        recipe: Recipe = HNAS_TRAINING,
        *,
        schedules: tuple[int, ...] = (),
        macro: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.space = space
        self.schedules = tuple(sorted({*schedules, recipe.epochs}))
        if self.schedules[-1] > recipe.epochs or self.schedules[0] < 1:
            raise InputError(f"a schedule has 1 to {recipe.epochs} epochs, not {', '.join(map(str, schedules))}")
        if (valid.num_classes, valid.in_channels) != (train.num_classes, train.in_channels):
            raise InputError(f"{valid.name} has other classes or channels than {train.name}: it cannot validate on it")
        self._train, self._valid_images, self._recipe = train, valid, recipe
        self._macro = complete_macro(space, train, macro)
        self._seed, self.device = seed, device
        check_seed(seed)

    def evaluate(self, arch: Architecture, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        import torch

        from prejudge.train.device import OutOfMemory
        from prejudge.train.evaluation.accuracy import accuracy
        from prejudge.train.learner import fit_from_seed
        from prejudge.train.loop import TrainingFailure

        self.check_epochs(epochs)
        recipe = replace(self._recipe, epochs=epochs or self._recipe.epochs)
        valid, start = self._valid, time.perf_counter()
        try:
            network, _ = fit_from_seed(
                lambda: self.space.network(arch, **self._macro),
                self._train,
                recipe,
                seed=self._seed,
                device=self.device,
            )
            value = accuracy(network, *valid, device=self.device)
        except (TrainingFailure, OutOfMemory, torch.OutOfMemoryError):
            value = math.nan
        return Evaluation(value, time.perf_counter() - start)

    def describe(self) -> dict[str, Any]:
        return {
            "training": self._recipe.as_dict(),
            "schedules": list(self.schedules),
            "data": self._train.name,
            "images": {"train": self._train.digest, "valid": self._valid_images.digest},
            "counts": {"train": len(self._train), "valid": len(self._valid_images)},
            "macro": self._macro,
            "seed": self._seed,
            "unit": "per cent",
        }

    @cached_property
    def _valid(self) -> tuple[Tensor, Tensor]:
        """Inputs ``(N, C, H, W)`` and targets ``(N,)``."""
        import torch

        from prejudge.data.transforms import normalize

        images = torch.from_numpy(self._valid_images.images).permute(0, 3, 1, 2).contiguous()
        inputs = normalize(images, self._train.mean, self._train.std)
        return inputs, torch.from_numpy(self._valid_images.labels)
