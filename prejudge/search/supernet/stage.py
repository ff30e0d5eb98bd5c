"""A stage of a supernet search: epochs with one learner, resumable after each of them."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from prejudge.data.dataset import ImageDataset
from prejudge.search.protocol import Work
from prejudge.search.supernet.context import SupernetContext
from prejudge.spaces.base import Architecture

if TYPE_CHECKING:
    from torch import nn

    from prejudge.search.supernet.learner import ArchitectureLearner
    from prejudge.train.device import DeviceConfig
    from prejudge.train.loop import Batches, Epoch

L = TypeVar("L", bound="ArchitectureLearner")


@dataclass(frozen=True, eq=False)
class Stage(Work, Generic[L]):
    """Some epochs with one learner; the answer is the list of all of them.

    In the folder of the run there is one of the stage's name, with its log and a checkpoint after every epoch, from
    which a run that was interrupted goes on.

    Attributes:
        name: The stage.
        learner: The supernet or network, and how it learns.
        batches: The images that the weights learn from.
        epochs: Number of epochs, unless the learner is finished earlier.
        held_out: Images whose accuracy is measured after every epoch; none where all images are learned from.
        keep_every: Keep the checkpoints of epochs that are multiples of this; 0 only the last one.
        origin: Plain values about the run that the stage starts from, on which a run that goes on must agree.
    """

    name: str
    learner: L
    batches: Batches
    epochs: int
    held_out: ImageDataset | None = None
    keep_every: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)

    def perform(self, context: SupernetContext) -> list[Epoch]:
        """Run all epochs; those that are on file are not run again.

        Raises:
            TrainingFailure: The loss was not finite.
        """
        from prejudge.train.checkpoint import CheckpointManager
        from prejudge.train.loop import run_epochs
        from prejudge.train.training_log import TrainingLog

        device_config = context.device_config
        checkpoints = log = None
        if context.folder is not None:
            folder, plan = context.folder / self.name, self.plan(context)
            checkpoints = CheckpointManager(folder, plan, keep_every=self.keep_every)
            self.learner.within_epoch = CheckpointManager(folder / "within-epoch", plan)
            log = TrainingLog(folder)

        def on_epoch(number: int, epoch: Epoch) -> None:
            if log is not None:
                log(number, epoch)
            context.tell(self.name, number + 1, self.epochs, epoch)

        try:
            history = run_epochs(
                self.learner,
                self.batches,
                self.epochs,
                device_config=device_config,
                evaluate=partial(_accuracy, self.held_out, device_config) if self.held_out is not None else None,
                checkpoints=checkpoints,
                on_start=None if log is None else log.begin,
                on_epoch=on_epoch,
            )
        finally:
            if log is not None:
                log.close()
        self._record(context, history)
        return history

    def plan(self, context: SupernetContext) -> dict[str, Any]:
        """The values on which a checkpoint must agree with a run that goes on from it."""
        return {
            "method": context.method,
            "options": dict(context.options),
            "space": context.space.name,
            "stage": self.name,
            "epochs": self.epochs,
            "seed": context.seed,
            "data": context.images.digest,
            "macro": dict(context.macro),
            "recipe": self.learner.recipe.as_dict(),
            "precision": context.device_config.precision,
            **self.origin,
        }

    def _record(self, context: SupernetContext, history: list[Epoch]) -> None:
        """Add the epochs to the result: each is a step, with its architecture and accuracy, and a row of the curve."""
        context.metadata.setdefault("stages", []).append({"name": self.name, "epochs": len(history)})
        curve = context.metadata.setdefault("curve", [])
        for epoch in history:
            facts = {name: value for name, value in epoch.metadata.items() if name != "architecture"}
            curve.append({"train_loss": epoch.train_loss, "train_accuracy": epoch.train_accuracy, **facts})
            valid = epoch.accuracies.get("valid", math.nan)
            context.add_step(epoch.metadata["architecture"], len(context.steps) + 1, valid, epoch.seconds)


Stages = Generator[Stage[Any], "list[Epoch]", Architecture]
"""The result of a method's function: it is resumed with all epochs of the stage that it yielded, once that has run."""


def _accuracy(data: ImageDataset, device_config: DeviceConfig, network: nn.Module) -> dict[str, float]:
    from prejudge.train.evaluation.evaluate import evaluate

    return {"valid": evaluate(network, data, device_config).top1}
