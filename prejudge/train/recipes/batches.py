"""The augmentation and the batches that a recipe asks for."""

from __future__ import annotations

from dataclasses import replace

import torch

from prejudge.data.augmentation import (
    Affine,
    Augmentation,
    CropAndFlip,
    Flip,
    View,
    auto_augment,
    center_view,
    imagenet_view,
)
from prejudge.data.batches import ImageBatches
from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.recipes.recipe import Recipe


def recipe_augmentation(recipe: Recipe, image_size: int = 0) -> Augmentation:
    """The augmentation of a recipe.

    Args:
        recipe: The recipe.
        image_size: Side of the images, for the ``imagenet`` augmentation where the recipe does not say it.

    Raises:
        InputError: The size is not known.
    """
    views: list[View] = []
    if recipe.augment and recipe.augmentation == "crop-flip":
        views.append(CropAndFlip(recipe.padding))
    elif recipe.augment and recipe.augmentation == "affine":
        views.append(Affine())
    elif recipe.augment:
        size = recipe.image_size or image_size
        if not size:
            raise InputError("recipe: the imagenet augmentation needs image_size, the side of the network's images")
        views.append(imagenet_view(size))
    if recipe.vertical_flip:
        views.append(Flip(vertical=True))
    if recipe.autoaugment:
        views.append(auto_augment(recipe.autoaugment))
    return Augmentation(tuple(views), recipe.cutout, recipe.cutout_probability)


def recipe_batches(
    data: ImageDataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world: int = 1,
) -> ImageBatches:
    """The batches that a recipe asks for; the arguments are those of :class:`~prejudge.data.ImageBatches`."""
    augment = recipe_augmentation(recipe, recipe.image_size or data.image_size)
    if not data.in_memory and not (recipe.augment and recipe.augmentation == "imagenet"):
        # The other views need images of one size.
        size = recipe.image_size or data.image_size
        augment = replace(augment, views=(center_view(size), *augment.views))
    return ImageBatches(
        data,
        recipe.batch_size,
        seed=seed,
        augment=augment,
        noise=recipe.noise_std,
        workers=workers,
        device=device,
        rank=rank,
        world=world,
    )
