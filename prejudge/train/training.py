"""Training of what was found: from an architecture and images to a tested network in a folder.

The folder of a run holds ``last.pt`` and ``best.pt`` (checkpoints), ``log.jsonl`` and ``tensorboard/`` (its log), and
the files that :mod:`prejudge.train.files` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from prejudge.data.dataset import ImageDataset
from prejudge.data.splits import Splits
from prejudge.engine.random_state import own_random_state
from prejudge.formats.atomic import make_folder
from prejudge.formats.lock import alone
from prejudge.spaces.base import Architecture, Space
from prejudge.train.checkpoint import CheckpointManager
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.evaluate import ClassificationMetrics, evaluate
from prejudge.train.learner import SupervisedLearner
from prejudge.train.loop import Epoch, run_epochs
from prejudge.train.plan import HELD_OUT, TrainingPlan, plan_training
from prejudge.train.recipes.batches import recipe_batches
from prejudge.train.recipes.published import PublishedRecipe
from prejudge.train.recipes.recipe import Recipe
from prejudge.train.result import TrainingResult
from prejudge.train.training_log import TrainingLog

RUNNING = "training"
"""The lock of a folder is named after this."""

OnEpoch = Callable[[int, int, Epoch], None]
"""Called after every epoch with its number (from 1), how many there are, and what it did."""


def train(
    space: Space[Any] | str,
    architecture: Architecture | str,
    data: Splits | ImageDataset | str,
    recipe: PublishedRecipe | Recipe | str | None = None,
    device_config: DeviceConfig | None = None,
    *,
    macro: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    selection: str = "valid",
    held_out: float = HELD_OUT,
    seed: int | None = None,
    folder: Path | str | None = None,
    standalone: bool = False,
    keep_every: int = 0,
    tensorboard: bool = True,
    on_epoch: OnEpoch | None = None,
    **places: Any,
) -> TrainingResult:
    """Train the network of an architecture, and test it.

    It gives everything that ``prejudge train`` gives: accuracies, confusion matrices, multiply-adds, the deviations
    from the published recipe, warnings, and the files. In distributed training every process calls this (see
    :func:`~prejudge.train.process_group.joined`), and all of them return the same; only the first writes and reports.

    >>> result = train("nasbench201", 0, "digits", macro={"channels": 2, "cells": 1}, training={"epochs": 1})
    >>> result.test.confusion.shape
    (10, 10)

    Args:
        space: The search space, or its name.
        architecture: The architecture, in any notation of the space.
        data: The images, or their name as ``--data`` has it.
        recipe: A paper's name (``"darts"`` …), whose recipe is fitted to the images; the recipe of the space if left
            out; or a recipe, which counts as it is.
        device_config: Where to compute; the CPU if left out.
        macro: Macro-architecture numbers that override the recipe's; classes and channels follow the images.
        training: Options of :class:`~prejudge.train.Recipe` that override the recipe's, by name.
        selection: Which epoch's network is the result, one of :data:`~prejudge.train.plan.SELECTIONS`.
        held_out: Share of the training images to split off where the selection needs validation images.
        seed: Of weights, split, order and augmentation; that of the recipe, or 0, if left out.
        folder: Where the run is kept. One that was interrupted goes on from its last epoch, and ends as if it had not
            been; one with other numbers is refused.
        standalone: Write the network as one Python file that needs only PyTorch, too.
        keep_every: Keep the checkpoint of each epoch that is a multiple of this; 0 keeps none of them.
        tensorboard: Whether to log for TensorBoard, too.
        on_epoch: Called after every epoch.
        places: ``data_dir``, ``download`` and ``normalization`` where ``data`` is a name.

    Raises:
        InputError: Architecture, images, recipe and network do not fit each other, or the folder belongs to another
            run; it is said before anything is trained.
        BusyError: Another process is training in the folder.
        TrainingFailure: The loss was not finite; the checkpoint of the epoch before stays.
        OutOfMemory: The device has no memory left.
    """
    plan = plan_training(
        space, architecture, data, recipe, macro=macro, training=training, selection=selection, held_out=held_out,
        seed=seed, **places,
    )  # fmt: skip
    return run_plan(
        plan, device_config, folder=folder, standalone=standalone, keep_every=keep_every, tensorboard=tensorboard,
        on_epoch=on_epoch,
    )  # fmt: skip


def run_plan(
    plan: TrainingPlan,
    device_config: DeviceConfig | None = None,
    *,
    folder: Path | str | None = None,
    standalone: bool = False,
    keep_every: int = 0,
    tensorboard: bool = True,
    on_epoch: OnEpoch | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Do a training that :func:`~prejudge.train.plan_training` resolved; the arguments are those of :func:`train`.

    Args:
        plan: What to train.
        device_config: Where to compute; the CPU if left out.
        folder: Where the run is kept.
        standalone: Write the network as one Python file, too.
        keep_every: Keep the checkpoint of each epoch that is a multiple of this.
        tensorboard: Whether to log for TensorBoard, too.
        on_epoch: Called after every epoch.
        on_warning: Called with each warning that the plan does not have yet.
    """
    config, warnings = device_config or DeviceConfig(), list(plan.warnings)

    def warn(text: str) -> None:
        warnings.append(text)
        if on_warning is not None:
            on_warning(text)

    with ExitStack() as stack:
        stack.enter_context(own_random_state(plan.seed))
        learner = _learner(plan, config)
        place = stack.enter_context(_own_folder(folder, config))
        checkpoints = CheckpointManager(place, _identity(plan, config), keep_every=keep_every)
        log = TrainingLog(place, tensorboard=tensorboard and folder is not None, on_warning=warn)
        stack.callback(log.close)

        def end_epoch(number: int, epoch: Epoch) -> None:
            log(number, epoch)
            if on_epoch is not None:
                on_epoch(number + 1, plan.recipe.epochs, epoch)

        watched = "test" if plan.selection == "test" else "valid"
        images, group = plan.data.named().get(watched), config.process_group

        def accuracies(network: nn.Module) -> dict[str, float]:
            found = _evaluated(plan, images, config, network)
            return {} if found is None else {watched: found.top1}

        epochs = run_epochs(
            learner,
            recipe_batches(
                plan.data.train, plan.recipe, seed=plan.seed, device=config.device, rank=group.rank, world=group.size
            ),
            plan.recipe.epochs,
            device_config=config,
            evaluate=accuracies,
            checkpoints=checkpoints,
            best_by=watched if plan.selection != "last" else None,
            on_start=log.begin,
            on_epoch=end_epoch,
        )
        with config.running():
            selected = _select(plan, config, learner, checkpoints, epochs)
        result = TrainingResult(
            plan,
            config,
            epochs=epochs,
            network=learner.evaluated,
            warnings=tuple(warnings),
            folder=Path(folder) if folder is not None else None,
            **selected,
        )
        if folder is not None and group.is_first:
            result.write(place, standalone=standalone)
        return result


