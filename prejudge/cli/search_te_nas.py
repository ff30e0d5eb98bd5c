"""``prejudge search te-nas``: prune a supernet without training it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import output
from prejudge.cli.arguments import pairs
from prejudge.cli.options import MACHINE, THIS_PROCESS, DataOptions, EngineOptions, Positive
from prejudge.cli.recipe_option import Recipe
from prejudge.cli.search_images import search_images

app = App(
    name="te-nas",
    help_epilogue="Example: prejudge search te-nas --space nasbench201 --data digits --out te-nas.h5",
)

_PRUNING = Group("Pruning", sort_key=1)


@app.default
def te_nas(
    *,
    images: DataOptions,
    space: str = "nasbench201",
    out: Path | None = None,
    benchmark: str | None = None,
    seeds: Annotated[int, Parameter(validator=Positive)] = 1,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    recipe: Recipe = None,
    convention: Annotated[str, Parameter(group=_PRUNING)] = "default",
    setting: Annotated[list[str] | None, Parameter(group=_PRUNING)] = None,
    classes: Annotated[int | None, Parameter(group=_PRUNING, validator=Positive)] = None,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    machine: EngineOptions = THIS_PROCESS,
    as_json: output.Json = False,
) -> None:
    """Remove the operations of a supernet that matter least to its kernel's condition and its linear regions.

    No network is trained and no label is read.

    Args:
        images: Images; those of a NumPy file need no labels.
        space: nasbench201, darts or darts-s1 … darts-s4.
        out: Result file (HDF5). What is measured is kept in OUT.run beside it: the same command goes on from there.
        benchmark: Table in which the recommendations are looked up.
        seeds: Runs, each from its own seed.
        seed: The first seed.
        recipe: YAML file that fills in what is left out here.
        convention: default (fast), te-nas (what the released code does, with the exact kernel), or te-nas-imagenet (the
            same with its numbers for ImageNet on the space darts).
        setting: Any other setting of the pruning: NAME=VALUE, e.g. kernel=exact, batch_size=32, repeats=5.
        classes: Outputs of the networks; the classes of the data if left out.
        device: cpu, cuda, cuda:1, mps …
        machine: Where the networks are measured; the round that is at work is shared out.
        as_json: Print JSON instead of text.
    """
    settings = pairs(setting or [])
    if classes is not None:
        settings["num_classes"] = classes
    search_images(
        "te-nas",
        space,
        images,
        out=out,
        benchmark=benchmark,
        options={"convention": convention, **settings},
        seeds=range(seed, seed + seeds),
        macro={},
        training={},
        device=device,
        machine=machine,
        as_json=as_json,
    )
