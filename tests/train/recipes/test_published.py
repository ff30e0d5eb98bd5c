from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields

import pytest

from prejudge.data.normalization import NORMALIZATIONS
from prejudge.errors import InputError
from prejudge.spaces import space
from prejudge.train.recipes.published import PUBLISHED, PublishedRecipe, published_recipe
from prejudge.train.recipes.recipe import Recipe

ALL = [(paper, data) for paper, of_paper in PUBLISHED.items() for data in of_paper]
CLASSES = {"cifar100": 100, "imagenet": 1000, "imagenet16-120": 120}


@pytest.mark.parametrize(("paper", "data"), ALL)
def test_each_is_whole(paper: str, data: str) -> None:
    recipe = published_recipe(paper, data)
    assert (recipe.paper, recipe.data) == (paper, data)
    macro = dict(recipe.macro)
    space(recipe.space).macro(**macro)  # the names and numbers are those of the space
    assert macro["num_classes"] == CLASSES.get(data, 10)
    mean, std = NORMALIZATIONS[recipe.normalization]
    assert len(mean) == len(std) == macro.get("in_channels", 3)
    assert macro.get("auxiliary", False) == (recipe.training.auxiliary_weight > 0)
    assert (recipe.training.augmentation == "imagenet") == (macro.get("stem") == "imagenet")


@pytest.mark.parametrize(("paper", "data"), ALL)
def test_each_number_has_a_source(paper: str, data: str) -> None:
    recipe = published_recipe(paper, data)
    named = {f.name for f in fields(Recipe) if getattr(recipe.training, f.name) != f.default} | set(dict(recipe.macro))
    named |= {"normalization"} | ({"seed"} if recipe.seed is not None else set())
    assert all(recipe.source(name) for name in named)
    plain = json.loads(json.dumps(recipe.as_dict()))
    assert Recipe(**plain["training"]) == recipe.training and plain["macro"] == dict(recipe.macro)


def test_those_of_the_gradient_searches_agree_but_where_they_are_known_to_differ() -> None:
    """The table of the evaluation codes: what is not named here is DARTS'."""
    base = published_recipe("darts", "cifar10")
    training = base.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (600, 96, 0.025)
    assert (training.weight_decay, training.max_grad_norm, training.drop_path, training.auxiliary_weight) == (
        3e-4,
        5,
        0.2,
        0.4,
    )
    assert (training.momentum, training.nesterov, training.cutout, training.schedule) == (
        0.9,
        False,
        16,
        "cosine-epochs",
    )
    for paper, differing in {
        "ista": {},
        "ista-onestage": {},
        "stacnas": {},
        "hnas": {},
        "te-nas": {"epochs": 800, "drop_path": 0.3},
    }.items():
        assert published_recipe(paper, "cifar10").training.as_dict() == training.as_dict() | differing
    hundred = {"learning_rate": 0.035, "min_learning_rate": 1e-3, "drop_path": 0.3, "auxiliary_weight": 0.6}
    assert published_recipe("hnas", "cifar100").training.as_dict() == training.as_dict() | hundred
    forms = {p: dict(published_recipe(p).macro)["form"] for p in ("darts", "ista", "ista-onestage", "stacnas", "hnas")}
    assert forms == {
        "darts": "standard", "ista": "standard", "ista-onestage": "ista-onestage", "stacnas": "stacnas",
        "hnas": "standard",
    }  # fmt: skip
    seeds = {p: published_recipe(p).seed for p in ("darts", "ista", "stacnas", "hnas", "te-nas")}
    assert seeds == {"darts": 0, "ista": 0, "stacnas": 3, "hnas": 0, "te-nas": 0}


def test_imagenet_differs_in_batch_and_schedule() -> None:
    found = {p: published_recipe(p, "imagenet").training for p in ("darts", "ista", "hnas", "te-nas")}
    assert {p: (t.batch_size, t.learning_rate, t.schedule, t.warmup_epochs) for p, t in found.items()} == {
        "darts": (128, 0.1, "exponential", 0),
        "ista": (1024, 0.5, "linear", 5),
        "hnas": (1024, 0.5, "linear", 5),
        "te-nas": (768, 0.5, "cosine-epochs", 5),
    }
    for training in found.values():
        assert (training.label_smoothing, training.weight_decay, training.drop_path, training.cutout) == (
            0.1,
            3e-5,
            0,
            0,
        )


def test_nasbench201_is_the_default_recipe_with_augmentation() -> None:
    assert published_recipe("nasbench201").training == Recipe(augment=True)
    assert published_recipe("nasbench201", "imagenet16-120").training.padding == 2


@pytest.mark.parametrize(
    ("paper", "data", "message"),
    [
        ("dart", "cifar10", "unknown published recipe 'dart'; did you mean 'darts'"),
        ("ista", "svhn", "ista has no published recipe for 'svhn'; it has cifar10, imagenet"),
    ],
)
def test_unknown_ones_are_told_what_there_is(paper: str, data: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        published_recipe(paper, data)
    with pytest.raises(
        InputError, match="unknown number of the recipe darts for cifar10 'epoch'; did you mean 'epochs'"
    ):
        published_recipe("darts").source("epoch")


def test_it_can_be_used_for_other_images() -> None:
    digits = {"num_classes": 10, "in_channels": 1}
    recipe: PublishedRecipe = published_recipe("stacnas", "mnist").for_images("digits", **digits)
    assert dict(recipe.macro) == dict(published_recipe("stacnas", "mnist").macro) and recipe.data == "digits"
    fitted = published_recipe("darts", "cifar100").for_images("digits", **digits)
    assert (dict(fitted.macro)["num_classes"], dict(fitted.macro)["in_channels"]) == (10, 1)
    assert fitted.source("num_classes") == "the images" and fitted.training == published_recipe("darts").training


def test_torch_is_not_needed() -> None:
    code = "import sys; from prejudge.train.recipes.published import published_recipe as p; p('hnas', 'cifar100')"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True, timeout=60)
