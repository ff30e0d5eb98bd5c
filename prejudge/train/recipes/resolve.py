"""A paper's recipe fitted to the images at hand, with the user's own options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from prejudge.data.dataset import ImageDataset
from prejudge.data.loading import LARGE
from prejudge.errors import InputError, unknown
from prejudge.train.recipes.published import PUBLISHED, PublishedRecipe, published_recipe
from prejudge.train.recipes.recipe import Recipe

_USUAL_SIDE = 32
_OF_SEARCHES = ("te-nas", "hnas", "stacnas", "ista", "ista-onestage")
_OF_SPACES = ("nasbench201", "nats-size", "nasbench101")


@dataclass(frozen=True)
class FittedRecipe:
    """A published recipe that was fitted to some images, with the user's own options.

    Attributes:
        recipe: The fitted recipe.
        published: The recipe as its paper has it.
        warnings: What is not as published, one sentence each.
    """

    recipe: PublishedRecipe
    published: PublishedRecipe
    warnings: tuple[str, ...] = ()

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """The options that are not the published ones: by name, the published value and this one."""
        there, here = (vars(r.training) | dict(r.macro) for r in (self.published, self.recipe))
        return {name: (there.get(name), value) for name, value in here.items() if there.get(name) != value}


def default_recipe(space: str, method: str = "") -> str:
    """Name of the published recipe that fits an architecture.

    Args:
        space: Name of its space.
        method: Name of the search that found it, where known.
    """
    if space in _OF_SPACES:
        return space
    return method if method in _OF_SEARCHES else "darts"


def published_data(paper: str, kind: str, side: int = 0) -> tuple[str, bool]:
    """Name of the images whose published recipe fits some images best, and whether it was published for these.

    Args:
        paper: One of :data:`PUBLISHED`.
        kind: As ``--data`` has it.
        side: Of the images, where known.
    """
    if paper not in PUBLISHED:
        raise unknown("published recipe", paper, PUBLISHED)
    name = kind.partition(":")[0].partition("@")[0]
    known = PUBLISHED[paper]
    if name in known:
        return name, True
    return ("imagenet" if side >= LARGE and "imagenet" in known else next(iter(known))), False


def fitted_recipe(
    paper: str,
    space: str,
    data: ImageDataset,
    *,
    form: str | None = None,
    macro: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> FittedRecipe:
    """Fit a paper's recipe to some images, with the user's own options in place of its.

    Args:
        paper: One of :data:`PUBLISHED`.
        space: Name of the architecture's space.
        data: The training images; only published ones have recipes of their own, whatever a file is called.
        form: Form of the network that the architecture is meant for; that of the recipe where it is not known.
        macro: The user's macro-architecture numbers.
        training: The user's options of the training, by the names of :class:`Recipe`.

    Raises:
        InputError: The recipe is one for another space, or an option is unknown or out of range.
    """
    base, published = published_data(paper, data.name if data.published else "", data.image_size)
    original, given = published_recipe(paper, base), dict(training or {})
    family = original.space
    if family != space and not (family == "darts" and space.startswith("darts")):
        others = [p for p, of in PUBLISHED.items() if next(iter(of.values()))[0].get("space", ("darts",))[0] == space]
        also = f"; for it there is {', '.join(others)}" if others else ""
        raise InputError(f"recipe {paper} trains networks of {family}, the architecture is of {space}{also}")
    warnings = [] if published else [f"{paper} has no recipe for {data.name}: that for {base} is fitted to it"]
    recipe = original.for_images(data.name, num_classes=data.num_classes, in_channels=data.in_channels)
    numbers = dict(recipe.macro)
    if form is not None and form != numbers.get("form") and "form" not in (macro or {}):
        warnings.append(f"the network has the form {form}, for which the architecture was found")
        numbers["form"] = form
    scaled = {} if published else _scaled(recipe.training, data.image_size)
    scaled = {name: value for name, value in scaled.items() if name not in given}
    if scaled:
        told = (f"{name} is {value} instead of {getattr(recipe.training, name)}" for name, value in scaled.items())
        warnings.append(f"on images of {data.image_size} pixels {', '.join(told)}")
    numbers |= dict(macro or {})
    chosen = _combined(recipe.training, scaled, given)
    if family == "darts":
        numbers["auxiliary"] = chosen.auxiliary_weight > 0
    fitted = replace(recipe, training=chosen, space=space, macro=tuple(numbers.items()))
    return FittedRecipe(fitted, original, tuple(warnings))


def _scaled(training: Recipe, side: int) -> dict[str, int]:
    """Cutout and the padding of crops cover the same part of smaller images as of those of 32 pixels."""
    if training.augmentation == "imagenet" or not 0 < side < _USUAL_SIDE:
        return {}
    found = {name: round(getattr(training, name) * side / _USUAL_SIDE) for name in ("cutout", "padding")}
    return {name: value for name, value in found.items() if value != getattr(training, name)}


def _combined(published: Recipe, scaled: Mapping[str, Any], given: Mapping[str, Any]) -> Recipe:
    """The published numbers with others; what would contradict a number that was changed goes, too."""
    also: dict[str, Any] = {}
    epochs = given.get("epochs", published.epochs)
    if isinstance(epochs, int) and published.warmup_epochs >= epochs and "warmup_epochs" not in given:
        also["warmup_epochs"] = 0
    schedule = given.get("schedule", published.schedule)
    if not str(schedule).startswith("cosine") and "min_learning_rate" not in given:
        also["min_learning_rate"] = 0.0
    if given.get("optimizer", published.optimizer) != "sgd" or given.get("momentum", published.momentum) == 0:
        also["nesterov"] = given.get("nesterov", False)
    return published.with_options({**scaled, **also, **given})
