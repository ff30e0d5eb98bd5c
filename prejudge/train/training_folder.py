"""The files of a finished training as the content of a report; nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.formats.text import parse_json
from prejudge.report.training import Tested, TrainingRecord, TrainingReportData
from prejudge.spaces.base import space as space_named
from prejudge.train.files import METADATA, RESULT, TESTED
from prejudge.train.recipes.recipe import Recipe

_SELECTED_BY_TEST = (
    "An accuracy on the test images that also selected the epoch is too good to be compared with others."
)


@dataclass(frozen=True)
class TrainingFolder:
    """The files of a finished training.

    Attributes:
        folder: Where they lie.
        result: What came out.
        metadata: Where architecture and recipe come from, the device, multiply-adds and warnings.
        tested: The test images class by class; empty where they were not looked at.
    """

    folder: Path
    result: Mapping[str, Any]
    metadata: Mapping[str, Any]
    tested: Mapping[str, Any]


def read_training(folder: Path | str) -> TrainingFolder:
    """Read the files of a training.

    Raises:
        MissingDataError: It is not the folder of a training, or the training has not ended.
        FileFormatError: A file is damaged.
    """
    folder = Path(folder)
    if not (folder / RESULT).is_file():
        if (folder / "last.pt").is_file():
            raise MissingDataError(f"the training in {folder} has not ended; run its command again to go on")
        raise MissingDataError(f"{folder} is not the folder of a training: it has no {RESULT}")
    result, metadata, tested = (_json(folder / name) for name in (RESULT, METADATA, TESTED))
    needed = ("space", "architecture", "epochs", "epoch", "params", "seconds")
    if missing := [name for name in needed if name not in result]:
        raise FileFormatError(f"{folder / RESULT} is not the result of a training: it says no {missing[0]}")
    if tested.get("split", "test") != "test" or tested.get("architecture", "") != result["architecture"]:
        tested = {}
    return TrainingFolder(folder, result, metadata, tested)


def report_data(records: Sequence[TrainingFolder], *, title: str | None = None) -> TrainingReportData:
    """The content of a report on trainings.

    Args:
        records: At least one.
        title: Its heading; what was trained, if left out.

    Raises:
        FileFormatError: A file holds something else than it should.
        InputError: There is no training.
    """
    if not records:
        raise InputError("a report needs the folder of at least one training")
    names = _names(records)
    trainings = []
    for one, name in zip(records, names, strict=True):
        try:
            trainings.append(_record(one, name))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as error:
            raise FileFormatError(
                f"{one.folder} does not hold results that this prejudge can read ({error})"
            ) from error
    spaces = dict.fromkeys(str(one.result["space"]) for one in records)
    data = dict.fromkeys(str(one.result.get("data", "")) for one in records)
    what = title or f"{_what(records)} on {', '.join(data)}"
    return TrainingReportData(what, ", ".join(spaces), trainings, _notes(records))


def _record(one: TrainingFolder, name: str) -> TrainingRecord:
    result, tested = one.result, one.tested
    epochs = result["epochs"]
    valid, test, last = (_tested(result.get(key)) for key in ("valid", "test", "last_test"))
    watched = dict.fromkeys(images for epoch in epochs for images in epoch["accuracies"])
    accuracy = {"train": _column(epoch["train_accuracy"] for epoch in epochs)}
    accuracy |= {images: _column(epoch["accuracies"].get(images) for epoch in epochs) for images in watched}
    rates = _column(epoch.get("learning_rate") for epoch in epochs)
    classes = [str(row["class"]) for row in tested.get("classes", ())]
    where = space_named(result["space"])
    selection = result.get("selection") or {}
    return TrainingRecord(
        name=name,
        architecture=result["architecture"],
        loss=_column(epoch["train_loss"] for epoch in epochs),
        accuracy=accuracy,
        learning_rate=rates if np.isfinite(rates).any() else np.zeros(0),
        selection=str(selection.get("meaning", "")),
        epoch=int(result["epoch"]),
        valid=valid,
        test=test,
        last_test=last,
        params=int(result["params"]),
        macs=float(one.metadata.get("macs", math.nan)),
        seconds=float(result["seconds"]),
        images_per_second=float(result.get("images_per_second", math.nan)),
        classes=classes,
        confusion=np.array(tested["confusion"], dtype=np.int64) if classes else None,
        by_class=np.array([row["images"] for row in tested["classes"]], dtype=np.int64) if classes else None,
        cells=where.graphs(where.parse(result["architecture"])),
        protocol=_protocol(one),
        provenance=_provenance(one),
    )


def _protocol(one: TrainingFolder) -> dict[str, str]:
    """The training in words, by label."""
    result, metadata = one.result, one.metadata
    recipe = Recipe(**result["recipe"])
    macro = {k: v for k, v in result["macro"].items() if k not in ("drop_path",)}
    images = ", ".join(f"{count:,} {name}" for name, count in result.get("images", {}).items())
    said = {
        "Recipe": _recipe_text(metadata),
        "Images": f"{result.get('data', '')}: {images}",
        "Network": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in macro.items()),
        "Length": f"{recipe.epochs} epochs, batches of {recipe.batch_size}"
        + (f" in {recipe.accumulation_steps} parts" if recipe.accumulation_steps > 1 else ""),
        "Optimizer": _optimizer(recipe),
        "Learning rate": _learning_rate(recipe),
        "Augmentation": _augmentation(recipe),
        "Regularization": _regularization(recipe),
        "Seed": str(result.get("seed", "")),
    }
    changed = metadata.get("not as published") or {}
    if changed:
        said["Not as published"] = "; ".join(
            f"{name.replace('_', ' ')} {_said(here)} (published: {_said(there)})"
            for name, (there, here) in changed.items()
        )
    return {label: text for label, text in said.items() if text}


def _recipe_text(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("recipe", "")) + (", with other numbers" if metadata.get("not as published") else "")


def _optimizer(recipe: Recipe) -> str:
    nesterov = " (Nesterov)" if recipe.nesterov else ""
    clip = f", gradients clipped to {recipe.max_grad_norm:g}" if recipe.max_grad_norm else ""
    return f"{recipe.optimizer}, momentum {recipe.momentum:g}{nesterov}, weight decay {recipe.weight_decay:g}{clip}"


def _learning_rate(recipe: Recipe) -> str:
    least = f" to {recipe.min_learning_rate:g}" if recipe.schedule.startswith("cosine") else ""
    warm = f", {recipe.warmup_epochs} epochs of warm-up" if recipe.warmup_epochs else ""
    return f"{recipe.learning_rate:g}{least}, {recipe.schedule}{warm}"


def _augmentation(recipe: Recipe) -> str:
    parts = []
    if recipe.augment:
        padding = f" (padding {recipe.padding})" if recipe.augmentation == "crop-flip" else ""
        parts.append(f"{recipe.augmentation}{padding}")
    parts += [f"AutoAugment {recipe.autoaugment}"] if recipe.autoaugment else []
    parts += [f"cutout {recipe.cutout}"] if recipe.cutout else []
    parts += [f"noise {recipe.noise_std:g}"] if recipe.noise_std else []
    return ", ".join(parts) or "none"


def _regularization(recipe: Recipe) -> str:
    numbers = {
        "drop-path": recipe.drop_path,
        "auxiliary classifier": recipe.auxiliary_weight,
        "label smoothing": recipe.label_smoothing,
        "moving average": recipe.ema_decay,
    }
    return ", ".join(f"{name} {value:g}" for name, value in numbers.items() if value) or "none"


def _provenance(one: TrainingFolder) -> dict[str, str]:
    origin, device = one.metadata.get("origin", {}), one.metadata.get("device", {})
    said = {str(label).capitalize(): _said(value) for label, value in origin.items()}
    said |= {str(label).capitalize(): _said(value) for label, value in device.items()}
    return {**said, "Prejudge": str(one.result.get("prejudge", "")), "Folder": one.folder.name}


def _notes(records: Sequence[TrainingFolder]) -> list[str]:
    notes = dict.fromkeys(str(note) for one in records for note in _listed(one.metadata.get("warnings")))
    if any(_mapping(one.result.get("selection")).get("by") == "test" for one in records):
        notes[_SELECTED_BY_TEST] = None
    return list(notes)


def _names(records: Sequence[TrainingFolder]) -> list[str]:
    """The folders' names; with the folder above them where two have the same."""
    names = [one.folder.resolve().name for one in records]
    if len(set(names)) < len(names):
        names = ["/".join(one.folder.resolve().parts[-2:]) for one in records]
    if len(set(names)) < len(names):
        names = [str(one.folder.resolve()) for one in records]
    return names


def _what(records: Sequence[TrainingFolder]) -> str:
    origins = [_mapping(one.metadata.get("origin")) for one in records]
    names = dict.fromkeys(str(o.get("published") or o.get("search") or "an architecture") for o in origins)
    if len(records) > 1:
        return f"{len(records)} trainings"
    name = next(iter(names))
    return f"Training of what {name} found" if "search" in origins[0] else f"Training of {name}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _tested(content: Mapping[str, Any] | None) -> Tested | None:
    if content is None:
        return None
    top1, top5, loss = (math.nan if content[k] is None else float(content[k]) for k in ("top1", "top5", "loss"))
    return Tested(top1, top5, loss, int(content["images"]))


def _column(values: Any) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _said(value: Any) -> str:
    if value is None:
        return "not said"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_said(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise FileFormatError(f"{path} is damaged ({error}); train or test again to write it anew") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path} should hold a JSON object; train or test again to write it anew")
    return content
