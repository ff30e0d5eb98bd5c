"""``prejudge search darts`` and its kin: train a supernet, and read an architecture off it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import output
from prejudge.cli.arguments import pairs
from prejudge.cli.options import MACHINE, OWN_TRAINING, DataOptions, Positive, TrainingOptions, use_threads
from prejudge.cli.progress import ProgressBar
from prejudge.cli.recipe import Recipe
from prejudge.cli.search_answers import open_table, show_answers
from prejudge.errors import InputError

if TYPE_CHECKING:
    from prejudge.train.loop import Epoch

METHODS = {
    "darts": "DARTS: learn softmax weights of a supernet's operations on held-out images.",
    "blank": "A supernet whose architecture parameters never move.",
    "sdarts": "SmoothDARTS: DARTS whose weights see perturbed architectures.",
    "darts-pt": "DARTS-PT: project a trained supernet by what the removal of each operation costs.",
    "ista": "ISTA-NAS, two-stage: sparse architectures recovered from compressed variables.",
    "ista-onestage": "ISTA-NAS, one-stage: search in the network of the final size, and train it on.",
    "stacnas": "StacNAS: choose among groups of similar operations, then within the chosen ones.",
}
"""Every built-in method, with what its help says first."""

_SUPERNET = Group("Supernet (the published macro-skeleton if left out)", sort_key=1)


def _command(name: str) -> App:
    """The command of a method; all have the same options."""
    app = App(
        name=name,
        help=METHODS[name],
        help_epilogue=(
            f"Example: prejudge search {name} --space darts --data digits --channels 4 --cells 3 --epochs 2 "
            f"--out {name}.h5"
        ),
    )

    @app.default
    def search(
        *,
        images: DataOptions,
        space: str = "darts",
        out: Path | None = None,
        benchmark: str | None = None,
        option: list[str] | None = None,
        seeds: Annotated[int, Parameter(validator=Positive)] = 1,
        seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
        resume: Path | None = None,
        epoch: Annotated[int | None, Parameter(validator=Positive)] = None,
        recipe: Recipe = None,
        channels: Annotated[int | None, Parameter(group=_SUPERNET, validator=Positive)] = None,
        cells: Annotated[int | None, Parameter(group=_SUPERNET, validator=Positive)] = None,
        skeleton: Annotated[list[str] | None, Parameter(group=_SUPERNET)] = None,
        training: TrainingOptions = OWN_TRAINING,
        device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
        precision: Annotated[Literal["fp32", "bf16", "fp16"], Parameter(group=MACHINE)] = "fp32",
        channels_last: Annotated[bool, Parameter(group=MACHINE)] = True,
        threads: Annotated[int | None, Parameter(group=MACHINE, validator=Positive)] = None,
        as_json: output.Json = False,
    ) -> None:
        """Train a supernet on images, and answer with the architecture that it stands for.

        Args:
            images: Training images; the method parts them itself where it holds some out.
            space: darts, darts-s1 … darts-s4 or nasbench201, as far as the method is defined there.
            out: Result file (HDF5). Checkpoints of every epoch are kept in OUT.run beside it: the same command goes on
                from them.
            benchmark: Table in which the answers are looked up.
            option: Option of the method: NAME=VALUE (see: prejudge list searches).
            seeds: Runs, each from its own seed.
            seed: The first seed.
            resume: OUT.run/seed-N of an earlier run whose supernet is taken instead of training one (darts-pt).
            epoch: Epoch of that run's kept checkpoint; its last one if left out.
            recipe: YAML file that fills in what is left out here.
            channels: Width of the first cells.
            cells: Cells in all (darts) or per stage (nasbench201).
            skeleton: Any other macro number of the supernet: NAME=VALUE.
            training: Numbers of the weights' training; the published ones if left out.
            device: cpu, cuda, cuda:1, mps …; with torchrun, cuda is one device for each process.
            precision: Number format of forward passes.
            channels_last: Lay out images with their channels last, which is faster on most machines.
            threads: Threads.
            as_json: Print JSON instead of text.
        """
        from prejudge.search import write_result
        from prejudge.search.gradient import register, search_gradient, search_result
        from prejudge.spaces import space as find_space
        from prejudge.train.data import load

        where = find_space(space)
        register.get(name).check_space(where)  # said before anything is loaded
        table = open_table(benchmark, space)
        options = pairs(option or [])
        numbers = {"channels": channels, "cells": cells}
        macro = {k: v for k, v in numbers.items() if v is not None} | pairs(skeleton or [])
        if resume is not None and seeds > 1:
            raise InputError("--resume takes the supernet of one run; leave --seeds out")
        data = load(images.data, **images.places())
        use_threads(threads)

        from prejudge.train.machine import Machine
        from prejudge.train.world import joined

        runs = []
        with joined(device) as world:
            machine = Machine(world.device(device), precision, channels_last, world=world)
            for number in range(seed, seed + seeds):
                with _EpochBar(number, quiet=as_json or not world.is_first) as bar:
                    runs.append(
                        search_gradient(
                            name,
                            where,
                            data,
                            machine=machine,
                            seed=number,
                            options=options,
                            skeleton=macro,
                            training=training.given(),
                            folder=None if out is None else out.with_name(f"{out.name}.run") / f"seed-{number}",
                            resume_from=resume,
                            resume_epoch=epoch,
                            progress=bar.show,
                        )
                    )
        if not world.is_first:
            return
        result = search_result(name, options, where, data, runs)
        written = write_result(result, out) if out is not None else None
        show_answers(result, table, written, as_json=as_json)

    return app


class _EpochBar(ProgressBar):
    """The progress of one run, with what the last epoch said."""

    def __init__(self, seed: int, *, quiet: bool) -> None:
        super().__init__(f"seed {seed}", quiet=quiet)
        self._seed = seed

    def show(self, stage: str, number: int, epochs: int, epoch: Epoch) -> None:
        """One epoch of a stage has ended."""
        said: dict[str, Any] = {"loss": epoch.train_loss, "train": epoch.train_accuracy, **epoch.accuracies}
        said |= {name: value for name, value in epoch.facts.items() if isinstance(value, float)}
        self.describe(f"seed {self._seed} {stage} " + " ".join(f"{name} {value:.3g}" for name, value in said.items()))
        self(number, epochs)


COMMANDS = [_command(name) for name in METHODS]
"""One command for each method."""
