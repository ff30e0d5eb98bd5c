from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from prejudge.benchmarks.training.table_recipe import DIGITS_RECIPE, TableRecipe
from prejudge.errors import InputError
from prejudge.train.recipes.recipe import GROUPS, Recipe


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
        {"noise_std": "0.1"},
        {"min_learning_rate": 0.2},
        {"min_learning_rate": -0.1},
        {"max_grad_norm": -1},
        {"drop_path": 1.0},
        {"schedule": "cosin"},
        {"warmup_epochs": -1},
        {"warmup_epochs": 200},
        {"min_learning_rate": 0.01, "schedule": "linear"},
        {"gamma": 0.0},
        {"gamma": 1.1},
        {"cosine_power": 1},
        {"auxiliary_weight": -0.4},
        {"augmentation": "flip"},
        {"augment": 1},
        {"nesterov": "no"},
        {"padding": -4},
        {"image_size": 0.5},
        {"cutout": 16.0},
        {"cutout_probability": 1.5},
        {"vertical_flip": True},
        {"autoaugment": "cifar100"},
        {"accumulation_steps": 0},
        {"accumulation_steps": 257},
        {"ema_decay": 1.0},
        {"optimizer": "adam"},
        {"nesterov": True, "optimizer": "rmsprop"},
    ],
    ids=str,
)
def test_impossible_numbers_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))) as caught:
        replace(Recipe(), **wrong)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1


def test_the_linear_schedule_needs_its_slow_epochs() -> None:
    with pytest.raises(InputError, match="linear schedule needs more than 5 epochs, not 5"):
        Recipe(epochs=5, schedule="linear")


def test_cosine_to_a_least_learning_rate() -> None:
    recipe = Recipe(learning_rate=0.2, min_learning_rate=0.05)
    rates = [recipe.learning_rate_at(step, 100) for step in range(100)]
    assert rates[0] == 0.2 and rates[50] == pytest.approx(0.125) and 0.05 < rates[99] < 0.0501


def test_drop_path_rises_from_nothing() -> None:
    recipe = Recipe(epochs=4, drop_path=0.2)
    assert [recipe.drop_path_at(e) for e in range(4)] == pytest.approx([0, 0.05, 0.1, 0.15])


def test_drop_path_is_the_published_ramp(golden: Path) -> None:
    ramp = json.loads((golden / "supernets" / "retrain.json").read_text())["schedules"]["drop_path_600_0.2"]
    recipe = Recipe(epochs=600, drop_path=0.2)
    assert [recipe.drop_path_at(e) for e in range(600)] == ramp


def test_label_smoothing_is_the_published_loss(golden: Path) -> None:
    case = json.loads((golden / "supernets" / "retrain.json").read_text())["label_smooth"]
    recipe = Recipe(label_smoothing=case["eps"])
    logits, labels = torch.tensor(case["logits"]), torch.tensor(case["labels"])
    loss = F.cross_entropy(logits.double(), labels, label_smoothing=recipe.label_smoothing)
    assert float(loss) == pytest.approx(case["loss"], abs=1e-6)


def test_plain_sgd_is_possible() -> None:
    assert Recipe(momentum=0, nesterov=False).as_dict()["momentum"] == 0


def test_plain_values_are_the_whole_recipe() -> None:
    other = Recipe(schedule="linear", warmup_epochs=5, cutout=16)
    plain = json.loads(json.dumps(other.as_dict()))
    assert Recipe(**plain) == other and set(plain) == set(Recipe.names())
    assert sum(len(group.names()) for group in GROUPS) == len(plain), "each option is of one group"
    assert all(group(**{name: plain[name] for name in group.names()}) for group in GROUPS)


def test_a_misspelt_option_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'max_grad_norm'"):
        Recipe().with_options({"max_norm": 5.0})


def test_a_table_reads_and_writes_recipes() -> None:
    kept = DIGITS_RECIPE.as_dict()
    assert set(kept["training"]) == set(Recipe.names()) and TableRecipe.from_dict(kept) == DIGITS_RECIPE
    later = replace(DIGITS_RECIPE, training=Recipe(noise_std=0.25, cutout=4))
    assert TableRecipe.from_dict(json.loads(json.dumps(later.as_dict()))) == later
