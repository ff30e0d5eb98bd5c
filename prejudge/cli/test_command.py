"""``prejudge test``: evaluate trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Group, Parameter

from prejudge.cli import COMMANDS, output
from prejudge.cli.notation_option import Notation
from prejudge.cli.options import MACHINE, PUBLISHED, DataOptions, NetworkOptions, Positive, use_threads
from prejudge.cli.recipe_option import Recipe
from prejudge.errors import InputError
from prejudge.train.files import TESTED

if TYPE_CHECKING:
    from prejudge.train import ExpectedNetwork, TestResult

app = App(
    name="test",
    help=COMMANDS["test"],
    help_epilogue=(
        "Example: prejudge test my-training --data digits\n"
        "Example: prejudge test weights.safetensors --data cifar10 --json\n"
        "Example: prejudge test best.pt --arch DARTS_V2 --channels 16 --cells 8 --data cifar10"
    ),
)

_ARCHITECTURE = Group("Architecture (only for weights that do not say it themselves)", sort_key=1)


@app.default
def test(
    checkpoint: Path,
    *,
    images: DataOptions,
    split: Literal["train", "valid", "test"] = "test",
    out: Path | None = None,
    recipe: Recipe = None,
    arch: Annotated[str | None, Parameter(group=_ARCHITECTURE)] = None,
    space: Annotated[str | None, Parameter(group=_ARCHITECTURE)] = None,
    key: Annotated[str | None, Parameter(group=_ARCHITECTURE)] = None,
    network: NetworkOptions = PUBLISHED,
    batch_size: Annotated[int, Parameter(validator=Positive)] = 512,
    image_size: Annotated[int | None, Parameter(validator=Positive)] = None,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    precision: Annotated[Literal["fp32", "bf16", "fp16"], Parameter(group=MACHINE)] = "fp32",
    channels_last: Annotated[bool, Parameter(group=MACHINE)] = False,
    threads: Annotated[int | None, Parameter(group=MACHINE, validator=Positive)] = None,
    notation: Notation = None,
    as_json: output.Json = False,
) -> None:
    """Evaluate trained weights on images that they were not trained on.

    Files of any program are read without running anything in them.

    Args:
        checkpoint: The folder of a training, exported weights (.safetensors), a checkpoint, a state dict of any
            program, or a network that StacNAS pickled.
        images: The images.
        split: Which of them.
        out: JSON file for the figures and the confusion matrix; in the folder of a training test.json, if left out.
        recipe: YAML file that fills in what is left out here.
        arch: Architecture in any notation, a published name, a genotype file, or a result file of a search.
        space: Its space, where the notation does not say it.
        key: Under which key of the file the weights are, where that is not clear.
        network: Macro-architecture of the network.
        batch_size: Images per forward pass.
        image_size: Side of the images that are read from folders; that of the training if left out.
        device: cpu, cuda, cuda:1, mps …
        precision: Number format of forward passes.
        channels_last: Lay out images with their channels last.
        threads: Threads.
        as_json: Print JSON instead of text, with the figures of each class and the confusion matrix.
    """
    from prejudge.formats.atomic import write_atomically
    from prejudge.formats.escape import json_text
    from prejudge.train import DeviceConfig
    from prejudge.train import test as evaluate_weights

    output.check_file(out)
    use_threads(threads)
    result = evaluate_weights(
        checkpoint,
        images.data,
        _expected(arch, space, network, notation),
        split=split,
        key=key,
        device_config=DeviceConfig(device, precision, channels_last),
        batch_size=batch_size,
        image_size=image_size,
        **images.places(),
    )
    plain = result.as_dict()
    where = out or (checkpoint / TESTED if checkpoint.is_dir() else None)
    if where is not None:
        write_atomically(where, json_text(output.plain(plain)).encode())
    if as_json:
        output.print_json({**plain, "written": where})
        return
    _show(result)
    for text in result.warnings:
        output.say(f"note: {text}")
    if where is not None:
        output.say(f"wrote {where}")


def _expected(
    arch: str | None, space: str | None, network: NetworkOptions, notation: str | None
) -> ExpectedNetwork | None:
    """The network that the options describe; None where they say nothing."""
    if arch is None:
        if space is not None or notation is not None or network != PUBLISHED:
            raise InputError(
                "--space, --notation, --form, --channels, --cells and --macro go with --arch: give the architecture"
            )
        return None
    from prejudge.search.recommendation import choose_architecture
    from prejudge.train import ExpectedNetwork

    found = choose_architecture(arch, space, notation=notation)
    numbers = network.overrides(found.space)
    if found.form is not None:
        numbers = {"form": found.form} | numbers
    return ExpectedNetwork(found.space, found.architecture, numbers)


def _show(result: TestResult) -> None:
    total, rows = result.metrics, result.metrics.rows()
    output.tell(
        f"{result.data} {result.split}, {total.images:,} images: "
        f"top-1 {total.top1:.2f} %, top-5 {total.top5:.2f} %, loss {total.loss:.4f}"
    )
    title = "by class"
    if len(rows) > _MOST_CLASSES:
        title = f"the {_MOST_CLASSES} of {len(rows)} classes with the lowest accuracy"
        rows = sorted(rows, key=lambda row: -1 if row["top1"] is None else row["top1"])[:_MOST_CLASSES]
    columns = ["class", "images", "top-1 %", "top-5 %", "mistaken for", "times"]
    output.print_table(title, columns, [list(row.values()) for row in rows], numeric=[*columns[1:4], "times"])
    output.say(f"weights: {result.kind} of {result.space}")


_MOST_CLASSES = 20
"""So many classes are printed; --json has all of them."""
