"""Images and labels: data sets, folders, splits, transforms and batches.

>>> import prejudge
>>> prejudge.data.load("digits").num_classes
10
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prejudge.data.batches import MemoryBatches
    from prejudge.data.dataset import ImageDataset
    from prejudge.data.loading import Batch, batch, load
    from prejudge.data.splits import Splits, load_splits, split_in_two

_HOME = {
    "Batch": "loading",
    "ImageDataset": "dataset",
    "MemoryBatches": "batches",
    "Splits": "splits",
    "batch": "loading",
    "load": "loading",
    "load_splits": "splits",
    "split_in_two": "splits",
}
"""Where each public name lives; batches import torch, data sets do not."""

__all__ = [
    "Batch",
    "ImageDataset",
    "MemoryBatches",
    "Splits",
    "batch",
    "load",
    "load_splits",
    "split_in_two",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'prejudge.data' has no attribute {name!r}")
    return getattr(import_module(f"prejudge.data.{_HOME[name]}"), name)
