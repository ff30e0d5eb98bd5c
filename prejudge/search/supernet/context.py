"""The context of a search that trains a supernet, with the parts that its methods put together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from prejudge.data.dataset import ImageDataset
from prejudge.data.splits import random_split
from prejudge.search.protocol import SearchContext
from prejudge.train.recipes.recipe import Recipe

if TYPE_CHECKING:
    from prejudge.data.batches import ImageBatches
    from prejudge.spaces.nn.supernet import Supernet
    from prejudge.train.device import DeviceConfig


@dataclass(eq=False)
class SupernetContext(SearchContext):
    """The space, images, device and seed of a search, and what its method makes of them.

    Besides the keys that a method chooses itself, :attr:`metadata` has ``"stages"`` and ``"curve"``, a row for every
    epoch; ``"form"`` is the form of the final network that the recommendation is meant for, where it is not the
    standard one.
    """

    needs: ClassVar[str] = "data"

    split_seed: int | None = None
    """Seed of the train/valid split; None for the run's own."""

    @property
    def images(self) -> ImageDataset:
        """The training images; no method sees any others."""
        assert self.data is not None
        return self.data

    @cached_property
    def device_config(self) -> DeviceConfig:
        """The device on which this run computes."""
        from prejudge.train.device import DeviceConfig

        given = self.device() if callable(self.device) else self.device
        return given if isinstance(given, DeviceConfig) else DeviceConfig(given or "cpu")

    @property
    def is_writer(self) -> bool:
        """Whether this is the first of the processes that train together, which alone writes files."""
        return self.device_config.process_group.is_first

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it all of torch's random numbers come from the seed; the caller's are as before afterwards."""
        import torch

        from prejudge.engine.random_state import own_random_state

        with own_random_state(self.seed):
            torch.manual_seed(self.seed)  # the accelerators' generators, too
            yield

    def describe(self) -> dict[str, Any]:
        """The kind of the search and its images, as plain values."""
        return {"kind": "supernet", "data": self.images.name, "images": self.images.digest}

    def recipe(self, published: Recipe) -> Recipe:
        """The published numbers of a method with those that the user has chosen; raises :class:`InputError`."""
        return published.with_options(self.training)

    def supernet(self, **published: Any) -> Supernet:
        """The supernet of the space on the device, for the data's classes and channels.

        Args:
            published: The method's own macro-architecture; the user's fields go before it.
        """
        numbers = {"num_classes": self.images.num_classes, "in_channels": self.images.in_channels}
        return self.device_config.place(self.space.supernet(**{**numbers, **published, **self.macro}))

    def train_valid_split(self, share: float = 0.5) -> tuple[ImageDataset, ImageDataset]:
        """Images for the weights, and held-out images for the architecture, split at random."""
        return random_split(self.images, share, seed=self.seed if self.split_seed is None else self.split_seed)

    def batches(self, images: ImageDataset, recipe: Recipe, *, stream: int = 0) -> ImageBatches:
        """Batches of some images; another stream has another order and other crops."""
        from prejudge.train.recipes.batches import recipe_batches

        size, group = min(recipe.batch_size, len(images)), self.device_config.process_group
        return recipe_batches(
            images,
            replace(recipe, batch_size=size, accumulation_steps=min(recipe.accumulation_steps, size)),
            seed=2 * self.seed + stream,
            device=self.device_config.device,
            rank=group.rank,
            world=group.size,
        )
