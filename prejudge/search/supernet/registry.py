"""The register of gradient searches: a method is a generator of stages that returns an architecture."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from prejudge.data.dataset import ImageDataset
from prejudge.data.splits import random_split
from prejudge.errors import InputError
from prejudge.plugins import Register, options_of, summary_of
from prejudge.spaces.base import Architecture, Space
from prejudge.train.recipes.recipe import Recipe

if TYPE_CHECKING:
    from prejudge.data.batches import ImageBatches
    from prejudge.search.supernet.learner import ArchitectureLearner
    from prejudge.spaces.nn.supernet import Supernet
    from prejudge.train.device import DeviceConfig
    from prejudge.train.loop import Batches, Epoch


L = TypeVar("L", bound="ArchitectureLearner")


@dataclass(frozen=True, eq=False)
class Stage(Generic[L]):
    """A stretch of epochs with one learner.

    Attributes:
        name: What the stage is called; also the folder of its checkpoints.
        learner: What learns.
        batches: What the weights learn from.
        epochs: How many.
        held_out: Images whose accuracy is measured after every epoch; none where all images are learned from.
        keep_every: Keep the checkpoints of epochs that are multiples of this; 0 only the last one.
        origin: What was brought from another run, if anything was; a run that goes on must agree on it.
    """

    name: str
    learner: L
    batches: Batches
    epochs: int
    held_out: ImageDataset | None = None
    keep_every: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Setup:
    """What a method works with.

    Attributes:
        space: The search space.
        data: Training images; no method sees any others.
        device_config: Where to compute.
        seed: Of everything random.
        macro: Macro numbers of the supernet that the user has chosen, besides classes and image channels.
        training: Numbers of the weights' training that the user has chosen, by the names of :class:`Recipe`.
        resume_from: Folder of another run whose supernet is taken instead of training one.
        resume_epoch: Epoch of that run's checkpoint; its last one if left out.
        folder: Where the run keeps its checkpoints, and a method what else it makes; None for nowhere.
        facts: What the method wants to be kept with its result, as plain values; ``"form"`` is the form of the final
            network that the answer is meant for, where it is not the standard one.
    """

    space: Space[Any]
    data: ImageDataset
    device_config: DeviceConfig
    seed: int
    macro: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    resume_from: Path | None = None
    resume_epoch: int | None = None
    folder: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def recipe(self, published: Recipe) -> Recipe:
        """The published numbers of a method with those that the user has chosen; raises :class:`InputError`."""
        return replace(published, **self.training)

    def supernet(self, **published: Any) -> Supernet:
        """The supernet of the space on the device, for the data's classes and channels.

        Args:
            published: The method's own macro numbers; the user's go before them.
        """
        numbers = {"num_classes": self.data.num_classes, "in_channels": self.data.in_channels}
        return self.device_config.place(self.space.supernet(**{**numbers, **published, **self.macro}))

    def train_valid_split(self, share: float = 0.5) -> tuple[ImageDataset, ImageDataset]:
        """Images for the weights, and images for the architecture, parted at random from the seed."""
        return random_split(self.data, share, seed=self.seed)

    def batches(self, images: ImageDataset, recipe: Recipe, *, stream: int = 0) -> ImageBatches:
        """Batches of some images; another stream has another order and other crops."""
        from prejudge.train.recipes.batches import recipe_batches

        size, world = min(recipe.batch_size, len(images)), self.device_config.process_group
        return recipe_batches(
            images,
            replace(recipe, batch_size=size, accumulation_steps=min(recipe.accumulation_steps, size)),
            seed=2 * self.seed + stream,
            device=self.device_config.device,
            rank=world.rank,
            world=world.size,
        )


Stages = Generator[Stage[Any], "list[Epoch]", Architecture]
"""What a method's function returns: it is resumed, with all its epochs, when the stage that it yielded has been run."""


@dataclass(frozen=True)
class GradientMethod:
    """A registered gradient search.

    Attributes:
        name: The name that users type.
        function: ``function(setup, **options)``, a generator of stages.
        reference: The paper.
        spaces: Patterns of the names of the spaces that it searches.
        continues: Whether it can start from the supernet of an earlier run.
        options: Keyword options of ``function`` with their defaults.
    """

    name: str
    function: Callable[..., Stages]
    reference: str
    spaces: Sequence[str]
    continues: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return summary_of(self.function)

    def check_space(self, space: Space[Any]) -> None:
        """Raise :class:`InputError` unless the method searches this space."""
        if not any(fnmatch(space.name, pattern) for pattern in self.spaces):
            known = ", ".join(self.spaces)
            raise InputError(f"{self.name} searches {known}; it is not defined on {space.name}")


register: Register[GradientMethod] = Register("gradient search", "prejudge.gradient_searches")


def gradient_method(
    name: str, *, reference: str, spaces: Sequence[str], continues: bool = False
) -> Callable[[Callable[..., Stages]], Callable[..., Stages]]:
    """Decorator: register a generator of stages over a :class:`Setup` as a gradient search.

    Args:
        name: The name that users type.
        reference: The paper or note that defines it.
        spaces: Names of the spaces that it searches; ``*`` stands for any text.
        continues: Whether it looks at :attr:`Setup.resume_from`.
    """

    def add(function: Callable[..., Stages]) -> Callable[..., Stages]:
        options = options_of("gradient search", name, function)
        register.add(GradientMethod(name, function, reference, tuple(spaces), continues, options))
        return function

    return add
