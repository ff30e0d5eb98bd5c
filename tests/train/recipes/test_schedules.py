"""Learning rates of every epoch against those of the original codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from prejudge.train.recipes.published import published_recipe
from prejudge.train.recipes.recipe import Recipe
from prejudge.train.recipes.schedules import SCHEDULES


def rates(recipe: Recipe, steps: int = 7) -> list[float]:
    """The learning rate of each epoch, which all its steps must have."""
    every = [recipe.learning_rate_at(step, steps * recipe.epochs) for step in range(steps * recipe.epochs)]
    first = every[::steps]
    assert all(every[k::steps] == first for k in range(steps))
    return first


@pytest.fixture(scope="module")
def published(golden: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((golden / "supernets" / "retrain.json").read_text())
    return found["schedules"]


SEARCH = Recipe(epochs=50, learning_rate=0.025, min_learning_rate=1e-3, schedule="cosine-epochs")


def test_cosine_of_epochs_is_the_closed_form(published: dict[str, Any]) -> None:
    assert rates(SEARCH) == published["search_closed_form"]


def test_cosine_of_epochs_has_the_order_of_the_papers(published: dict[str, Any]) -> None:
    # PyTorch's scheduler multiplies from epoch to epoch: the last digit of a double differs.
    assert rates(SEARCH) == pytest.approx(published["search_step_after"], rel=2e-15, abs=0)
    final = rates(published_recipe("darts", "cifar10").training)
    assert final == pytest.approx(published["final_step_after"], rel=2e-15, abs=0)
    assert final[0] == 0.025 and final[1:] == pytest.approx(published["final_step_before_modern"][:-1], rel=1e-13)


@pytest.mark.parametrize("paper", ["ista", "hnas"])
def test_linear_with_warm_up(published: dict[str, Any], paper: str) -> None:
    assert rates(published_recipe(paper, "imagenet").training) == published["imagenet_linear_warmup5_b0.5"]


def test_cosine_power(published: dict[str, Any]) -> None:
    assert rates(Recipe(epochs=600, learning_rate=0.025, schedule="cosine-power")) == published[
        "stacnas_cosine_power_p2"
    ]  # fmt: skip


def test_cosine_of_epochs_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40, eta_min=0.01)
    expected = []
    for _ in range(40):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    recipe = Recipe(epochs=40, learning_rate=0.3, min_learning_rate=0.01, schedule="cosine-epochs")
    assert rates(recipe) == pytest.approx(expected, rel=1e-12)


def test_exponential_is_darts_on_imagenet() -> None:
    found = rates(published_recipe("darts", "imagenet").training)
    assert found[:3] == pytest.approx([0.1, 0.097, 0.09409]) and len(found) == 250
    assert found[249] == pytest.approx(0.1 * 0.97**249)


def test_linear_ends_flat() -> None:
    found = rates(Recipe(epochs=15, learning_rate=1.0, schedule="linear"))
    assert found[:10] == pytest.approx([1 - e / 10 for e in range(10)])
    assert found[10:] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02])


def test_constant() -> None:
    assert set(rates(Recipe(epochs=9, learning_rate=0.2, schedule="constant"))) == {0.2}


def test_cosine_power_is_near_the_cosine_for_a_power_near_1() -> None:
    near = Recipe(epochs=30, schedule="cosine-power", cosine_power=1.0001)
    plain = Recipe(epochs=30, schedule="cosine-epochs")
    assert rates(near) == pytest.approx(rates(plain), abs=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_replaces_the_first_epochs_alone(schedule: str) -> None:
    plain = Recipe(epochs=12, learning_rate=0.5, schedule=schedule)
    warm = Recipe(epochs=12, learning_rate=0.5, schedule=schedule, warmup_epochs=5)
    steps = 3 * 12
    found = [warm.learning_rate_at(s, steps) for s in range(steps)]
    assert found[:15:3] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[15:] == [plain.learning_rate_at(s, steps) for s in range(15, steps)]
    assert min(found) >= 0 and max(found) <= 0.5
