"""``prejudge train``: train what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import COMMANDS, output
from prejudge.cli.notation_option import Notation
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
from prejudge.train.files import SOURCE, WEIGHTS

if TYPE_CHECKING:
    from prejudge.train import Epoch, TrainingPlan, TrainingResult

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
    notation: Notation = None,
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
        search_seed: Which run of a result file; the one with the best value if left out.
        recipe: darts, ista, ista-onestage, stacnas, hnas, te-nas, nasbench201, nats-size or nasbench101: whose training
            this is; that of the search or of the space if left out (see: prejudge list trainings). Or a YAML file that
            fills in what is left out here.
        select: Which network is the result: the best on validation images, which are split off the training images
            where the data has none; that of the last epoch, which has learned from all training images, as the papers
            compare; or the best on the test images, as some released codes do, whose test accuracy is too good to
            compare.
        held_out: Share of the training images that --select valid splits off.
        seed: Of weights, order and augmentation; that of the recipe if left out.
        export: Also write the network as one Python file that needs nothing but PyTorch.
        keep_every: Keep the checkpoint of each epoch that is a multiple of this.
        resume: Go on where an earlier call was interrupted; the same command without this does so, too.
        network: Macro-architecture of the network; that of the recipe if left out.
        training: Numbers of the training; those of the recipe if left out.
        device: cpu, cuda, cuda:1, mps …
        precision: Number format of forward passes.
        channels_last: Lay out images with their channels last, which is faster on most machines.
        compile: Compile the network (torch.compile).
        threads: Threads.
        as_json: Print JSON instead of text.
    """
    from prejudge.search.recommendation import choose_architecture
    from prejudge.train import DeviceConfig, joined, plan_training, run_plan
    from prejudge.train.recipes.resolve import default_recipe

    output.check_folder(out)
    found = choose_architecture(genotype, space, seed=search_seed, notation=notation)
    plan = plan_training(
        found.space,
        found.architecture,
        images.data,
        recipe or default_recipe(found.space.name, found.method),
        macro=network.overrides(found.space),
        training=training.given(),
        form=found.form,
        selection=select,
        held_out=held_out,
        seed=seed,
        origin=found.origin,
        **images.places(),
    )
    use_threads(threads)
    with joined(device) as group:
        quiet = as_json or not group.is_first
        if not quiet:
            _announce(plan, found.notes, out)
        with _EpochBar(quiet=quiet) as bar:
            result = run_plan(
                plan,
                DeviceConfig(group.device(device), precision, channels_last, compile, group),
                folder=out,
                standalone=export == "standalone",
                keep_every=keep_every,
                on_epoch=bar.show,
                on_warning=None if quiet else _warn,
            )
    if not group.is_first:
        return
    source = out / SOURCE if export == "standalone" else None
    if as_json:
        plain = {name: value for name, value in result.as_dict().items() if name != "epochs"}
        classes = result.test.rows() if result.test is not None else None
        output.print_json(plain | {"metadata": result.metadata, "source": source, "classes": classes})
        return
    _show(result, out, source)


def _announce(plan: TrainingPlan, notes: Sequence[str], out: Path) -> None:
    recipe, macro = plan.recipe, plan.macro
    size = ", ".join(f"{name} {macro[name]}" for name in ("channels", "cells") if name in macro)
    output.say(
        f"{plan.paper} on {plan.data.name}: {recipe.epochs} epochs, batches of {recipe.batch_size}, {size}; into {out}"
    )
    for text in [*notes, *plan.warnings]:
        _warn(text)


def _warn(text: str) -> None:
    output.say(f"note: {text}")


def _show(result: TrainingResult, out: Path, source: Path | None) -> None:
    from prejudge.train.plan import SELECTIONS

    plan, rows = result.plan, {}
    for name, tested in (("valid", result.valid), ("test", result.test)):
        if tested is not None:
            rows[name] = f"top-1 {tested.top1:.2f} %, top-5 {tested.top5:.2f} %, loss {tested.loss:.4f}"
    if result.last_test is not None and result.epoch != len(result.epochs):
        rows["test, last epoch"] = f"top-1 {result.last_test.top1:.2f} %"
    rows["selection"] = f"{SELECTIONS[plan.selection]} (epoch {result.epoch} of {len(result.epochs)})"
    rows["parameters"] = f"{plan.params:,}"
    rows["seconds"] = f"{result.seconds:.1f} of training, {result.images_per_second:,.0f} images/s"
    rows["weights"] = str(out / WEIGHTS)
    if source is not None:
        rows["source"] = str(source)
    output.print_fields(f"{plan.space.name}, {plan.data.name}: {plan.architecture}", rows)
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
