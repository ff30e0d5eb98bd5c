"""The supernet of a kept run, looked at again: what StacNAS's paper shows, of any search on a DARTS space."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError, MissingDataError
from prejudge.search.registry import read_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.stacnas.analysis import compared, single_operations
from prejudge.search.supernet.stage import Stage
from prejudge.spaces import space as find_space


@dataclass(frozen=True, eq=False)
class KeptSupernet:
    """The first stage of a kept run, with its supernet as it was after the last epoch, or after another kept one.

    Attributes:
        folder: The folder of the run, ``OUT.run/seed-N``.
        context: Space, images, device and seed of the run.
        stage: The stage.
    """

    folder: Path
    context: SupernetContext
    stage: Stage[Any]

    def similarity(self, images: int) -> list[dict[str, Any]]:
        """The similarity of the operations by their features on the first so many training images.

        Raises:
            InputError: The supernet has no cells of the DARTS spaces, or does not run all operations of an edge.
        """
        return compared(self.context, self.stage.learner, images)

    def single_operations(self, epochs: int) -> list[dict[str, Any]]:
        """The weight of each operation in the search, and the accuracy of the network that has it on every edge.

        What is trained is kept in the run's folder, so that calling again goes on after an interruption.

        Raises:
            InputError: The edges of the supernet do not all choose from the same operations.
        """
        from prejudge.search.supernet.arch_parameters import SoftmaxParameters

        learner = self.stage.learner
        parameters = learner.arch_parameters
        edges = {names for lists in parameters.candidates.values() for names in lists}
        if len(edges) > 1 or not isinstance(parameters, SoftmaxParameters):
            raise InputError(
                f"{self.folder}: weights of single operations are those of searches whose edges all choose from the "
                "same operations by a softmax, such as stacnas and darts"
            )
        rows = np.concatenate([np.array(matrix) for matrix in parameters.record().values()])
        recipe = replace(learner.recipe, epochs=epochs)
        stages = single_operations(self.context, rows, next(iter(edges)), len(learner.supernet.cells), recipe)
        found: list[dict[str, Any]] = _performed(stages, replace(self.context, folder=self.folder / f"single-{epochs}"))
        return found


def kept_supernet(run: Path, data: ImageDataset, *, epoch: int | None = None) -> KeptSupernet:
    """The supernet of a kept run.

    Args:
        run: Its folder, ``OUT.run/seed-N``.
        data: The training images of the search.
        epoch: A kept epoch; the last one if left out.

    Raises:
        MissingDataError: There is no run with a supernet, or it has not kept this epoch.
        InputError: It was another search's, or of other images.
        FileFormatError: Its checkpoint is damaged.
    """
    from prejudge.train.checkpoint import CheckpointManager, read_checkpoint

    any_stage = next(iter(sorted(run.glob("*/last.pt"))), None)
    if any_stage is None:
        raise MissingDataError(f"no checkpoint of a search in {run}; runs are kept where a search has --out")
    plan = read_checkpoint(any_stage).plan
    if plan["data"] != data.digest:
        raise InputError(f"{run} was searched on other images than {data.name}; give those of the search")
    chosen, options = read_method(plan["method"], plan["options"])
    if chosen.context is not SupernetContext:
        raise InputError(f"{run} is a run of {chosen.name}, which has no supernet to look at")
    context = SupernetContext(
        find_space(plan["space"]), plan["seed"], chosen.name, options, data=data, macro=plan["macro"]
    )
    stages: Any = chosen.function(context, **options)
    name = next(stages).name
    found = read_checkpoint(run / name / "last.pt")
    if epoch is not None:
        found = CheckpointManager(run / name, found.plan).load(epoch)
    context = replace(context, training=found.plan["recipe"])
    stage = next(chosen.function(context, **options))
    stage.learner.load_state_dict(found.state["learner"])
    return KeptSupernet(run, context, stage)


def _performed(stages: Generator[Stage[Any], Any, Any], context: SupernetContext) -> Any:
    """Run the stages of a generator, one after the other; what it returns."""
    with context.active():
        stage = next(stages)
        while True:
            history = stage.perform(context)
            try:
                stage = stages.send(history)
            except StopIteration as end:
                return end.value