@contextmanager
def _own_folder(folder: Path | str | None, config: DeviceConfig) -> Iterator[Path]:
    """The folder of the run, which one training at a time writes; a temporary one where none is to be kept."""
    if folder is None:
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
    elif config.process_group.is_first:
        make_folder(Path(folder))
        with alone(Path(folder) / RUNNING):
            yield Path(folder)
    else:
        yield Path(folder)


def _identity(plan: TrainingPlan, config: DeviceConfig) -> dict[str, Any]:
    """The plain values that must be the same for a run to go on from a checkpoint."""
    return {
        "task": "train",
        "space": plan.space.name,
        "architecture": str(plan.architecture),
        "macro": plan.macro,
        "recipe": plan.recipe.as_dict(),
        "data": {name: images.digest for name, images in plan.data.named().items()},
        "seed": plan.seed,
        "selection": plan.selection,
        "precision": config.precision,
    }


def _learner(plan: TrainingPlan, config: DeviceConfig) -> SupervisedLearner:
    torch.manual_seed(plan.seed)  # the accelerators' generators, too
    learner = SupervisedLearner(plan.space.network(plan.architecture, **plan.macro), plan.recipe, config)
    if not config.process_group.is_first:  # all start from the first one's weights, but each drops paths of its own
        torch.manual_seed(plan.seed + 1_000_003 * config.process_group.rank)
    return learner


def _select(
    plan: TrainingPlan,
    config: DeviceConfig,
    learner: SupervisedLearner,
    checkpoints: CheckpointManager,
    epochs: list[Epoch],
) -> dict[str, Any]:
    """Let the learner hold the network that is the result: its epoch, and the figures of it and of the last one."""
    tested = partial(_evaluated, plan, plan.data.test, config)
    last_test = tested(learner.evaluated)
    chosen, test = len(epochs), last_test
    if plan.selection != "last":
        best = config.process_group.from_first(checkpoints.best)
        assert best is not None  # there is at least one epoch
        if best.epoch != chosen:
            learner.load_state_dict(best.state["learner"])
            chosen, test = best.epoch, tested(learner.evaluated)
    valid = _evaluated(plan, plan.data.valid, config, learner.evaluated)
    return {"epoch": chosen, "valid": valid, "test": test, "last_test": last_test}


def _evaluated(
    plan: TrainingPlan, images: ImageDataset | None, config: DeviceConfig, network: nn.Module
) -> ClassificationMetrics | None:
    if images is None:
        return None
    return evaluate(network, images.with_size(plan.image_size), config, classes=plan.data.train.classes)
