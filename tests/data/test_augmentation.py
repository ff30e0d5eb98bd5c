from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from prejudge.data.augmentation import (
    Affine,
    Augmentation,
    CropAndFlip,
    EachImage,
    Flip,
    auto_augment,
    center_view,
    imagenet_view,
)
from prejudge.data.transforms import crop_and_flip, cutout
from prejudge.errors import InputError
from prejudge.train.recipes.batches import recipe_augmentation
from prejudge.train.recipes.published import published_recipe
from prejudge.train.recipes.recipe import POLICIES, Recipe


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 6, size: int = 32, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, channels, size, size), generator=seeded(9), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("recipe", "kinds", "length"),
    [
        (Recipe(), [], 0),
        (Recipe(augment=True, padding=2), [CropAndFlip], 0),
        (Recipe(cutout=8), [], 8),
        (Recipe(augment=True, augmentation="affine"), [Affine], 0),
        (Recipe(augment=True, autoaugment="svhn", cutout=16), [CropAndFlip, EachImage], 16),
        (Recipe(augment=True, augmentation="imagenet", image_size=24), [EachImage], 0),
        (Recipe(augment=True, vertical_flip=True), [CropAndFlip, Flip], 0),
        (published_recipe("hnas", "cifar100").training, [CropAndFlip], 16),
        (published_recipe("stacnas", "mnist").training, [Affine], 16),
        (published_recipe("ista", "imagenet").training, [EachImage], 0),
    ],
)
def test_what_a_recipe_asks_for(recipe: Recipe, kinds: list[type], length: int) -> None:
    found = recipe_augmentation(recipe)
    assert [type(v) for v in found.views] == kinds and found.cutout == length
    side = recipe.image_size or 32
    out = found.on_bytes(pictures(size=40 if recipe.image_size else 32), seeded())
    assert out.shape == (6, 3, side, side) and out.dtype == torch.uint8


def test_the_imagenet_augmentation_needs_a_size() -> None:
    recipe = Recipe(augment=True, augmentation="imagenet")
    with pytest.raises(InputError, match="image_size"):
        recipe_augmentation(recipe)
    assert recipe_augmentation(recipe, 20).on_bytes(pictures(), seeded()).shape == (6, 3, 20, 20)


def test_views_come_one_after_the_other_from_one_generator() -> None:
    images = pictures()
    generator = seeded(1)
    expected = cutout(Flip()(crop_and_flip(images, generator, 3), generator).float(), 6, generator)
    both = Augmentation((CropAndFlip(3), Flip()), 6)
    generator = seeded(1)
    found = both.on_inputs(both.on_bytes(images, generator).float(), generator)
    assert torch.equal(found, expected)


def test_cutout_of_a_share_of_the_images_and_flips_top_to_bottom() -> None:
    recipe = Recipe(cutout=8, cutout_probability=0.25)
    inputs = torch.ones(400, 1, 16, 16)
    found = recipe_augmentation(recipe).on_inputs(inputs, seeded())
    assert 60 < sum(bool((image == 0).any()) for image in found) < 140
    assert torch.equal(recipe_augmentation(Recipe(cutout=8)).on_inputs(inputs, seeded()), cutout(inputs, 8, seeded()))
    images = pictures(40)
    flipped = Flip(vertical=True)(images, seeded())
    upside_down = images.flip(2)
    turned = [torch.equal(a, b) for a, b in zip(flipped, upside_down, strict=True)]
    assert 8 < sum(turned) < 32
    assert all(torch.equal(a, b) for a, b, was in zip(flipped, images, turned, strict=True) if not was)


def test_each_image_draws_for_itself_and_leaves_the_global_state_alone() -> None:
    same = pictures(1).repeat(8, 1, 1, 1)
    before = torch.get_rng_state()
    view = EachImage(v2.RandomHorizontalFlip())
    found = view(same, seeded(3))
    assert torch.equal(before, torch.get_rng_state())
    kinds = {"kept" if torch.equal(f, same[0]) else "flipped" for f in found}
    assert kinds == {"kept", "flipped"}
    torch.rand(7)
    assert torch.equal(found, view(same, seeded(3)))


@pytest.mark.parametrize("policy", POLICIES)
def test_auto_augment_is_torchvisions(policy: str) -> None:
    images = pictures(12)
    found = auto_augment(policy)(images, seeded(5))
    seed = int(torch.randint(2**62, (), generator=seeded(5)))
    transform = v2.AutoAugment(v2.AutoAugmentPolicy(policy), fill=128)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = torch.stack([transform(image) for image in images])
    assert torch.equal(found, expected) and not torch.equal(found, images)
    with pytest.raises(InputError, match="unknown policy of AutoAugment"):
        auto_augment("cifar100")


def test_imagenet_views_are_reproducible_and_their_colors_change() -> None:
    images = pictures(4, 50)
    found = imagenet_view(32)(images, seeded(1))
    assert found.shape == (4, 3, 32, 32) and torch.equal(found, imagenet_view(32)(images, seeded(1)))
    white = torch.full((20, 3, 40, 40), 128, dtype=torch.uint8)
    assert len(imagenet_view(16)(white, seeded())[:, 0, 0, 0].unique()) > 5


def test_the_center_is_that_of_a_test() -> None:
    images = pictures(2, 64)
    images = torch.cat([images, images], 3)  # 64 x 128
    found = center_view(28)(images, seeded())
    expected = v2.functional.center_crop(v2.functional.resize(images, [32], antialias=True), [28])
    assert torch.equal(found, expected)


def test_views_travel_to_workers() -> None:
    for recipe in (published_recipe("ista", "imagenet").training, Recipe(augment=True, autoaugment="cifar10")):
        sent = pickle.loads(pickle.dumps(recipe_augmentation(recipe)))
        assert sent.on_bytes(pictures(1), seeded()).dtype == torch.uint8
