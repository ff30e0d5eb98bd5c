"""``prejudge test``: evaluate trained weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from prejudge.cli import COMMANDS, output
from prejudge.cli.options import MACHINE, PUBLISHED, DataOptions, NetworkOptions, Positive, use_threads
from prejudge.cli.recipe_option import Recipe
from prejudge.errors import InputError

if TYPE_CHECKING:
    from prejudge.train.evaluation.confusion import ByClass
    from prejudge.train.export.stored_network import Expected, StoredNetwork
    from prejudge.train.export.weights import Description

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
        network: Macro numbers of the network.
        batch_size: Images per forward pass.
        image_size: Side of the images that are read from folders; that of the training if left out.
        device: cpu, cuda, cuda:1, mps …
        precision: Number format of forward passes.
        channels_last: Lay out images with their channels last.
        threads: Threads.
        as_json: Print JSON instead of text, with the figures of each class and the confusion matrix.
    """
    from prejudge.train.device import DeviceConfig
    from prejudge.train.evaluation.confusion import evaluate_by_class
    from prejudge.train.export.stored_network import read_network
    from prejudge.train.images import load_test_images
    from prejudge.train.records import TESTED

    machine = DeviceConfig(device, precision, channels_last)
    use_threads(threads)
    expected = _expected(arch, space, network)
    if expected is not None:
        shown, _ = load_test_images(images.data, split, **images.places())
        fitting = {"num_classes": shown.num_classes, "in_channels": shown.in_channels}
        expected = replace(expected, fitting=fitting)
    found = read_network(checkpoint, expected, key=key)
    data, notes = load_test_images(images.data, split, **images.places(), mean=found.mean, std=found.std)
    if found.macro.get("in_channels") != data.in_channels:
        raise InputError(
            f"{checkpoint} is for images of {found.macro.get('in_channels')} channels, {images.data} has "
            f"{data.in_channels}"
        )
    if data.num_classes != found.macro["num_classes"]:
        raise InputError(
            f"{checkpoint} tells {found.macro['num_classes']} classes apart, {images.data} has {data.num_classes}"
        )
    with machine.running():
        done = evaluate_by_class(
            machine.place(found.network),
            data.with_size(image_size or found.image_size or data.image_size),
            machine,
            classes=found.classes or data.classes,
            batch_size=batch_size,
        )
    facts = figures(checkpoint, found.kind, found, data.name, split, done)
    where = out or (checkpoint / TESTED if checkpoint.is_dir() else None)
    if where is not None:
        from prejudge.formats.atomic import write_atomically

        write_atomically(where, json.dumps(output.plain(facts), ensure_ascii=False).encode())
    if as_json:
        output.print_json({**facts, "written": where})
        return
    _show(facts, done)
    for note in notes:
        output.say(f"note: {note}")
    if where is not None:
        output.say(f"wrote {where}")


def _expected(arch: str | None, space: str | None, network: NetworkOptions) -> Expected | None:
    """What the user says of the architecture; None where nothing is said."""
    if arch is None:
        if space is not None or network != PUBLISHED:
            raise InputError("--space, --form, --channels, --cells and --macro go with --arch: give the architecture")
        return None
    from prejudge.search.recommendation import choose_architecture
    from prejudge.train.export.stored_network import Expected

    found = choose_architecture(arch, space)
    numbers = network.overrides(found.space)
    if found.form is not None:
        numbers = {"form": found.form} | numbers
    return Expected(found.space, found.architecture, numbers)


def figures(
    checkpoint: Path, kind: str, found: StoredNetwork | Description, data: str, split: str, done: ByClass
) -> dict[str, Any]:
    """What an evaluation says, as plain values for a file.

    Args:
        checkpoint: What was evaluated.
        kind: What kind of file that is, in words.
        found: The network in it.
        data: Name of the images.
        split: Which of them.
        done: The evaluation.
    """
    total = done.total
    return {
        "checkpoint": str(checkpoint),
        "kind": kind,
        "space": found.space,
        "architecture": found.architecture,
        "macro": dict(found.macro),
        "data": data,
        "split": split,
        "images": total.images,
        "top1": total.top1,
        "top5": total.top5,
        "loss": total.loss,
        "classes": done.rows(),
        "confusion": done.confusion.tolist(),
    }


def _show(facts: dict[str, Any], done: ByClass) -> None:
    total = done.total
    print(
        f"{facts['data']} {facts['split']}, {total.images:,} images: "
        f"top-1 {total.top1:.2f} %, top-5 {total.top5:.2f} %, loss {total.loss:.4f}"
    )
    rows = facts["classes"]
    if len(rows) > _MOST_CLASSES:
        rows = sorted(rows, key=lambda row: -1 if row["top1"] is None else row["top1"])[:_MOST_CLASSES]
        title = f"the {_MOST_CLASSES} of {len(facts['classes'])} classes with the lowest accuracy"
    else:
        title = "by class"
    columns = ["class", "images", "top-1 %", "top-5 %", "mistaken for", "times"]
    output.print_table(title, columns, [list(row.values()) for row in rows], numeric=[*columns[1:4], "times"])
    output.say(f"weights: {facts['kind']} of {facts['space']}")


_MOST_CLASSES = 20
"""So many classes are printed; --json has all of them."""
