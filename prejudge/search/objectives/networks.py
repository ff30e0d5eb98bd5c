"""What objectives that build networks have in common: complete macro-architecture numbers, and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prejudge.benchmarks.training.table_recipe import TableRecipe
from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.spaces.base import Space


def complete_macro(space: Space[Any], data: ImageDataset, macro: Mapping[str, Any] | None) -> dict[str, Any]:
    """Every macro field of the networks; raises :class:`InputError` for one that is unknown or does not fit."""
    return dict(TableRecipe(macro=tuple((macro or {}).items())).completed(space, data).macro)


def check_seed(seed: int) -> None:
    """Raise :class:`InputError` for a negative seed."""
    if seed < 0:
        raise InputError(f"the seed of an objective must be at least 0, not {seed}")
