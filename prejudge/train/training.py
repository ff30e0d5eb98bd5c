"""Training a found architecture: from its text and images to a tested network in a folder.

The folder of a run holds ``last.pt`` and ``best.pt`` (checkpoints), ``log.jsonl`` and ``tensorboard/`` (its log),
``weights.safetensors`` (the network that was selected) and ``result.json`` (what it reaches).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from prejudge._version import __version__
from prejudge.data.dataset import ImageDataset
from prejudge.data.splits import Splits, random_split
from prejudge.engine.random_state import own_random_state
from prejudge.errors import InputError, unknown
from prejudge.formats.atomic import write_atomically
from prejudge.spaces.base import Architecture, Space
from prejudge.spaces.base import space as space_named
from prejudge.train.checkpoint import CheckpointManager
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.accuracy import TestResult, test
from prejudge.train.export.weights import export_weights
from prejudge.train.learner import SupervisedLearner
from prejudge.train.logs import RunLog
from prejudge.train.loop import Epoch, run_epochs
from prejudge.train.recipes.batches import recipe_batches
from prejudge.train.recipes.published import RetrainRecipe
from prejudge.train.recipes.recipe import Recipe

SELECTIONS = {
    "last": "the network of the last epoch",
    "valid": "the network of the epoch that was best on validation images",
    "test": "the network of the epoch that was best on the test images: its test accuracy is too good to compare",
}
"""Which epoch's network is the result."""

WEIGHTS, RESULT = "weights.safetensors", "result.json"

HELD_OUT = 0.1
"""Share of the training images that is split off to validate on where no others are given."""

Progress = Callable[[int, int, Epoch], None]
"""Called after every epoch with its number (from 1), how many there are, and what it did."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        space: Name of the search space.
        architecture: Its text.
        macro: Every macro number of the network.
        recipe: The numbers of the training.
        data: Name of the images.
        images: How many were learned, validated on and tested on.
        seed: Of the training.
        selection: Which epoch's network this is, one of :data:`SELECTIONS`.
        epoch: Its number, from 1.
        epochs: What every epoch did.
        valid: That network on the validation images; None where there are none.
        test: Likewise on the test images.
        last_test: The network of the last epoch on the test images.
        params: Weights of the network, without the auxiliary classifier.
        images_per_second: Speed of the training steps, of all processes together.
        folder: Where the run is kept; None where it was not.
    """

    space: str
    architecture: str
    macro: Mapping[str, Any]
    recipe: Recipe
    data: str
    images: Mapping[str, int]
    seed: int
    selection: str
    epoch: int
    epochs: list[Epoch]
    valid: TestResult | None
    test: TestResult | None
    last_test: TestResult | None
    params: int
    images_per_second: float
    folder: Path | None = None

    @property
    def seconds(self) -> float:
        """Time of all training steps."""
        return sum(epoch.seconds for epoch in self.epochs)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        tests = {n: None if plain[n] is None else asdict(plain[n]) for n in ("valid", "test", "last_test")}
        return plain | tests | {
            "recipe": self.recipe.as_dict(),
            "selection": {"by": self.selection, "meaning": SELECTIONS[self.selection]},
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "seconds": self.seconds,
            "folder": None if self.folder is None else str(self.folder),
            "prejudge": __version__,
        }  # fmt: skip


