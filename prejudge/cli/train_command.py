"""``prejudge train``: train what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import COMMANDS, output
from prejudge.cli.options import (
    MACHINE,
    OWN_TRAINING,
    PUBLISHED,
    DataOptions,
    NetworkOptions,
    Positive,
    TrainingOptions,
    use_threads,
)
from prejudge.cli.progress import ProgressBar

if TYPE_CHECKING:
    from prejudge.data.splits import Splits
    from prejudge.search.recommendation import ChosenArchitecture
    from prejudge.train.evaluation.confusion import ByClass
    from prejudge.train.loop import Epoch
    from prejudge.train.process_group import ProcessGroup
    from prejudge.train.recipes.published import RetrainRecipe
    from prejudge.train.training import TrainingResult

SOURCE = "network.py"
"""The network as one file for PyTorch alone, beside its weights."""

RUNNING = "training"
"""What the lock of a folder is named after."""

app = App(
    name="train",
    help=COMMANDS["train"],
    help_epilogue=(
        "The same command goes on where it was interrupted. On several GPUs: torchrun --nproc-per-node 4 -m prejudge "
        "train … (the batch size stays that of all of them together).\n"
        "Example: prejudge train DARTS_V2 --data cifar10 --device cuda --out darts-v2\n"
        "Example: prejudge train darts.h5 --data digits --channels 8 --cells 5 --epochs 10 --out my-training\n"
        'Example: prejudge train "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|" --data digits '
        "--channels 4 --cells 1 --epochs 2 --out tiny"
    ),
)

_ARCHITECTURE = Group("Architecture", sort_key=0)


@app.default
def train(
    genotype: str,
    *,
    images: DataOptions,
    out: Path,
    space: Annotated[str | None, Parameter(group=_ARCHITECTURE)] = None,
    search_seed: Annotated[int | None, Parameter(group=_ARCHITECTURE)] = None,
    recipe: Annotated[str | None, Parameter(name="--recipe")] = None,
    select: Literal["last", "valid", "test"] = "valid",
    held_out: float = 0.1,
    seed: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    export: Literal["standalone"] | None = None,
    keep_every: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    resume: bool = False,
    network: NetworkOptions = PUBLISHED,
    training: TrainingOptions = OWN_TRAINING,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    precision: Annotated[Literal["fp32", "bf16", "fp16"], Parameter(group=MACHINE)] = "fp32",
    channels_last: Annotated[bool, Parameter(group=MACHINE)] = True,
    compile: Annotated[bool, Parameter(group=MACHINE)] = False,
    threads: Annotated[int | None, Parameter(group=MACHINE, validator=Positive)] = None,
    as_json: output.Json = False,
) -> None:
    """Train the network of an architecture by a published recipe, and test it.

    The folder keeps checkpoints, the log (log.jsonl, and TensorBoard's where that is installed), the trained weights
    (weights.safetensors), result.json, and what the test images of each class are taken for (test.json).

    Args:
        genotype: Architecture in any notation, a file with one, a published name (DARTS_V2; see: prejudge list
            genotypes), or a result file of a search.
        images: The images.
        out: Folder of this training.
        space: Search space, where neither a file nor the notation says it.
        search_seed: Which run of a result file; the one with the best answer if left out.
        recipe: darts, ista, ista-onestage, stacnas, hnas, tenas, nasbench201 or nasbench101: whose training this is;
            that of the search or of the space if left out (see: prejudge list trainings). Or a YAML file that fills in
            what is left out here.
        select: Which network is the result: the best on validation images, which are split off the training images
            where the data has none; that of the last epoch, which has learned from all training images, as the papers
            compare; or the best on the test images, as some released codes do, whose test accuracy is too good to
            compare.
        held_out: Share of the training images that --select valid splits off.
        seed: Of weights, order and augmentation; that of the recipe if left out.
        export: Also write the network as one Python file that needs nothing but PyTorch.
        keep_every: Keep the checkpoint of each epoch that is a multiple of this.
        resume: Go on where an earlier call was interrupted; the same command without this does so, too.
        network: Macro numbers of the network; those of the recipe if left out.
        training: Numbers of the training; those of the recipe if left out.
        device: cpu, cuda, cuda:1, mps …
        precision: Number format of forward passes.
        channels_last: Lay out images with their channels last, which is faster on most machines.
        compile: Compile the network (torch.compile).
        threads: Threads.
        as_json: Print JSON instead of text.
    """
    from prejudge.search.recommendation import choose_architecture
    from prejudge.train.recipes.resolve import default_recipe
    from prejudge.train.records import ABOUT

    found = choose_architecture(genotype, space, seed=search_seed)
    paper = recipe or default_recipe(found.space.name, found.method)
    macro = network.overrides(found.space)
    data, notes = _data(images, paper)
    plan, remarks = _plan(paper, found, data, images.data, macro, training.given())
    use_threads(threads)

    from prejudge.train.device import DeviceConfig
    from prejudge.train.process_group import joined
    from prejudge.train.training import train_network

    with joined(device) as world:
        machine = DeviceConfig(world.device(device), precision, channels_last, compile, world)
        quiet = as_json or not world.is_first
        if not quiet:
            _announce(plan, found, [*found.notes, *notes, *remarks], out)
        with _alone(out, world), _EpochBar(quiet=quiet) as bar:
            result = train_network(
                found.space,
                found.architecture,  # an architecture is any hashable value
                data,
                plan,
                machine,
                folder=out,
                selection=select,
                held_out=held_out,
                seed=(plan.seed or 0) if seed is None else seed,
                keep_every=keep_every,
                note=None if quiet else _note,
                progress=bar.show,
            )
    if not world.is_first:
        return
    by_class = _by_class(out, data, DeviceConfig(machine.device, precision, channels_last), result)
    about = _about(plan, found, images.data, data, result, world, machine, [*notes, *remarks])
    _write(out / ABOUT, about)
    source = _export_source(out, found, result, data) if export == "standalone" else None
    if as_json:
        plain = result.as_dict()
        del plain["epochs"]
        output.print_json(plain | {"about": about, "source": source, "classes": by_class.rows() if by_class else None})
        return
    _show(result, out, source)


def _alone(out: Path, world: ProcessGroup) -> AbstractContextManager[None]:
    """One training at a time writes a folder: the first of its processes says so."""
    if not world.is_first:
        return nullcontext()
    from prejudge.formats.lock import alone

    out.mkdir(parents=True, exist_ok=True)
    return alone(out / RUNNING)


def _data(images: DataOptions, paper: str) -> tuple[Splits, list[str]]:
    """The images, normalized as the recipe does where it was published for them and the user says nothing else."""
    from prejudge.train.images import load_training_images
    from prejudge.train.recipes.published import published_recipe
    from prejudge.train.recipes.resolve import published_data

    places = images.places()
    base, published = published_data(paper, images.data)
    if places["normalization"] is None and published:
        places["normalization"] = published_recipe(paper, base).normalization or None
    return load_training_images(images.data, **places)


def _plan(
    paper: str,
    found: ChosenArchitecture,
    data: Splits,
    kind: str,
    macro: Mapping[str, Any],
    training: Mapping[str, Any],
) -> tuple[RetrainRecipe, list[str]]:
    from prejudge.train.recipes.resolve import Images, fitted_recipe, published_data

    name = kind.partition(":")[0].partition("@")[0]
    train = data.train
    named = Images(
        name if name not in ("npz", "folder") else train.name, train.num_classes, train.in_channels, train.image_size
    )
    plan, notes = fitted_recipe(paper, found.space.name, named, form=found.form, macro=macro, training=training)
    return plan, [*notes, *(plan.notes if published_data(paper, kind)[1] else ())]


def _announce(plan: RetrainRecipe, found: ChosenArchitecture, notes: list[str], out: Path) -> None:
    recipe, macro = plan.training, dict(plan.macro)
    size = ", ".join(f"{name} {macro[name]}" for name in ("channels", "cells") if name in macro)
    output.say(
        f"{plan.paper} on {plan.data}: {recipe.epochs} epochs, batches of {recipe.batch_size}, {size}; into {out}"
    )
    for note in notes:
        _note(note)


def _note(text: str) -> None:
    output.say(f"note: {text}")


def _by_class(out: Path, data: Splits, machine: Any, result: TrainingResult) -> ByClass | None:
    """What the test images of each class are taken for, by the weights that were written; kept beside them."""
    if data.test is None:
        return None
    from prejudge.train.evaluation.confusion import evaluate_by_class
    from prejudge.train.export.weights import load_weights
    from prejudge.train.training import WEIGHTS

    network, described = load_weights(out / WEIGHTS)
    test = data.test.with_size(result.recipe.image_size or data.test.image_size)
    with machine.running():
        done = evaluate_by_class(
            machine.place(network), test, machine, classes=described.classes
        )  # fmt: skip
    from prejudge.cli.test_command import figures
    from prejudge.train.records import TESTED

    _write(out / TESTED, figures(out, "exported weights", described, data.test.name, "test", done))
    return done


def _about(
    plan: RetrainRecipe,
    found: ChosenArchitecture,
    kind: str,
    data: Splits,
    result: TrainingResult,
    world: ProcessGroup,
    machine: Any,
    notes: list[str],
) -> dict[str, Any]:
    """What the command meant: for the report, and for whoever finds the folder."""
    import platform

    import torch

    from prejudge.train.recipes.resolve import changes

    side = data.train.image_size if not result.recipe.image_size else result.recipe.image_size
    numbers = {k: v for k, v in result.macro.items() if k != "auxiliary"}
    on_cuda = machine.device.startswith("cuda")
    return {
        "recipe": plan.paper,
        "not as published": changes(plan, plan.paper, kind),
        "origin": dict(found.origin),
        "data": kind,
        "macs": found.space.flops(found.architecture, side, **numbers),
        "image side": side,
        "machine": {
            "device": torch.cuda.get_device_name(machine.device) if on_cuda else machine.device,
            "precision": machine.precision,
            "processes": world.size,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "notes": notes,
    }


def _write(path: Path, content: Any) -> None:
    from prejudge.formats.atomic import write_atomically

    write_atomically(path, json.dumps(output.plain(content), indent=1, ensure_ascii=False).encode())


def _export_source(out: Path, found: ChosenArchitecture, result: TrainingResult, data: Splits) -> Path:
    from prejudge.formats.atomic import write_atomically
    from prejudge.train.export.standalone import standalone_source

    numbers = {**result.macro, **({"auxiliary": False} if "auxiliary" in result.macro else {})}
    text = standalone_source(
        found.space,
        found.architecture,
        numbers,
        classes=data.train.classes,
        mean=data.train.mean,
        std=data.train.std,
        image_size=result.recipe.image_size or data.train.image_size,
    )
    write_atomically(out / SOURCE, text.encode())
    return out / SOURCE


def _show(result: TrainingResult, out: Path, source: Path | None) -> None:
    from prejudge.train.training import SELECTIONS, WEIGHTS

    facts: dict[str, Any] = {}
    for name, tested in (("valid", result.valid), ("test", result.test)):
        if tested is not None:
            facts[name] = f"top-1 {tested.top1:.2f} %, top-5 {tested.top5:.2f} %, loss {tested.loss:.4f}"
    if result.last_test is not None and result.epoch != len(result.epochs):
        facts["test, last epoch"] = f"top-1 {result.last_test.top1:.2f} %"
    facts["selection"] = f"{SELECTIONS[result.selection]} (epoch {result.epoch} of {len(result.epochs)})"
    facts["parameters"] = f"{result.params:,}"
    facts["seconds"] = f"{result.seconds:.1f} of training, {result.images_per_second:,.0f} images/s"
    facts["weights"] = out / WEIGHTS
    if source is not None:
        facts["source"] = source
    output.print_facts(f"{result.space}, {result.data}: {result.architecture}", facts)
    output.say(f"next: prejudge report --training {out} --out training.html")


class _EpochBar(ProgressBar):
    """The progress of a training, with what the last epoch said."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__("training", quiet=quiet)

    def show(self, number: int, epochs: int, epoch: Epoch) -> None:
        """One epoch has ended."""
        said = [f"loss {epoch.train_loss:.3g}", f"train {epoch.train_accuracy:.1f} %"]
        said += [f"{name} {value:.1f} %" for name, value in epoch.accuracies.items()]
        self.describe(f"{', '.join(said)}, {epoch.images_per_second:,.0f} images/s")
        self(number, epochs)
