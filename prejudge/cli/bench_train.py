"""``prejudge bench train``: train architectures into a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from prejudge.cli import output
from prejudge.cli.notation_option import Notation
from prejudge.cli.options import (
    MACHINE,
    OWN_TRAINING,
    PUBLISHED,
    THIS_PROCESS,
    DataOptions,
    EngineOptions,
    NetworkOptions,
    Positive,
    TrainingOptions,
)
from prejudge.cli.progress import ClusterBar
from prejudge.cli.recipe_option import Recipe

app = App(
    name="train",
    help_epilogue=(
        "Example: prejudge bench train nasbench201 --data digits --archs random:20 --seeds 2 --epochs 5 "
        "--channels 8 --cells 1 --out mine.h5"
    ),
)

_TABLE = Group("Table", sort_key=1)


@app.default
def train(
    space: str,
    *,
    images: DataOptions,
    out: Path,
    archs: str = "unique",
    seeds: Annotated[int, Parameter(validator=Positive)] = 3,
    recipe: Recipe = None,
    network: NetworkOptions = PUBLISHED,
    training: TrainingOptions = OWN_TRAINING,
    train_images: Annotated[int | None, Parameter(group=_TABLE)] = None,
    valid_copies: Annotated[int, Parameter(group=_TABLE)] = 1,
    test_copies: Annotated[int, Parameter(group=_TABLE)] = 1,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    machine: EngineOptions = THIS_PROCESS,
    notation: Notation = None,
    as_json: output.Json = False,
) -> None:
    """Train architectures of a space and make a table of their accuracies; an interrupted run goes on where it was.

    Args:
        space: Search space, e.g. nasbench201.
        images: Images to train on.
        out: Table file to write; finished trainings are kept beside it.
        archs: Which architectures: unique (one of each class of equivalents), all, random:N, or a file with one a line.
        seeds: Trainings of each architecture.
        recipe: YAML file that fills in what is left out here.
        network: Macro-architecture of the networks.
        training: Numbers of the training; by default those of NAS-Bench-201, with 200 epochs.
        train_images: Learn only the first so many training images.
        valid_copies: Noisy copies of the validation images.
        test_copies: Noisy copies of the test images.
        device: cpu, cuda, cuda:1, mps …
        machine: Where the trainings run.
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import open_table
    from prejudge.benchmarks.training.table_recipe import TableRecipe
    from prejudge.benchmarks.training.trainer import train_table
    from prejudge.data.splits import load_splits
    from prejudge.spaces import select
    from prejudge.spaces import space as find_space

    where = find_space(space)
    numbers = TableRecipe.from_dict(
        {
            "training": training.given(),
            "macro": network.overrides(where),
            "train_images": train_images,
            "valid_copies": valid_copies,
            "test_copies": test_copies,
        }
    )
    output.check_file(out)
    loaded = load_splits(images.data, **images.places())
    bar = ClusterBar("training", quiet=as_json)
    engine = machine.open(device, bar.watch)
    with bar:
        written = train_table(
            where,
            archs if archs == "unique" else select(where, archs, notation=notation),
            loaded,
            out=out,
            seeds=range(seeds),
            recipe=numbers,
            device=device,
            engine=engine,
            progress=bar,
        )
    if as_json:
        output.print_json({"written": written, "trained": bar.done, "metrics": open_table(written).metrics()})
        return
    output.tell(f"wrote {written}")
    output.say(f"{bar.done} trainings done now" if bar.done else "nothing to train: every training was there")
    if bar.summary:
        output.say(f"by node: {bar.summary}")
    output.say(f"next: prejudge bench info {written}")