def train_network(
    space: Space[Any] | str,
    arch: Architecture | str,
    data: Splits | ImageDataset,
    recipe: RetrainRecipe | Recipe,
    machine: DeviceConfig | None = None,
    *,
    folder: Path | str | None = None,
    selection: str = "valid",
    held_out: float = HELD_OUT,
    macro: Mapping[str, Any] | None = None,
    seed: int = 0,
    keep_every: int = 0,
    tensorboard: bool = True,
    note: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train the network of an architecture, and test it.

    In distributed training every process calls this (see :func:`~prejudge.train.process_group.joined`), and all of
    them return
    the same; the first alone writes and reports.

    Args:
        space: The search space, or its name.
        arch: The architecture, in any notation of the space.
        data: The images; where there are none to validate on, and the selection needs them, some are split off those to
            learn.
        recipe: The numbers; a published one also says those of the network.
        machine: Where to compute; the CPU if left out.
        folder: Where the run is kept. One that was interrupted goes on from its last epoch, and ends as if it had not
            been; one with other numbers is refused.
        selection: One of :data:`SELECTIONS`. With ``"last"`` nothing is split off: all training images are learned.
        held_out: Share of the training images to split off.
        macro: Macro numbers of the network that go before the recipe's; classes and channels follow the images.
        seed: Of weights, split, order and augmentation.
        keep_every: Keep the checkpoint of each epoch that is a multiple of this; 0 keeps none of them.
        tensorboard: Whether to log for TensorBoard, too.
        note: Called with what the user should know and that is no error, one line each.
        progress: Called after every epoch.

    Raises:
        InputError: Architecture, images, recipe and network do not fit each other, or the folder belongs to another
            run; it is said before anything is trained.
        TrainingFailure: The loss was not finite; the checkpoint of the epoch before stays.
        OutOfMemory: The device has no memory left.
    """
    machine, where = machine or DeviceConfig(), space_named(space) if isinstance(space, str) else space
    training = recipe.training if isinstance(recipe, RetrainRecipe) else recipe
    parsed = where.parse(arch)
    if seed < 0:
        raise InputError(f"a seed is not negative, but {seed} is")
    parts = _parts(data, selection, held_out, seed, note)
    published = dict(recipe.macro) if isinstance(recipe, RetrainRecipe) else {}
    numbers = _macro(where, published, macro or {}, training, parts.train)
    plan = {
        "task": "train",
        "space": where.name,
        "architecture": str(parsed),
        "macro": numbers,
        "recipe": training.as_dict(),
        "data": {name: images.digest for name, images in parts.named().items()},
        "seed": seed,
        "selection": selection,
        "precision": machine.precision,
    }
    with ExitStack() as stack:
        place = Path(folder) if folder is not None else Path(stack.enter_context(TemporaryDirectory()))
        keeper = CheckpointManager(place, plan, keep_every=keep_every)
        stack.enter_context(own_random_state(seed))
        torch.manual_seed(seed)  # the accelerators' generators, too
        learner = SupervisedLearner(where.network(parsed, **numbers), training, machine)
        if not machine.world.is_first:  # all start from the first one's weights, but each drops paths of its own
            torch.manual_seed(seed + 1_000_003 * machine.world.rank)
        log = RunLog(place, tensorboard=tensorboard and folder is not None, note=note)
        stack.callback(log.close)

        def on_epoch(number: int, epoch: Epoch) -> None:
            log(number, epoch)
            if progress is not None:
                progress(number + 1, training.epochs, epoch)

        watched = "test" if selection == "test" else "valid"
        others = parts.test if selection == "test" else parts.valid
        world = machine.world
        batches = recipe_batches(
            parts.train, training, seed=seed, device=machine.device, rank=world.rank, world=world.size
        )
        history = run_epochs(
            learner,
            batches,
            training.epochs,
            machine=machine,
            evaluate=None if others is None else partial(_accuracy, watched, others, machine, training),
            keeper=keeper,
            best_by=watched if selection != "last" else None,
            on_start=log.begin,
            on_epoch=on_epoch,
        )
        with machine.running():
            last_test = _tested(learner.evaluated, parts.test, machine, training)
            chosen, tested = len(history), last_test
            if selection != "last":
                best = machine.world.from_first(keeper.best)
                assert best is not None  # there is at least one epoch
                if best.epoch != chosen:
                    learner.load_state_dict(best.state["learner"])
                    chosen, tested = best.epoch, _tested(learner.evaluated, parts.test, machine, training)
            validated = _tested(learner.evaluated, parts.valid, machine, training)
        seconds = sum(epoch.seconds for epoch in history)
        result = TrainingResult(
            space=where.name,
            architecture=str(parsed),
            macro=numbers,
            recipe=training,
            data=parts.train.name,
            images={name: len(images) for name, images in parts.named().items()},
            seed=seed,
            selection=selection,
            epoch=chosen,
            epochs=history,
            valid=validated,
            test=tested,
            last_test=last_test,
            params=where.params(parsed, **{k: v for k, v in numbers.items() if k != "auxiliary"}),
            images_per_second=sum(epoch.images for epoch in history) / seconds if seconds else 0.0,
            folder=Path(folder) if folder is not None else None,
        )
        if folder is not None and machine.world.is_first:
            _write(place, result, learner.evaluated, where, parsed, parts)
        return result


def _parts(
    data: Splits | ImageDataset, selection: str, held_out: float, seed: int, note: Callable[[str], None] | None
) -> Splits:
    """The images, with some split off to validate on where the selection needs them."""
    if selection not in SELECTIONS:
        raise unknown("selection", selection, SELECTIONS)
    parts = Splits(data) if isinstance(data, ImageDataset) else data
    if selection == "test" and parts.test is None:
        raise InputError(f"{parts.train.name}: there are no test images to select by; select by valid, or last")
    if selection == "valid" and parts.valid is None:
        train, valid = random_split(parts.train, 1 - held_out, seed=seed)
        if note is not None:
            note(
                f"{len(valid):,} of the {len(parts.train):,} training images are held out to choose the epoch; "
                "select the last epoch to learn from all of them, as the papers do"
            )
        parts = Splits(train, valid, parts.test)
    return parts


def _macro(
    space: Space[Any], published: Mapping[str, Any], chosen: Mapping[str, Any], recipe: Recipe, data: ImageDataset
) -> dict[str, Any]:
    """Every macro number of the network; what is not said follows the space, and classes and channels the images."""
    known = space.default_macro
    for name in published:
        if name not in known:
            raise InputError(f"the recipe is for networks with {name!r}, which those of {space.name} do not have")
    said = {**published, **chosen}
    fitting = {"num_classes": data.num_classes, "in_channels": data.in_channels}
    for name, value in fitting.items():
        if said.get(name, value) != value:
            raise InputError(
                f"{data.name} needs {name}={value}, but the recipe or you say {said[name]}; "
                "take the recipe of these images, or fit it to them (RetrainRecipe.for_images)"
            )
    if "auxiliary" in known:
        said["auxiliary"] = recipe.auxiliary_weight > 0
    return asdict(space.macro(**{**said, **{n: v for n, v in fitting.items() if n in known}}))


def _tested(
    network: nn.Module, images: ImageDataset | None, machine: DeviceConfig, recipe: Recipe
) -> TestResult | None:
    if images is None:
        return None
    return test(network, images.with_size(recipe.image_size or images.image_size), machine)


def _accuracy(
    name: str, images: ImageDataset, machine: DeviceConfig, recipe: Recipe, network: nn.Module
) -> dict[str, float]:
    found = _tested(network, images, machine, recipe)
    assert found is not None
    return {name: found.top1}


def _write(
    folder: Path, result: TrainingResult, network: nn.Module, space: Space[Any], arch: Architecture, parts: Splits
) -> None:
    train = parts.train
    numbers = {**result.macro, **({"auxiliary": False} if "auxiliary" in result.macro else {})}
    plain = _finite(result.as_dict())
    told = ("data", "images", "recipe", "seed", "selection", "epoch", "test", "prejudge")
    export_weights(
        network,
        folder / WEIGHTS,
        space=space,
        architecture=arch,
        macro=numbers,
        classes=train.classes,
        mean=train.mean,
        std=train.std,
        image_size=result.recipe.image_size or train.image_size,
        provenance={name: plain[name] for name in told},
    )
    content = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / RESULT, content.encode())


def _finite(value: Any) -> Any:
    """The same plain value with null for numbers that JSON does not have."""
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
