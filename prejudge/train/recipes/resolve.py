"""Which training is meant: a paper's recipe, fitted to the images at hand, with the user's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from prejudge.data.loading import LARGE
from prejudge.errors import InputError, unknown
from prejudge.train.recipes.published import PUBLISHED, RetrainRecipe, published_recipe
from prejudge.train.recipes.recipe import Recipe

_USUAL_SIDE = 32
_OF_SEARCHES = ("tenas", "hnas", "stacnas", "ista", "ista-onestage")
_OF_SPACES = ("nasbench201", "nasbench101")


@dataclass(frozen=True)
class Images:
    """What a training has to know of its images before it reads any.

    Attributes:
        name: What ``--data`` calls them, without a path.
        num_classes: Number of classes.
        in_channels: Their channels.
        side: The longer side in pixels.
    """

    name: str
    num_classes: int
    in_channels: int
    side: int


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
    images: Images,
    *,
    form: str | None = None,
    macro: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> tuple[RetrainRecipe, list[str]]:
    """A paper's recipe for some images, with the user's own numbers instead of its.

    Args:
        paper: One of :data:`PUBLISHED`.
        space: Name of the architecture's space.
        images: What is learned.
        form: Form of the network that the architecture is meant for; that of the recipe where it is not known.
        macro: The user's macro numbers.
        training: The user's numbers of the training, by the names of :class:`Recipe`.

    Returns:
        The recipe, and what in it is not as published, one sentence each.

    Raises:
        InputError: The recipe is one for another space, or a number is out of range.
    """
    base, published = published_data(paper, images.name, images.side)
    recipe, given = published_recipe(paper, base), dict(training or {})
    family = recipe.space
    if family != space and not (family == "darts" and space.startswith("darts")):
        others = [p for p, of in PUBLISHED.items() if next(iter(of.values()))[0].get("space", ("darts",))[0] == space]
        also = f"; for it there is {', '.join(others)}" if others else ""
        raise InputError(f"recipe {paper} trains networks of {family}, the architecture is of {space}{also}")
    notes = [] if published else [f"{paper} has no recipe for {images.name}: that for {base} is fitted to it"]
    recipe = recipe.for_images(images.name, num_classes=images.num_classes, in_channels=images.in_channels)
    numbers = dict(recipe.macro)
    if form is not None and form != numbers.get("form") and "form" not in (macro or {}):
        notes.append(f"the network has the form {form}, for which the architecture was found")
        numbers["form"] = form
    scaled = {} if published else _scaled(recipe.training, images.side)
    scaled = {name: value for name, value in scaled.items() if name not in given}
    if scaled:
        told = (f"{name} is {value} instead of {getattr(recipe.training, name)}" for name, value in scaled.items())
        notes.append(f"on images of {images.side} pixels {', '.join(told)}")
    numbers |= dict(macro or {})
    chosen = _combined(recipe.training, scaled, given)
    if family == "darts":
        numbers["auxiliary"] = chosen.auxiliary_weight > 0
    return replace(recipe, training=chosen, space=space, macro=tuple(numbers.items())), notes


def changes(recipe: RetrainRecipe, paper: str, kind: str) -> dict[str, tuple[Any, Any]]:
    """Numbers of a training that are not the published ones: by name, the published one and this one.

    Args:
        recipe: What is trained.
        paper: Whose recipe it was.
        kind: As ``--data`` has it.
    """
    base = published_recipe(paper, published_data(paper, kind)[0])
    there, here = vars(base.training) | dict(base.macro), vars(recipe.training) | dict(recipe.macro)
    return {name: (there.get(name), value) for name, value in here.items() if there.get(name) != value}


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
