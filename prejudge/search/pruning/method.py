"""TE-NAS: prune a supernet by the condition of its kernel and its number of linear regions, without training.

Chen et al., ICLR 2021, arXiv:2102.11535, with the numbers of chenwydj/TENAS (9df78ff).
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from prejudge.data.dataset import ImageDataset
from prejudge.engine.worker import prepare
from prejudge.errors import FileFormatError, InputError, unknown
from prejudge.formats.atomic import make_folder, write_atomically
from prejudge.search.protocol import SearchContext, Work
from prejudge.search.pruning.protocol import PruningProtocol, convention_protocol
from prejudge.search.pruning.pruning_space import Active, PruningSpace, pruning_space
from prejudge.search.pruning.ranking import Rounding
from prejudge.search.pruning.rounds import (
    NetworkMeasurement,
    NetworkTask,
    number_of_networks,
    prune_rounds,
)
from prejudge.search.registry import search_method
from prejudge.spaces.base import Architecture

ARCH_PARAMETERS = "arch_parameter.npy"
"""In the folder of a run: what is left, as the released code saves it."""

PRUNED = -1000.0
"""The released code's architecture parameter of an operation that is gone."""


@dataclass(eq=False)
class PruningContext(SearchContext):
    """The space, images, device and seed of a pruning search. The images of :attr:`data` may be an array alone.

    Attributes:
        networks: Number of networks that the whole search measures.
        measured: Those that have been measured.
        measuring: Wall-clock seconds that it took, with those of earlier calls that were interrupted.
    """

    needs: ClassVar[str] = "data"
    side_by_side: ClassVar[str] = "work"
    needs_labels: ClassVar[bool] = False

    networks: int = field(default=0, init=False)
    measured: set[str] = field(default_factory=set, init=False)
    measuring: float = field(default=0.0, init=False)

    @cached_property
    def images(self) -> ImageDataset:
        """The images; raises :class:`InputError` where they cannot be used. Their labels are not read."""
        from prejudge.search.pruning.inputs import image_set

        assert self.data is not None
        return image_set(self.data)

    def describe(self) -> dict[str, Any]:
        """The kind of the search and its images, as plain values."""
        data = self.images
        described = {
            "name": data.name,
            "digest": data.digest,
            "images": len(data),
            "shape": list(data.images.shape[1:]),
            "mean": list(data.mean),
            "std": list(data.std),
        }
        return {"kind": "pruning", "data": described}


@search_method(
    "te-nas",
    reference="Chen et al., ICLR 2021, arXiv:2102.11535",
    spaces=("darts", "darts-s?", "nasbench201"),
    context=PruningContext,
)
def te_nas(
    search: PruningContext,
    convention: str = "default",
    num_classes: int | None = None,
    kernel: str | None = None,
    batch_size: int | None = None,
    repeats: int | None = None,
    crops: int | None = None,
    crop_batches: int | None = None,
    augment: bool | None = None,
    initialization: str | None = None,
    redraw: bool | None = None,
    rounding: Mapping[str, int] | None = None,
    start_kernel: bool | None = None,
    prune_number: int | None = None,
    image_size: int | None = None,
    precision: int | None = None,
) -> Generator[Measurements, Sequence[NetworkMeasurement], Architecture]:
    """TE-NAS: prune a supernet by its kernel's condition and its linear regions.

    The figures depend on the seed alone, not on the workers or on interruptions (in the last digits on the threads of
    each process). All options but the first two and the last are those of
    :class:`~prejudge.search.pruning.protocol.PruningProtocol`; what is left out is the convention's. ``rounding`` is a
    mapping with ``decimals`` and ``significant``; ``precision`` is the number of both, as in the original.

    Args:
        search: Space, images, device and seed.
        convention: ``"default"`` (fast), ``"te-nas"`` (what the released code does, with the exact kernel), or
            ``"te-nas-imagenet"`` (the same with its numbers for ImageNet on the space ``darts``).
        num_classes: Outputs of the networks; the classes of the data if left out, 10 where there are no labels.
    """
    if precision is not None:
        if rounding is not None or precision < 1:
            raise InputError(
                f"te-nas: precision is a number of digits, 1 or more, in place of rounding, not {precision}"
            )
        rounding = {"decimals": precision, "significant": precision}
    settings = {
        "kernel": kernel, "batch_size": batch_size, "repeats": repeats, "crops": crops, "crop_batches": crop_batches,
        "augment": augment, "initialization": initialization, "redraw": redraw,
        "rounding": None if rounding is None else _rounding(rounding), "start_kernel": start_kernel,
        "prune_number": prune_number, "image_size": image_size,
    }  # fmt: skip
    protocol = convention_protocol(convention, **{name: value for name, value in settings.items() if value is not None})
    space = pruning_space(search.space)
    classes = search.images.num_classes if num_classes is None else num_classes
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise InputError(f"te-nas: num_classes must be a positive integer, not {classes!r}")
    size = min(protocol.batch_size or space.batch_size, len(search.images))
    search.networks = number_of_networks(space, protocol)
    rounds = yield from prune_rounds(
        space,
        protocol,
        ask=lambda tasks: Measurements(tuple(tasks), space, protocol, classes),
        on_round=lambda made: search.tell(made.title, 1, None, made),
    )
    architecture = space.derive(rounds[-1].active)
    search.metadata |= {
        "convention": convention,
        "protocol": {**protocol.plain(), "batch_size": size},
        "num_classes": classes,
        "rounds": [made.plain() for made in rounds],
        "compute_seconds": round(sum(made.seconds for made in rounds), 3),
        "failed_figures": sum(made.failed for made in rounds),
        "device": str(search.device or "cpu"),
        **search.engine.describe(),
    }
    if search.folder is not None:
        make_folder(search.folder)
        write_atomically(search.folder / ARCH_PARAMETERS, arch_parameters(space, rounds[-1].active))
    search.add_step(architecture, None, math.nan, search.measuring)
    return architecture


