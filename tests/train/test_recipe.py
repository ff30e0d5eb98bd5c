from __future__ import annotations

from dataclasses import replace

import pytest

from prejudge.errors import InputError
from prejudge.train.recipe import Recipe


def test_cosine_from_the_learning_rate_to_almost_zero() -> None:
    recipe = Recipe(learning_rate=0.2)
    rates = [recipe.learning_rate_at(step, 100) for step in range(100)]
    assert rates[0] == 0.2 and rates[50] == pytest.approx(0.1) and 0 < rates[99] < 1e-4
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"epochs": 2.0},
        {"batch_size": True},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"momentum": 1.0},
        {"momentum": 0.0},
        {"weight_decay": -1e-4},
        {"label_smoothing": 1.5},
        {"noise": "0.1"},
        {"min_learning_rate": 0.2},
        {"min_learning_rate": -0.1},
        {"clip": -1},
        {"drop_path": 1.0},
    ],
)
def test_impossible_numbers_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(Recipe(), **wrong)  # type: ignore[arg-type]


def test_cosine_to_a_least_learning_rate() -> None:
    recipe = Recipe(learning_rate=0.2, min_learning_rate=0.05)
    rates = [recipe.learning_rate_at(step, 100) for step in range(100)]
    assert rates[0] == 0.2 and rates[50] == pytest.approx(0.125) and 0.05 < rates[99] < 0.0501


def test_drop_path_rises_from_nothing() -> None:
    recipe = Recipe(epochs=4, drop_path=0.2)
    assert [recipe.drop_path_at(e) for e in range(4)] == pytest.approx([0, 0.05, 0.1, 0.15])


def test_plain_sgd_is_possible() -> None:
    assert Recipe(momentum=0, nesterov=False).as_dict()["momentum"] == 0
