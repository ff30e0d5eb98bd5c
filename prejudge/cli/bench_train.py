"""``prejudge bench train``: train architectures into a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from prejudge.cli import output
from prejudge.cli.arguments import architectures
from prejudge.cli.options import MACHINE, PUBLISHED, DataOptions, NetworkOptions, Positive, use_threads
from prejudge.cli.progress import ProgressBar
from prejudge.cli.recipe import Recipe

app = App(
    name="train",
    help_epilogue=(
        "Example: prejudge bench train nasbench201 --data digits --archs random:20 --seeds 2 --epochs 5 "
        "--channels 8 --cells 1 --out mine.h5"
    ),
)

_TRAINING = Group("Training", sort_key=2)


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
    epochs: Annotated[int | None, Parameter(group=_TRAINING)] = None,
    batch_size: Annotated[int | None, Parameter(group=_TRAINING)] = None,
    learning_rate: Annotated[float | None, Parameter(group=_TRAINING)] = None,
    weight_decay: Annotated[float | None, Parameter(group=_TRAINING)] = None,
    augment: Annotated[bool | None, Parameter(group=_TRAINING)] = None,
    noise: Annotated[float | None, Parameter(group=_TRAINING)] = None,
    train_images: Annotated[int | None, Parameter(group=_TRAINING)] = None,
    valid_copies: Annotated[int, Parameter(group=_TRAINING)] = 1,
    test_copies: Annotated[int, Parameter(group=_TRAINING)] = 1,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    workers: Annotated[int, Parameter(group=MACHINE, validator=Positive)] = 1,
    threads: Annotated[int | None, Parameter(group=MACHINE, validator=Positive)] = None,
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
        network: Macro numbers of the networks.
        epochs: Passes over the training images; 200 if left out.
        batch_size: Images per step; 256 if left out.
        learning_rate: At the first step; 0.1 if left out.
        weight_decay: 0.0005 if left out.
        augment: Crop and flip the training images at random.
        noise: Standard deviation of noise added to the images, in 0..1 units; none if left out.
        train_images: Learn only the first so many training images.
        valid_copies: Noisy copies of the validation images.
        test_copies: Noisy copies of the test images.
        device: cpu, cuda, cuda:1, mps …
        workers: Processes.
        threads: Threads of all processes together.
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import open_table
    from prejudge.benchmarks.table_recipe import TableRecipe
    from prejudge.benchmarks.training import train_table
    from prejudge.spaces import space as find_space
    from prejudge.train.splits import load_splits

    where = find_space(space)
    chosen = architectures(where, archs, seed=0)
    training = _given(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        augment=augment,
        noise=noise,
    )
    numbers = TableRecipe.from_dict(
        {
            "training": training,
            "skeleton": network.overrides(where),
            "train_images": train_images,
            "valid_copies": valid_copies,
            "test_copies": test_copies,
        }
    )
    loaded = load_splits(images.data, **images.places())
    use_threads(threads)
    with ProgressBar("training", quiet=as_json) as bar:
        written = train_table(
            where,
            chosen,
            loaded,
            out=out,
            seeds=range(seeds),
            recipe=numbers,
            workers=workers,
            per_class=archs == "unique",
            device=device,
            progress=bar,
        )
    if as_json:
        output.print_json({"written": written, "trained": bar.done, "metrics": open_table(written).metrics()})
        return
    print(f"wrote {written}")
    output.say(f"{bar.done} trainings done now" if bar.done else "nothing to train: every training was there")
    output.say(f"next: prejudge bench info {written}")


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
