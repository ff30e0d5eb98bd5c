"""One run of a search on images, in this process."""

from __future__ import annotations

from typing import Any

from prejudge.data.dataset import ImageDataset
from prejudge.search import Trajectory, run
from prejudge.spaces.base import Space


def one_run(method: str, space: Space[Any], data: ImageDataset, *, seed: int = 0, **others: Any) -> Trajectory:
    """The run from one seed; ``others`` as for :func:`prejudge.search.run`. Its files are in ``folder/seed-N``."""
    return run(method, space=space, data=data, seeds=[seed], **others).trajectories[0]
