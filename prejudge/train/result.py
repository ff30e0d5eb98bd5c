"""Results of trainings, and the files that keep them."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prejudge._version import __version__
from prejudge.formats.atomic import write_atomically
from prejudge.formats.escape import json_text
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.evaluate import ClassificationMetrics
from prejudge.train.export.standalone import standalone_source
from prejudge.train.export.weights import export_weights
from prejudge.train.files import METADATA, RESULT, SOURCE, TESTED, WEIGHTS
from prejudge.train.loop import Epoch
from prejudge.train.plan import SELECTIONS, TrainingPlan
from prejudge.train.testing import TestResult

_PROVENANCE = ("data", "images", "recipe", "seed", "selection", "epoch", "test", "prejudge")


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The outcome of a training.

    Attributes:
        plan: What was trained.
        device_config: Where.
        epoch: Number of the epoch whose network was selected, from 1.
        epochs: Every epoch.
        valid: That network on the validation images; None where there are none.
        test: That network on the test images.
        last_test: The network of the last epoch on the test images.
        network: The selected network, in evaluation mode.
        warnings: What the user should know, one sentence each.
        folder: Where the run is kept; None where it was not.
    """

    plan: TrainingPlan
    device_config: DeviceConfig
    epoch: int
    epochs: Sequence[Epoch]
    valid: ClassificationMetrics | None
    test: ClassificationMetrics | None
    last_test: ClassificationMetrics | None
    network: nn.Module
    warnings: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def seconds(self) -> float:
        """Time of all training steps."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def images_per_second(self) -> float:
        """Speed of the training steps, of all processes together."""
        return sum(epoch.images for epoch in self.epochs) / self.seconds if self.seconds else 0.0

    @property
    def metadata(self) -> dict[str, Any]:
        """Where architecture and recipe come from, the device, multiply-adds and warnings, as plain values."""
        config, plan = self.device_config, self.plan
        on_cuda = config.device.startswith("cuda")
        return {
            "recipe": plan.paper,
            "not as published": dict(plan.changes),
            "origin": dict(plan.origin),
            "data": plan.data.name,
            "macs": plan.macs,
            "image side": plan.image_size,
            "device": {
                "device": torch.cuda.get_device_name(config.device) if on_cuda else config.device,
                "precision": config.precision,
                "processes": config.process_group.size,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "warnings": list(self.warnings),
        }

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values, for a file."""
        plan = self.plan
        tests = {"valid": self.valid, "test": self.test, "last_test": self.last_test}
        return {
            "space": plan.space.name,
            "architecture": str(plan.architecture),
            "macro": dict(plan.macro),
            "recipe": plan.recipe.as_dict(),
            "data": plan.data.name,
            "images": {name: len(images) for name, images in plan.data.named().items()},
            "seed": plan.seed,
            "selection": {"by": plan.selection, "meaning": SELECTIONS[plan.selection]},
            "epoch": self.epoch,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            **{name: None if found is None else found.as_dict() for name, found in tests.items()},
            "params": plan.params,
            "images_per_second": self.images_per_second,
            "seconds": self.seconds,
            "folder": None if self.folder is None else str(self.folder),
            "prejudge": __version__,
        }

    def tested(self) -> TestResult | None:
        """The test images class by class, as :func:`prejudge.train.test` gives them; None where there are none."""
        if self.test is None:
            return None
        plan, where = self.plan, str(self.folder or "")
        return TestResult(
            where, "exported weights", plan.space.name, str(plan.architecture), plan.deployed_macro, plan.data.name,
            "test", self.test,
        )  # fmt: skip

    def write(self, folder: Path, *, standalone: bool = False) -> None:
        """Write weights, result, metadata and the tested classes; ``standalone`` adds the network's source."""
        plan, train = self.plan, self.plan.data.train
        plain = finite(self.as_dict())
        pixels: dict[str, Any] = {
            "classes": train.classes, "mean": train.mean, "std": train.std, "image_size": plan.image_size
        }  # fmt: skip
        export_weights(
            self.network,
            folder / WEIGHTS,
            space=plan.space,
            architecture=plan.architecture,
            macro=plan.deployed_macro,
            provenance={name: plain[name] for name in _PROVENANCE},
            **pixels,
        )
        _write_json(folder / RESULT, plain)
        _write_json(folder / METADATA, finite(self.metadata))
        tested = self.tested()
        if tested is not None:
            _write_json(folder / TESTED, finite(tested.as_dict()))
        if standalone:
            source = standalone_source(plan.space, plan.architecture, plan.deployed_macro, **pixels)
            write_atomically(folder / SOURCE, source.encode())


def finite(value: Any) -> Any:
    """The same plain value with null for numbers that JSON does not have."""
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, json_text(content, indent=1, allow_nan=False).encode())
