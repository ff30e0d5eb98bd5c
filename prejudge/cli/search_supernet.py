"""``prejudge search darts`` and its kin: train a supernet, and read an architecture off it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import output
from prejudge.cli.arguments import pairs
from prejudge.cli.options import (
    MACHINE,
    OWN_TRAINING,
    THIS_PROCESS,
    DataOptions,
    EngineOptions,
    Positive,
    TrainingOptions,
)
from prejudge.cli.recipe_option import Recipe
from prejudge.cli.search_images import search_images

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

_SOLVER = "solver=exact, cvxpy-clarabel or cvxpy-mosek: who solves the LASSO problems"
_ZERO = "whether none takes part in the softmax (in the space darts)"
_PERTURBATION = "perturbation=random or adversarial"
_ADAM = ["arch_learning_rate=3e-4: of the architecture parameters", "arch_weight_decay=1e-3: likewise"]
_PORTION = "train_portion=0.5: share of the images that the weights learn from"
_INTERVAL = "ckpt_interval=None: epochs between checkpoints that are kept; 10, or 20 in nasbench201"
_EPSILON = "epsilon_alpha=0.3: largest radius of the perturbation"
_DIMENSIONS = "proj_dims=7: numbers that are learned for each node"

OPTIONS = {
    "darts": [
        "order=first or second: of the architecture's gradient",
        f"zero=True or False: {_ZERO}",
        *_ADAM,
        _PORTION,
        _INTERVAL,
    ],
    "blank": [f"zero=False or True: {_ZERO}", _PORTION, _INTERVAL],
    "sdarts": [_PERTURBATION, f"zero=False or True: {_ZERO}", _EPSILON, *_ADAM, _PORTION, _INTERVAL],
    "darts-pt": [
        "supernet=darts, blank or sdarts: how it is trained",
        "criterion=acc or loss: what tells how good it is on held-out images",
        "tune_epochs=5: from one projection to the next",
        "evaluation=repeatable or original",
        f"{_PERTURBATION}: of sdarts",
        "zero=False or True: whether none may be chosen (in the space darts)",
        "criterion_normal=None: acc or loss, in place of criterion for the operations of normal cells",
        "criterion_reduce=None: likewise, of reduction cells",
        "criterion_edge=None: likewise, where edges are removed",
        f"{_EPSILON} of sdarts",
        *_ADAM,
        _PORTION,
        _INTERVAL,
    ],
    "ista": [
        _SOLVER,
        "arch_learning_rate=6e-4",
        "arch_weight_decay=1e-3",
        _PORTION,
        _DIMENSIONS,
        "sparseness=2: operations of each node that run",
    ],
    "ista-onestage": [
        _SOLVER,
        "arch_learning_rate=3e-4",
        "arch_weight_decay=1e-3",
        _DIMENSIONS,
        "max_params=3.7e6: parameters from which a choice is refused; 0 refuses none",
        "final_epochs=None: as many as the search phase has at most; 0 leaves the final phase out",
        "fold=start or end: when the weights of operations are folded into their batch norms, as of the final phase",
    ],
    "stacnas": [
        "cells1=14: of the first supernet, where --cells is left out",
        "cells2=20: of the second",
        "train_ratio=1.0: share of the images that is learned from; below 1 the best epoch on the others decides",
        "share_alphas=True or False: whether all cells of a type share their architecture parameters",
        "keep_zero=False or True: whether the final network keeps none beside each operation",
        "features=0: training images by which operations are compared (10000 in the original)",
        "single_epochs=0: epochs of a network of each single operation",
        *_ADAM,
    ],
}
"""What ``--option`` takes for each built-in method: a name, its default, other values, and what it says."""

_SUPERNET = Group("Supernet (the published macro-architecture if left out)", sort_key=1)


def _command(name: str) -> App:
    """The command of a method; all have the same options."""
    app = App(
        name=name,
        help=METHODS[name],
        help_epilogue="\n".join(
            [
                "What --option takes, and first what holds if it is left out:",
                *(f"  {option}" for option in OPTIONS[name]),
                f"Example: prejudge search {name} --space darts --data digits --channels 4 --cells 3 --epochs 2 "
                f"--out {name}.h5",
            ]
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
        macro: Annotated[list[str] | None, Parameter(group=_SUPERNET)] = None,
        training: TrainingOptions = OWN_TRAINING,
        device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
        precision: Annotated[Literal["fp32", "bf16", "fp16"], Parameter(group=MACHINE)] = "fp32",
        channels_last: Annotated[bool, Parameter(group=MACHINE)] = True,
        machine: EngineOptions = THIS_PROCESS,
        as_json: output.Json = False,
    ) -> None:
        """Train a supernet on images, and recommend the architecture that it stands for.

        Args:
            images: Training images; the method parts them itself where it holds some out.
            space: darts, darts-s1 … darts-s4 or nasbench201, as far as the method is defined there.
            out: Result file (HDF5). Checkpoints of every epoch are kept in OUT.run beside it: the same command goes on
                from them.
            benchmark: Table in which the recommendations are looked up.
            option: Option of the method: NAME=VALUE, as listed below; may be given several times.
            seeds: Runs, each from its own seed.
            seed: The first seed.
            resume: OUT.run/seed-N of an earlier run whose supernet is taken instead of training one (darts-pt).
            epoch: Epoch of that run's kept checkpoint; its last one if left out.
            recipe: YAML file that fills in what is left out here.
            channels: Width of the first cells.
            cells: Cells in all (darts) or per stage (nasbench201).
            macro: Any other macro field of the supernet: NAME=VALUE.
            training: Numbers of the weights' training; the published ones if left out.
            device: cpu, cuda, cuda:1, mps …; with torchrun, cuda is one device for each process.
            precision: Number format of forward passes.
            channels_last: Lay out images with their channels last, which is faster on most machines.
            machine: Where runs from several seeds take place.
            as_json: Print JSON instead of text.
        """
        numbers = {"channels": channels, "cells": cells}
        search_images(
            name,
            space,
            images,
            out=out,
            benchmark=benchmark,
            options=pairs(option or []),
            seeds=range(seed, seed + seeds),
            macro={k: v for k, v in numbers.items() if v is not None} | pairs(macro or []),
            training=training.given(),
            device=device,
            machine=machine,
            as_json=as_json,
            resume=resume,
            epoch=epoch,
            precision=precision,
            channels_last=channels_last,
        )

    return app


COMMANDS = [_command(name) for name in METHODS]
"""One command for each method."""
