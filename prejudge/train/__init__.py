"""Training for real: images, batches, recipes and the one training loop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prejudge.train.batches import MemoryBatches
    from prejudge.train.data import Batch, ImageSet, batch, load
    from prejudge.train.evaluation import accuracy
    from prejudge.train.loop import Epoch, TrainingFailure
    from prejudge.train.recipe import Recipe
    from prejudge.train.splits import Splits, load_splits, split_in_two
    from prejudge.train.supervised import fit
    from prejudge.train.training import TrainingResult, train_network

_HOME = {
    "Batch": "data",
    "Epoch": "loop",
    "ImageSet": "data",
    "MemoryBatches": "batches",
    "Recipe": "recipe",
    "Splits": "splits",
    "TrainingFailure": "loop",
    "TrainingResult": "training",
    "accuracy": "evaluation",
    "batch": "data",
    "fit": "supervised",
    "load": "data",
    "load_splits": "splits",
    "split_in_two": "splits",
    "train_network": "training",
}
"""Where each public name lives; the loop and the batches import torch, data and recipes do not."""

__all__ = [
    "Batch",
    "Epoch",
    "ImageSet",
    "MemoryBatches",
    "Recipe",
    "Splits",
    "TrainingFailure",
    "TrainingResult",
    "accuracy",
    "batch",
    "fit",
    "load",
    "load_splits",
    "split_in_two",
    "train_network",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'prejudge.train' has no attribute {name!r}")
    return getattr(import_module(f"prejudge.train.{_HOME[name]}"), name)
