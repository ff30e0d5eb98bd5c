"""A gradient search from several seeds: independent runs, shared out by an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge.data.dataset import ImageDataset
from prejudge.engine import Engine
from prejudge.engine.worker import prepare
from prejudge.search.result import Trajectory
from prejudge.search.supernet.running import search_gradient
from prejudge.spaces.base import Space

if TYPE_CHECKING:
    from prejudge.train.device import DeviceConfig


@dataclass
class SeedRun:
    """Runs a search from a seed, in this process or in a worker.

    Attributes:
        method: As for :func:`~prejudge.search.supernet.search_gradient`, as are the others.
        space: The search space.
        data: Training images.
        device_config: Makes the machine, where the run takes place.
        options: Further options of the method.
        macro: Macro numbers of the supernet.
        training: Numbers of the weights' training.
        folder: Each run keeps its checkpoints in ``seed-N`` in there; None keeps nothing.
    """

    method: str
    space: Space[Any]
    data: ImageDataset
    device_config: Callable[[], DeviceConfig]
    options: Mapping[str, Any] = field(default_factory=dict)
    macro: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def __call__(self, seed: int) -> Trajectory:
        """Run; one that was interrupted goes on."""
        with ExitStack() as stack:
            place = None
            if self.folder is not None:
                from prejudge.formats.lock import ORPHAN_SECONDS, writer_lock

                self.folder.mkdir(parents=True, exist_ok=True)
                place = self.folder / f"seed-{seed}"
                stack.callback(writer_lock(place, wait=ORPHAN_SECONDS).release)
            return search_gradient(
                self.method,
                self.space,
                self.data,
                device_config=self.device_config(),
                seed=seed,
                options=self.options,
                macro=self.macro,
                training=self.training,
                folder=place,
            )


def search_seeds(
    run: SeedRun,
    seeds: Sequence[int],
    engine: Engine,
    *,
    device: str = "cpu",
    progress: Callable[[int, int, float], None] | None = None,
) -> list[Trajectory]:
    """Search from several seeds at once.

    Args:
        run: The search; a folder of it has to be on a disk that all machines of the engine share.
        seeds: One run for each.
        engine: Where the runs take place.
        device: Where they compute: workers on other machines make sure that it is there.
        progress: Called after every run with the runs done, all runs, and the seconds of that run's training.

    Returns:
        The runs, in the order of the seeds.

    Raises:
        BusyError: Another process runs the same search with the same folder.
        PrejudgeError: A worker died, or the engine cannot be had; what its run has kept is taken up again.
    """
    import torch

    order = list(dict.fromkeys(seeds))
    found: dict[int, Trajectory] = {}
    results = engine.run(
        run,
        order,
        initializer=None if engine.in_process else prepare,
        initargs=(engine.threads(torch.get_num_threads()), device if engine.elsewhere else None),
    )
    with closing(results):
        for done, (seed, trajectory) in enumerate(results, start=1):
            found[seed] = trajectory
            if progress is not None:
                progress(done, len(order), float(trajectory.seconds.sum()))
    return [found[seed] for seed in order]
