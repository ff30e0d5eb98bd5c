"""One run of a search on images, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prejudge.data.dataset import ImageDataset
from prejudge.search import Trajectory, run
from prejudge.search.registry import read_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.stage import Stage
from prejudge.spaces.base import Space
from prejudge.train.loop import Epoch
from tests.datasets import few_digits


def one_run(method: str, space: Space[Any], data: ImageDataset, *, seed: int = 0, **others: Any) -> Trajectory:
    """The run from one seed; ``others`` as for :func:`prejudge.search.run`. Its files are in ``folder/seed-N``."""
    return run(method, space=space, data=data, seeds=[seed], **others).trajectories[0]


def untrained_stages(
    method: str,
    space: Space[Any],
    *,
    options: Mapping[str, Any] | None = None,
    macro: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Iterator[Stage[Any]]:
    """The stages of a search on supernets, one after the other as if they had been trained."""
    chosen, given = read_method(method, options)
    context = SupernetContext(space, 0, data=few_digits(8), macro=macro or {}, training=training or {})
    stages: Any = chosen.function(context, **given)
    stage = next(stages)
    while True:
        yield stage
        made = Epoch(0.0, 0.0, 0.0, {"valid": 0.0})
        if hasattr(stage.learner, "arch_parameters") and chosen.name == "stacnas":  # its second stage is made of these
            made.metadata["parameters"] = stage.learner.arch_parameters.record()
        if stage.name == "search":  # ISTA-NAS, one-stage: the final phase is that of its choice
            stage.learner.recover()
        try:
            stage = stages.send([made])
        except StopIteration:
            return
