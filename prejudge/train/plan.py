"""Training plans: everything that a training depends on, resolved and checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prejudge.data.dataset import ImageDataset
from prejudge.data.splits import Splits, random_split
from prejudge.errors import InputError, check_integer, unknown
from prejudge.spaces.base import Architecture, Space
from prejudge.spaces.base import space as space_named
from prejudge.train.images import load_training_images
from prejudge.train.recipes.macro import macro_for_images
from prejudge.train.recipes.published import PublishedRecipe, published_recipe
from prejudge.train.recipes.recipe import Recipe
from prejudge.train.recipes.resolve import FittedRecipe, default_recipe, fitted_recipe, published_data

SELECTIONS = {
    "last": "the network of the last epoch",
    "valid": "the network of the epoch that was best on validation images",
    "test": "the network of the epoch that was best on the test images: its test accuracy is too good to compare",
}
"""Which epoch's network is the result."""

HELD_OUT = 0.1
"""Share of the training images that is split off to validate on where no others are given."""


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """A training that was resolved: :func:`prejudge.train.run_plan` does it.

    Attributes:
        space: The search space.
        architecture: The architecture.
        macro: Every macro-architecture number of the network.
        recipe: The options of the training.
        data: Training images; validation and test images where there are some.
        seed: Of weights, order and augmentation.
        selection: Which epoch's network is the result, one of :data:`SELECTIONS`.
        paper: Whose published recipe it is; empty for a recipe of one's own.
        changes: Options that are not as published: by name, the published value and this one.
        origin: Where the architecture comes from, as plain values.
        warnings: What the user should know, one sentence each.
    """

    space: Space[Any]
    architecture: Architecture
    macro: Mapping[str, Any]
    recipe: Recipe
    data: Splits
    seed: int
    selection: str
    paper: str = ""
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def image_size(self) -> int:
        """Side of the images that the network takes."""
        return self.recipe.image_size or self.data.train.image_size

    @property
    def deployed_macro(self) -> dict[str, Any]:
        """The macro-architecture without the auxiliary classifier, which only training needs."""
        return {**self.macro, **({"auxiliary": False} if "auxiliary" in self.macro else {})}

    @property
    def params(self) -> int:
        """Number of weights of the network, without the auxiliary classifier."""
        return self.space.params(self.architecture, **self._counted)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image, without the auxiliary classifier."""
        return self.space.flops(self.architecture, self.image_size, **self._counted)

    @property
    def _counted(self) -> dict[str, Any]:
        return {name: value for name, value in self.macro.items() if name != "auxiliary"}


def plan_training(
    space: Space[Any] | str,
    architecture: Architecture | str,
    data: Splits | ImageDataset | str,
    recipe: PublishedRecipe | Recipe | str | None = None,
    *,
    macro: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    form: str | None = None,
    selection: str = "valid",
    held_out: float = HELD_OUT,
    seed: int | None = None,
    origin: Mapping[str, Any] | None = None,
    **places: Any,
) -> TrainingPlan:
    """Resolve a training: parse the architecture, read the images, and fit the recipe to them.

    Args:
        space: The search space, or its name.
        architecture: The architecture, in any notation of the space.
        data: The images, or their name as ``--data`` has it. Where there are none to validate on, and the selection
            needs them, some are split off the training images.
        recipe: A paper's name (``"darts"`` …): its published recipe, fitted to the images; the recipe of the space if
            left out. A :class:`PublishedRecipe` or a :class:`Recipe` counts as it is.
        macro: Macro-architecture numbers that override the recipe's; classes and channels follow the images.
        training: Options of :class:`Recipe` that override the recipe's, by name.
        form: Form of the network that the architecture is meant for, where that is known.
        selection: One of :data:`SELECTIONS`. With ``"last"`` nothing is split off: all training images are learned.
        held_out: Share of the training images to split off.
        seed: Of weights, split, order and augmentation; that of the recipe, or 0, if left out.
        origin: Where the architecture comes from, as plain values for the records.
        places: ``data_dir``, ``download`` and ``normalization`` where ``data`` is a name, as for
            :func:`prejudge.data.load`.

    Raises:
        InputError: Architecture, images, recipe and network do not fit each other.
        MissingDataError: Images are not there.
        FileFormatError: A file of images is damaged.
    """
    where = space_named(space) if isinstance(space, str) else space
    parsed = where.parse(architecture)
    if recipe is None:
        recipe = default_recipe(where.name)
    warnings: list[str] = []
    if isinstance(data, str):
        data, warnings = _load(data, recipe, places)
    elif places:
        raise InputError(f"{next(iter(places))} is for images that are named; the images are given")
    elif isinstance(data, ImageDataset):
        data = Splits(data)
    fitted = _fitted(recipe, where, data.train, form, macro, training)
    published, warnings = fitted.recipe, [*warnings, *fitted.warnings]
    if isinstance(recipe, str) and fitted.published.data == published.data:
        warnings += published.notes
    chosen_seed = (published.seed or 0) if seed is None else seed
    chosen_seed = check_integer("a seed", chosen_seed, least=0)
    splits, held = _with_validation(data, selection, held_out, chosen_seed)
    return TrainingPlan(
        where,
        parsed,
        _complete_macro(where, dict(published.macro), macro or {}, published.training, splits.train),
        published.training,
        splits,
        chosen_seed,
        selection,
        published.paper,
        fitted.changes() if published.paper else {},
        dict(origin or {}),
        (*warnings, *held),
    )


def _load(kind: str, recipe: PublishedRecipe | Recipe | str, places: Mapping[str, Any]) -> tuple[Splits, list[str]]:
    """The images, normalized as the recipe does where it was published for them and the user says nothing else."""
    given = dict(places)
    if given.get("normalization") is None and isinstance(recipe, str):
        base, published = published_data(recipe, kind)
        if published:
            given["normalization"] = published_recipe(recipe, base).normalization or None
    return load_training_images(kind, **given)


def _fitted(
    recipe: PublishedRecipe | Recipe | str,
    space: Space[Any],
    data: ImageDataset,
    form: str | None,
    macro: Mapping[str, Any] | None,
    training: Mapping[str, Any] | None,
) -> FittedRecipe:
    if isinstance(recipe, str):
        return fitted_recipe(recipe, space.name, data, form=form, macro=macro, training=training)
    original = PublishedRecipe("", data.name, recipe, space.name) if isinstance(recipe, Recipe) else recipe
    return FittedRecipe(replace(original, training=original.training.with_options(training or {})), original)


def _with_validation(data: Splits, selection: str, held_out: float, seed: int) -> tuple[Splits, list[str]]:
    """The images, with some split off to validate on where the selection needs them; and a warning that says so."""
    if selection not in SELECTIONS:
        raise unknown("selection", selection, SELECTIONS)
    if selection == "test" and data.test is None:
        raise InputError(f"{data.name}: there are no test images to select by; select by valid, or last")
    if selection != "valid" or data.valid is not None:
        return data, []
    train, valid = random_split(data.train, 1 - held_out, seed=seed)
    warning = (
        f"{len(valid):,} of the {len(data.train):,} training images are held out to choose the epoch; "
        "select the last epoch to learn from all of them, as the papers do"
    )
    return Splits(train, valid, data.test), [warning]


def _complete_macro(
    space: Space[Any], published: Mapping[str, Any], given: Mapping[str, Any], recipe: Recipe, data: ImageDataset
) -> dict[str, Any]:
    """Every macro field of the network: the given ones go before the recipe's."""
    known = space.default_macro
    for name in published:
        if name not in known:
            raise InputError(f"the recipe is for networks with {name!r}, which those of {space.name} do not have")
    auxiliary = {"auxiliary": recipe.auxiliary_weight > 0} if "auxiliary" in known else {}
    return macro_for_images(space, {**published, **given, **auxiliary}, data)
