"""The numbers behind a table, as a file or the command line says them."""

from __future__ import annotations

from typing import Any

import pytest

from prejudge.benchmarks.training.table_recipe import DIGITS_RECIPE, TableRecipe
from prejudge.errors import InputError


def test_a_recipe_comes_back_from_its_plain_values() -> None:
    assert TableRecipe.from_dict(DIGITS_RECIPE.as_dict()) == DIGITS_RECIPE


@pytest.mark.parametrize(
    "plain",
    [
        {"training": 1.5}, {"training": [1]}, {"macro": 3}, {"macro": ["a"]}, {"noise_seed": []},
        {"noise_seed": -1}, {"valid_copies": "2"}, {"test_copies": True}, {"train_images": "all"}, {"train_images": 0},
        {"training": {"epochs": []}}, {"training": {"x": 1}}, {"x": 1}, {"valid_copies": None},
    ],
)  # fmt: skip
def test_what_is_no_number_of_a_recipe_is_named(plain: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="recipe"):
        TableRecipe.from_dict(plain)
