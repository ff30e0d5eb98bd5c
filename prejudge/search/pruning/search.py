"""The entry to TE-NAS: a space and images in, an architecture out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge.engine import Engine, local_unless
from prejudge.engine.worker import prepare
from prejudge.errors import InputError
from prejudge.search.pruning.protocol import CONVENTIONS, PruningProtocol, convention
from prejudge.search.pruning.pruning_space import PruningSpace, pruning_space
from prejudge.search.pruning.result import PruningResult, PruningRound
from prejudge.search.pruning.rounds import prune_rounds
from prejudge.search.pruning.state import State
from prejudge.search.pruning.tasks import NetworkMeasurement, NetworkTask
from prejudge.spaces.base import Space

if TYPE_CHECKING:
    import numpy as np

    from prejudge.data.dataset import ImageDataset

Progress = Callable[[int, int, float], None]
"""Called with the number of networks measured, of all, and the seconds since the start."""


def prune(
    space: Space[Any],
    data: ImageDataset | np.ndarray,
    *,
    protocol: PruningProtocol | str = "default",
    seed: int = 0,
    num_classes: int | None = None,
    workers: int = 1,
    device: str = "cpu",
    state: Path | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    on_step: Callable[[PruningRound], None] | None = None,
) -> PruningResult:
    """Prune a space's supernet to one architecture without training (TE-NAS, Chen et al., ICLR 2021).

    The figures depend on the seed alone, not on the workers or on interruptions (in the last digits on the threads of
    each process); the caller's random states stay as they are.

    Args:
        space: ``nasbench201`` or one of the darts spaces.
        data: Images; labels are not read, so uint8 images ``(N, H, W, C)`` alone will do.
        protocol: The settings, or the name of a convention.
        seed: Of all draws.
        num_classes: Outputs of the networks; by default the classes of the data, 10 where there are no labels.
        workers: Processes of this machine that measure; the threads of this one are divided among them.
        device: Where to compute.
        state: File that keeps what was measured: calling again goes on where it stopped.
        engine: Where to measure, in place of ``workers`` processes; e.g. :class:`~prejudge.engine.RayEngine`.
        progress: Told after every network.
        on_step: Told after every round.

    Returns:
        The architecture, and every removal with its figures.

    Raises:
        InputError: TE-NAS cannot prune the space, the data are no images or too few, there is no such convention or
            device, or the state belongs to another search.
        FileFormatError: The state is damaged.
        PrejudgeError: The whole supernet has no figure, a worker died, the engine cannot be had, or the state cannot be
            written.
    """
    found = pruning_space(space)
    if isinstance(protocol, str):
        protocol = convention(protocol)
    for name, value, least in (("seed", seed, 0), ("workers", workers, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"pruning: {name} must be an integer of at least {least}, not {value!r}")
    engine = local_unless(engine, workers)
    from prejudge.search.pruning.inputs import image_set

    images = image_set(data, num_classes or 10)
    classes = images.num_classes if num_classes is None else num_classes
    if not engine.elsewhere:
        from prejudge.engine.device import find_device

        find_device(device)
    described = _described(images, protocol, found)
    plan = {
        "space": space.name,
        "protocol": protocol.plain(),
        "seed": seed,
        "num_classes": classes,
        "data": described,
    }
    steps: list[PruningRound] = []
    left = found.start
    kept = State(state, plan)
    with engine:
        measure = _Measuring(space, found, protocol, images, seed, classes, device, engine, kept, progress)
        for step, left in prune_rounds(found, protocol, measure):  # noqa: B007  # the last one is the answer
            steps.append(step)
            if on_step is not None:
                on_step(step)
        facts = {"num_classes": classes, "device": device, **engine.describe()}
    return PruningResult(
        space=space.name,
        architecture=found.derive(left),
        seed=seed,
        convention=next((name for name, known in CONVENTIONS.items() if known == protocol), "own"),
        protocol=protocol,
        data=described,
        steps=tuple(steps),
        seconds=kept.seconds,
        facts=facts,
    )


class _Measuring:
    """Measures the tasks of a step that are not on file yet."""

    def __init__(
        self,
        space: Space[Any],
        pruning_space: PruningSpace,
        protocol: PruningProtocol,
        data: ImageDataset,
        seed: int,
        classes: int,
        device: str,
        engine: Engine,
        state: State,
        progress: Progress | None,
    ) -> None:
        self._setting = (space, pruning_space, protocol)
        self._data, self._seed, self._classes, self._device = data, seed, classes, device
        self._engine = engine
        self._state = state
        self._progress = progress
        self._total = _tasks_of(pruning_space, protocol)
        self._done: set[str] = set()
        self._start = time.perf_counter()

    def __call__(self, tasks: Sequence[NetworkTask]) -> list[NetworkMeasurement]:
        missing = [task for task in tasks if self._state.get(str(task)) is None]
        for task in tasks:
            if self._state.get(str(task)) is not None:
                self._tell(task)
        if missing:
            try:
                self._measure(missing)
            finally:
                self._state.save()
        return [found for task in tasks if (found := self._state.get(str(task))) is not None]

    def _measure(self, tasks: Sequence[NetworkTask]) -> None:
        import torch

        from prejudge.search.pruning.inputs import draw_inputs
        from prejudge.search.pruning.measurement import measurer

        space, pruning_space, protocol = self._setting
        size = protocol.batch_size or pruning_space.batch_size
        repeats = sorted({task.repeat for task in tasks})
        draws = {r: draw_inputs(self._data, protocol, size, self._seed, tasks[0].stage, r) for r in repeats}
        job = measurer(space, pruning_space, protocol, draws, self._classes, self._device)
        engine = self._engine
        measured = engine.run(
            job,
            tasks,
            initializer=None if engine.in_process else prepare,
            initargs=(engine.threads(torch.get_num_threads()), self._device if engine.elsewhere else None),
        )
        with closing(measured) as results:
            for task, found in results:
                self._state.put(str(task), found)
                self._tell(task)

    def _tell(self, task: NetworkTask) -> None:
        self._done.add(str(task))
        if self._progress is not None:
            self._progress(len(self._done), self._total, time.perf_counter() - self._start)


def _tasks_of(pruning_space: PruningSpace, protocol: PruningProtocol) -> int:
    """Networks that a whole search measures."""
    stages = pruning_space.stages(protocol.prune_number or pruning_space.prune_number)
    before_edges = protocol.start_kernel and bool(pruning_space.groups)
    return protocol.repeats * (sum(candidates + 1 for candidates in stages) + before_edges)


def _described(data: ImageDataset, protocol: PruningProtocol, pruning_space: PruningSpace) -> dict[str, Any]:
    return {
        "name": data.name,
        "digest": data.digest,
        "images": len(data),
        "shape": list(data.images.shape[1:]),
        "mean": list(data.mean),
        "std": list(data.std),
        "batch_size": min(protocol.batch_size or pruning_space.batch_size, len(data)),
    }
