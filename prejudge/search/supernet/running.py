"""Running gradient searches: stage after stage, resumable after every epoch, into the result file of every search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError, unknown
from prejudge.search.result import SearchResult, Trajectory
from prejudge.search.supernet.registry import GradientMethod, Setup, Stage, register
from prejudge.spaces.base import Space

if TYPE_CHECKING:
    from torch import nn

    from prejudge.train.device import DeviceConfig
    from prejudge.train.loop import Epoch

Progress = Callable[[str, int, int, "Epoch"], None]
"""Called after every epoch with the name of its stage, its number (from 1), the stage's epochs, and what it did."""


@dataclass
class _Record:
    """What a run has done so far, epoch by epoch."""

    epochs: list[Epoch] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)


def search_gradient(
    method: str,
    space: Space[Any],
    data: ImageDataset,
    *,
    device_config: DeviceConfig | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    macro: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    resume_from: Path | None = None,
    resume_epoch: int | None = None,
    progress: Progress | None = None,
) -> Trajectory:
    """Search with a supernet, from one seed.

    Args:
        method: ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME``.
        space: The search space.
        data: Training images.
        device_config: Where to compute; the CPU if left out.
        seed: Of weights, architecture parameters, splits, order and augmentation.
        options: Further options of the method.
        macro: Macro numbers of the supernet; classes and channels follow the data.
        training: Numbers of the weights' training, by the names of :class:`~prejudge.train.recipes.recipe.Recipe`.
        folder: Where checkpoints and a log are written after every epoch; a run that was interrupted goes on from
            there, and ends as if it had not been.
        resume_from: Folder of an earlier run whose supernet is taken, by methods that start from one.
        resume_epoch: Epoch of that run's kept checkpoint; its last one if left out.
        progress: Called after every epoch; in distributed training in the first process only.

    Returns:
        The run: one step for every epoch, with the architecture that the supernet stood for, its accuracy on held-out
        images (NaN where none are held out) and the seconds that the epoch took; the answer is what the method chose.

    Raises:
        InputError: The method does not search this space, or an option or number is unknown or out of range.
        TrainingFailure: The loss was not finite.
    """
    import torch

    from prejudge.engine.random_state import own_random_state
    from prejudge.train.device import DeviceConfig

    chosen, given = register.read(method)
    for option, value in (options or {}).items():
        if option not in chosen.options:
            raise unknown(f"option of {chosen.name}", option, chosen.options)
        given[option] = value
    chosen.check_space(space)
    if resume_from is not None and not chosen.continues:
        raise InputError(f"{chosen.name} trains its own supernet; only darts-pt starts from that of an earlier run")
    if seed < 0:
        raise InputError(f"a seed is not negative, but {seed} is")
    setup = Setup(
        space=space,
        data=data,
        device_config=device_config or DeviceConfig(),
        seed=seed,
        macro=dict(macro or {}),
        training=dict(training or {}),
        resume_from=resume_from,
        resume_epoch=resume_epoch,
        folder=folder,
    )
    record = _Record()
    with own_random_state(seed):
        torch.manual_seed(seed)  # the accelerators' generators, too
        stages = chosen.function(setup, **given)
        try:
            stage = next(stages)
            while True:
                history = _run(stage, setup, chosen, given, folder, progress)
                record.epochs += history
                record.stages.append({"name": stage.name, "epochs": len(history)})
                stage = stages.send(history)
        except StopIteration as end:
            answer = end.value
    return Trajectory(
        seed=seed,
        recommendation=str(answer),
        architectures=[epoch.facts["architecture"] for epoch in record.epochs],
        epochs=np.arange(1, len(record.epochs) + 1, dtype=np.int32),
        values=np.array([epoch.accuracies.get("valid", math.nan) for epoch in record.epochs]),
        seconds=np.array([epoch.seconds for epoch in record.epochs]),
        overhead=0.0,
        metadata={**setup.facts, "stages": record.stages, "curve": [_curve(epoch) for epoch in record.epochs]},
    )


def _curve(epoch: Epoch) -> dict[str, Any]:
    """What is kept of an epoch beside its architecture, value and seconds."""
    facts = {name: value for name, value in epoch.facts.items() if name != "architecture"}
    return {"train_loss": epoch.train_loss, "train_accuracy": epoch.train_accuracy, **facts}


def _run(
    stage: Stage[Any],
    setup: Setup,
    method: GradientMethod,
    options: Mapping[str, Any],
    folder: Path | None,
    progress: Progress | None,
) -> list[Epoch]:
    from prejudge.train.checkpoint import CheckpointManager
    from prejudge.train.loop import run_epochs
    from prejudge.train.training_log import TrainingLog

    checkpoints = log = None
    if folder is not None:
        plan = plan_of(stage, setup, method, options)
        checkpoints = CheckpointManager(folder / stage.name, plan, keep_every=stage.keep_every)
        stage.learner.within_epoch = CheckpointManager(folder / stage.name / "within-epoch", plan)
        log = TrainingLog(folder / stage.name)

    def on_epoch(number: int, epoch: Epoch) -> None:
        if log is not None:
            log(number, epoch)
        if progress is not None:
            progress(stage.name, number + 1, stage.epochs, epoch)

    try:
        return run_epochs(
            stage.learner,
            stage.batches,
            stage.epochs,
            device_config=setup.device_config,
            evaluate=partial(_accuracy, stage.held_out, setup.device_config) if stage.held_out is not None else None,
            checkpoints=checkpoints,
            on_start=None if log is None else log.begin,
            on_epoch=on_epoch,
        )
    finally:
        if log is not None:
            log.close()


def _accuracy(data: ImageDataset, device_config: DeviceConfig, network: nn.Module) -> dict[str, float]:
    from prejudge.train.evaluation.evaluate import evaluate

    return {"valid": evaluate(network, data, device_config).top1}


def plan_of(stage: Stage[Any], setup: Setup, method: GradientMethod, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint must agree on with a run that goes on from it."""
    return {
        "method": method.name,
        "options": dict(options),
        "space": setup.space.name,
        "stage": stage.name,
        "epochs": stage.epochs,
        "seed": setup.seed,
        "data": setup.data.digest,
        "macro": dict(setup.macro),
        "recipe": stage.learner.recipe.as_dict(),
        "precision": setup.device_config.precision,
        **stage.origin,
    }


def search_result(
    method: str, options: Mapping[str, Any], space: Space[Any], data: ImageDataset, runs: list[Trajectory]
) -> SearchResult:
    """Runs of one method as one result, to be written with :func:`~prejudge.search.result.write_result`."""
    from prejudge._version import __version__

    return SearchResult(
        method=method,
        options=dict(options),
        space=space.name,
        objective={"kind": "supernet", "data": data.name, "images": data.digest},
        budget={},
        trajectories=runs,
        provenance={"prejudge": __version__},
    )
