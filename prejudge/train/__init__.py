"""Training: recipes, the one loop, checkpoints, evaluation and export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prejudge.train.evaluation.accuracy import accuracy
    from prejudge.train.learner import fit
    from prejudge.train.loop import Epoch, TrainingFailure
    from prejudge.train.recipes.recipe import Recipe
    from prejudge.train.training import TrainingResult, train_network

_HOME = {
    "Epoch": "loop",
    "Recipe": "recipes.recipe",
    "TrainingFailure": "loop",
    "TrainingResult": "training",
    "accuracy": "evaluation.accuracy",
    "fit": "learner",
    "train_network": "training",
}
"""Where each public name lives; the loop imports torch, recipes do not."""

__all__ = ["Epoch", "Recipe", "TrainingFailure", "TrainingResult", "accuracy", "fit", "train_network"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'prejudge.train' has no attribute {name!r}")
    return getattr(import_module(f"prejudge.train.{_HOME[name]}"), name)