def arch_parameters(space: PruningSpace, active: Active) -> bytes:
    """The architecture parameters as the released code saves them: NumPy's format, ``(cells, edges, operations)``.

    Args:
        space: What is pruned.
        active: What is left: its entries are 0, all others -1000.
    """
    widest = max(len(names) for edges in space.candidates.values() for names in edges)
    found = np.full((len(active), len(next(iter(active.values()))), widest), PRUNED, dtype=np.float32)
    for cell, edges in enumerate(active.values()):
        for edge, operations in enumerate(edges):
            found[cell, edge, list(operations)] = 0
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class Measurements(Work):
    """The question of a round: the figures of some pruned networks, which the engine measures in parallel.

    Figures that the journal of the run has are not measured again.

    Attributes:
        tasks: The networks, all of one stage.
        space: What is pruned.
        protocol: The settings.
        num_classes: Outputs of the networks.
    """

    tasks: tuple[NetworkTask, ...]
    space: PruningSpace
    protocol: PruningProtocol
    num_classes: int

    def perform(self, context: PruningContext) -> list[NetworkMeasurement]:
        """Measure the networks; the figures are in the order of :attr:`tasks`.

        Raises:
            PrejudgeError: A worker died, or the engine cannot be had.
        """
        records = {str(task): context.recall(str(task)) for task in self.tasks}
        known = {name: _read(name, record) for name, record in records.items() if record is not None}
        clock = max((record[1] for record in known.values()), default=0.0)
        missing = [task for task in self.tasks if str(task) not in known]
        for name in known:
            self._count(context, name)
        if missing:
            start = time.perf_counter() - clock
            with closing(self._run(context, missing)) as results:
                for task, found in results:
                    clock = time.perf_counter() - start
                    known[str(task)] = found, clock
                    figures = [_plain(found.condition), _plain(found.regions)]
                    context.keep(str(task), [*figures, found.seconds, found.reason, clock])
                    self._count(context, str(task))
        context.measuring += clock
        return [known[str(task)][0] for task in self.tasks]

    def _run(
        self, context: PruningContext, tasks: Sequence[NetworkTask]
    ) -> Generator[tuple[NetworkTask, NetworkMeasurement]]:
        import torch

        from prejudge.search.pruning.inputs import draw_inputs
        from prejudge.search.pruning.measurement import measurer

        size, stage = self.protocol.batch_size or self.space.batch_size, tasks[0].stage
        draws = {
            repeat: draw_inputs(context.images, self.protocol, size, context.seed, stage, repeat)
            for repeat in sorted({task.repeat for task in tasks})
        }
        device, engine = str(context.device or "cpu"), context.engine
        return engine.run(
            measurer(context.space, self.space, self.protocol, draws, self.num_classes, device),
            tasks,
            initializer=None if engine.in_process else prepare,
            initargs=(engine.threads(torch.get_num_threads()), device if engine.elsewhere else None),
        )

    @staticmethod
    def _count(context: PruningContext, name: str) -> None:
        context.measured.add(name)
        context.report(len(context.measured), context.networks)


def _rounding(given: Mapping[str, int]) -> Rounding:
    known = tuple(field.name for field in fields(Rounding))
    for name in given:
        if name not in known:
            raise unknown("rounding", name, known)
    return Rounding(**given)


def _plain(value: float) -> float | str:
    """A number as JSON can write it."""
    return value if math.isfinite(value) else str(value)


def _read(name: str, record: Any) -> tuple[NetworkMeasurement, float]:
    """The figures of a network as the journal has them, and the clock of its question by then."""
    try:
        condition, regions, seconds, reason, clock = record
        return NetworkMeasurement(float(condition), float(regions), float(seconds), str(reason)), float(clock)
    except (ValueError, TypeError, OverflowError):
        raise FileFormatError(
            f"the journal of the run: the record of {name!r} is not the figures of a network; remove the journal"
        ) from None
