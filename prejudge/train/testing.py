"""Tests of trained weights in any file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.evaluate import ClassificationMetrics, evaluate
from prejudge.train.export.stored_network import ExpectedNetwork, read_network
from prejudge.train.images import load_test_images, normalized_by


@dataclass(frozen=True, eq=False)
class TestResult:
    """Trained weights on some images, class by class.

    Attributes:
        checkpoint: The file or folder of the weights.
        kind: The kind of that file, in words.
        space: Name of the search space.
        architecture: The architecture's text.
        macro: Macro-architecture numbers of the network.
        data: Name of the images.
        split: Which of them.
        metrics: The figures.
        warnings: What the user should know, one sentence each.
    """

    __test__ = False  # pytest takes classes with such names for its own

    checkpoint: str
    kind: str
    space: str
    architecture: str
    macro: Mapping[str, Any]
    data: str
    split: str
    metrics: ClassificationMetrics
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values, for a file."""
        return {
            "checkpoint": self.checkpoint,
            "kind": self.kind,
            "space": self.space,
            "architecture": self.architecture,
            "macro": dict(self.macro),
            "data": self.data,
            "split": self.split,
            **self.metrics.as_dict(),
            "classes": self.metrics.rows(),
            "confusion": self.metrics.confusion.tolist(),
        }


def test(
    checkpoint: Path | str,
    data: ImageDataset | str,
    expected: ExpectedNetwork | None = None,
    *,
    split: str = "test",
    key: str | None = None,
    device_config: DeviceConfig | None = None,
    batch_size: int = 512,
    image_size: int | None = None,
    **places: Any,
) -> TestResult:
    """Evaluate trained weights on images that they were not trained on; nothing in their file is run.

    Args:
        checkpoint: The folder of a training, exported weights (.safetensors), a checkpoint, a state dict of any
            program, or a network that StacNAS pickled.
        data: The images, or their name as ``--data`` has it. They are normalized as the weights' file says it, unless
            they are given or a normalization is named.
        expected: The network, for files that do not say it themselves.
        split: Which of the images: ``"train"``, ``"valid"`` or ``"test"``.
        key: Under which key of the file the weights are, where that is not clear.
        device_config: Where to compute; the CPU if left out.
        batch_size: Images per forward pass.
        image_size: Side of images that are read from files; that of the training if left out.
        places: ``data_dir``, ``download`` and ``normalization`` where ``data`` is a name, as for
            :func:`prejudge.data.load`.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is damaged, or holds no weights.
        InputError: The weights are of another architecture, or do not fit the images.
    """
    config, warnings = device_config or DeviceConfig(), list[str]()
    found = read_network(checkpoint, key=key) if expected is None else None
    if isinstance(data, ImageDataset):
        images = data
    else:
        images, warnings = load_test_images(data, split, **places)
    if found is None:
        assert expected is not None
        fitting = {"num_classes": images.num_classes, "in_channels": images.in_channels}
        found = read_network(checkpoint, replace(expected, fitting=fitting), key=key)
    stored = found.metadata
    if isinstance(data, str) and places.get("normalization") is None and stored.mean:
        images = normalized_by(images, stored.mean, stored.std)
    wanted = stored.macro.get("in_channels")
    if wanted != images.in_channels:
        raise InputError(f"{checkpoint} is for images of {wanted} channels, {images.name} has {images.in_channels}")
    if images.num_classes != stored.macro["num_classes"]:
        raise InputError(
            f"{checkpoint} tells {stored.macro['num_classes']} classes apart, {images.name} has {images.num_classes}"
        )
    images = images.with_size(image_size or stored.image_size or images.image_size)
    with config.running():
        figures = evaluate(
            config.place(found.network), images, config, classes=stored.classes, batch_size=batch_size
        )  # fmt: skip
    return TestResult(
        str(checkpoint), found.kind, stored.space, stored.architecture, stored.macro, images.name, split, figures,
        tuple(warnings),
    )  # fmt: skip
