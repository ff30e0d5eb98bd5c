"""Images and labels: datasets, folders, splits, augmentation and batches.

>>> import prejudge
>>> prejudge.data.load("digits").num_classes
10
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prejudge.data.augmentation import Augmentation
    from prejudge.data.batches import ImageBatches
    from prejudge.data.dataset import ImageDataset
    from prejudge.data.folder import read_folder
    from prejudge.data.loading import load
    from prejudge.data.npz import read_npz
    from prejudge.data.probe_batch import Batch, batch
    from prejudge.data.splits import Splits, load_splits, random_split

_HOME = {
    "Augmentation": "augmentation",
    "Batch": "probe_batch",
    "ImageBatches": "batches",
    "ImageDataset": "dataset",
    "Splits": "splits",
    "batch": "probe_batch",
    "load": "loading",
    "load_splits": "splits",
    "random_split": "splits",
    "read_folder": "folder",
    "read_npz": "npz",
}
"""Module of each public name; batches import torch, datasets do not."""

__all__ = [
    "Augmentation",
    "Batch",
    "ImageBatches",
    "ImageDataset",
    "Splits",
    "batch",
    "load",
    "load_splits",
    "random_split",
    "read_folder",
    "read_npz",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'prejudge.data' has no attribute {name!r}")
    return getattr(import_module(f"prejudge.data.{_HOME[name]}"), name)
