"""A published recipe, fitted to other images and with other numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.recipes.published import PUBLISHED, PublishedRecipe, published_recipe
from prejudge.train.recipes.resolve import default_recipe, fitted_recipe, published_data


def one_image(name: str, num_classes: int, channels: int, side: int) -> ImageDataset:
    images, labels = np.zeros((1, side, side, channels), np.uint8), np.zeros(1, np.int64)
    return ImageDataset(name, images, labels, num_classes, (0.5,) * channels, (0.5,) * channels, published=True)


def fitted(*arguments: Any, **options: Any) -> tuple[PublishedRecipe, list[str]]:
    found = fitted_recipe(*arguments, **options)
    return found.recipe, list(found.warnings)


CIFAR10 = one_image("cifar10", 10, 3, 32)
DIGITS = one_image("digits", 10, 1, 8)


@pytest.mark.parametrize("paper", PUBLISHED)
def test_a_published_recipe_stays_what_it_is(paper: str) -> None:
    published = published_recipe(paper, "cifar10") if "cifar10" in PUBLISHED[paper] else None
    assert published is not None
    found, notes = fitted(paper, published.space, CIFAR10)
    assert found.training == published.training
    assert {k: v for k, v in dict(found.macro).items() if k != "in_channels"} == dict(published.macro)
    assert notes == []
    assert set(fitted_recipe(paper, published.space, CIFAR10).changes()) <= {"in_channels"}


def test_a_file_that_is_called_like_published_images_is_not_them() -> None:
    mine = replace(CIFAR10, name="cifar100", num_classes=20, published=False)
    found, notes = fitted("hnas", "darts", mine)
    assert found.training == published_recipe("hnas", "cifar10").training
    assert notes == ["hnas has no recipe for cifar100: that for cifar10 is fitted to it"]


def test_other_images_are_fitted() -> None:
    found, notes = fitted("darts", "darts", DIGITS, training={"epochs": 3}, macro={"channels": 4})
    numbers = dict(found.macro)
    assert (numbers["num_classes"], numbers["in_channels"], numbers["channels"]) == (10, 1, 4)
    assert (found.training.epochs, found.training.cutout, found.training.padding) == (3, 4, 1)
    assert notes == [
        "darts has no recipe for digits: that for cifar10 is fitted to it",
        "on images of 8 pixels cutout is 4 instead of 16, padding is 1 instead of 4",
    ]
    changed = fitted_recipe("darts", "darts", DIGITS, training={"epochs": 3}, macro={"channels": 4}).changes()
    assert changed["epochs"] == (600, 3)
    assert changed["channels"] == (36, 4)
    kept, notes = fitted("darts", "darts", DIGITS, training={"cutout": 6, "padding": 2})
    assert (kept.training.cutout, kept.training.padding, len(notes)) == (6, 2, 1)


def test_large_images_are_trained_as_imagenet() -> None:
    photographs = one_image("flowers", 5, 3, 224)
    found, notes = fitted("hnas", "darts", photographs)
    assert dict(found.macro)["stem"] == "imagenet"
    assert dict(found.macro)["num_classes"] == 5
    assert notes == ["hnas has no recipe for flowers: that for imagenet is fitted to it"]
    assert published_data("darts", "imagenet@64") == ("imagenet", True)
    assert published_data("nasbench201", "folder:x", 224) == ("cifar10", False)


def test_the_form_of_the_search_goes_before_the_recipes_and_the_users_before_both() -> None:
    found, notes = fitted("darts", "darts", CIFAR10, form="stacnas-zero")
    assert dict(found.macro)["form"] == "stacnas-zero"
    assert "stacnas-zero" in notes[0]
    found, notes = fitted("darts", "darts", CIFAR10, form="stacnas", macro={"form": "ista-onestage"})
    assert (dict(found.macro)["form"], notes) == ("ista-onestage", [])


def test_numbers_that_would_contradict_a_changed_one_go_with_it() -> None:
    imagenet = one_image("imagenet", 1000, 3, 224)
    short, _ = fitted("hnas", "darts", imagenet, training={"epochs": 3, "schedule": "constant"})
    assert short.training.warmup_epochs == 0
    c100 = one_image("cifar100", 100, 3, 32)
    constant, _ = fitted("hnas", "darts", c100, training={"schedule": "constant"})
    assert constant.training.min_learning_rate == 0
    plain, _ = fitted("nasbench201", "nasbench201", CIFAR10, training={"momentum": 0.0})
    assert not plain.training.nesterov
    alone, _ = fitted("darts", "darts", CIFAR10, training={"auxiliary_weight": 0.0})
    assert dict(alone.macro)["auxiliary"] is False


def test_a_recipe_for_another_space_is_refused() -> None:
    with pytest.raises(InputError, match="recipe darts trains networks of darts, the architecture is of nasbench201"):
        fitted_recipe("darts", "nasbench201", CIFAR10)
    with pytest.raises(InputError, match="unknown published recipe 'dart'"):
        fitted_recipe("dart", "darts", CIFAR10)
    assert fitted_recipe("darts", "darts-s2", CIFAR10).recipe.space == "darts-s2"


def test_the_recipe_of_a_search_or_a_space() -> None:
    assert [default_recipe("darts", m) for m in ("stacnas", "te-nas", "sdarts", "")] == [
        "stacnas",
        "te-nas",
        "darts",
        "darts",
    ]
    assert default_recipe("nasbench201", "te-nas") == "nasbench201"
    assert default_recipe("nasbench101") == "nasbench101"
    assert default_recipe("darts-s4", "darts-pt") == "darts"


def test_a_number_that_no_training_has_is_named() -> None:
    with pytest.raises(InputError, match="unknown option of a training recipe 'epochs2'; did you mean 'epochs'"):
        fitted_recipe("darts", "darts", CIFAR10, training={"epochs2": 1})
