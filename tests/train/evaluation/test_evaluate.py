"""Top-1, top-5 and loss against sums by hand, in processes and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from prejudge.data.dataset import ImageDataset
from prejudge.data.folder import read_folder
from prejudge.errors import InputError
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.evaluate import ClassificationMetrics, evaluate
from prejudge.train.process_group import ProcessGroup
from tests.train.worlds import together


def some(count: int = 23) -> ImageDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8)
    return ImageDataset("some", images, rng.integers(0, 7, count).astype(np.int64), 7, (0.4,), (0.2,))


class Pixels(nn.Module):
    """The first seven pixels are the logits; not a number where the eighth is dark."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.where(flat[:, 7:8] < -1.5, torch.nan, flat[:, :7])


class FirstPixels(nn.Module):
    """The first seven pixels are the logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :7]


def by_hand(data: ImageDataset) -> tuple[float, float]:
    logits = (data.images.reshape(len(data), -1) / 255 - 0.4) / 0.2
    hits = np.zeros(2)
    for row, label in zip(logits, data.labels, strict=True):
        if row[7] >= -1.5:
            ranked = np.argsort(-row[:7], kind="stable")
            hits += ranked[0] == label, label in ranked[:5]
    return tuple(100 * hits / len(data))  # type: ignore[return-value]


@pytest.mark.parametrize("batch_size", [512, 5])
def test_top1_and_top5(batch_size: int) -> None:
    network = Pixels().train()
    found = evaluate(network, some(), batch_size=batch_size)
    assert (found.top1, found.top5) == pytest.approx(by_hand(some())) and found.images == 23
    assert np.isnan(found.loss) and network.training


def evaluated(world: ProcessGroup, count: int) -> ClassificationMetrics:
    return evaluate(FirstPixels(), some(count), DeviceConfig(process_group=world))


@pytest.mark.parametrize("count", [23, 1])
def test_processes_share_the_images(count: int) -> None:
    def plain(data: ImageDataset) -> ClassificationMetrics:
        return evaluate(FirstPixels(), data)

    expected = plain(some(count))
    for found in together(evaluated, count):
        assert (found.top1, found.top5, found.images) == (expected.top1, expected.top5, count)
        assert found.loss == pytest.approx(expected.loss, rel=1e-6)


def test_files_are_tested_by_their_centers(tmp_path: Path) -> None:
    for name, value in (("dark", 10), ("light", 240)):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (40, 30), (value,) * 3).save(tmp_path / name / f"{number}.png")

    class Brightness(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1:] == (3, 16, 16)
            mean = x.mean((1, 2, 3))
            return torch.stack([-mean, mean], dim=1)

    found = evaluate(Brightness(), read_folder(tmp_path, size=16, in_memory=False), batch_size=4)
    assert (found.top1, found.images) == (100.0, 6)


class Lookup(nn.Module):
    """Logits that are fixed for every image, told by its first pixel."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits[(x[:, 0, 0, 0] * 255).round().long()]


def test_every_image_is_counted_once() -> None:
    rng = np.random.default_rng(0)
    n, classes = 200, 7
    images = np.zeros((n, 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    labels = rng.integers(0, classes - 1, n)  # there is no image of the last class
    logits = torch.tensor(rng.normal(size=(n, classes)), dtype=torch.float32)
    logits[13, 2] = torch.nan
    data = ImageDataset("made", images, labels, classes, (0.0,), (1.0,))
    network = Lookup(logits)
    found = evaluate(network, data, classes=tuple("abcdefg"), batch_size=33)
    confusion, top5 = np.zeros((classes, classes), int), np.zeros(classes, int)
    for i in range(n):
        if np.isfinite(logits[i].numpy()).all():
            ranked = np.argsort(-logits[i].numpy())
            confusion[labels[i], ranked[0]] += 1
            top5[labels[i]] += labels[i] in ranked[:5]
    assert np.array_equal(found.confusion, confusion)
    assert np.array_equal(found.class_top5, top5)
    assert np.array_equal(found.class_images, np.bincount(labels, minlength=classes))
    assert (found.images, found.top1) == (n, pytest.approx(100 * confusion.trace() / n))
    rows = found.rows()
    assert rows[6] == {"class": "g", "images": 0, "top1": None, "top5": None, "mistaken for": "", "times": 0}
    others = confusion[0].copy()
    others[0] = 0
    assert rows[0]["mistaken for"] == "abcdefg"[others.argmax()]
    assert rows[0]["times"] == others.max()
    assert rows[0]["top1"] == pytest.approx(100 * confusion[0, 0] / found.class_images[0])


def test_another_number_of_classes_is_refused() -> None:
    data = ImageDataset("made", np.zeros((2, 2, 2, 1), np.uint8), np.zeros(2, np.int64), 3, (0.0,), (1.0,))
    with pytest.raises(InputError, match="the network tells 4 classes apart, made has 3"):
        evaluate(Lookup(torch.zeros(2, 4)), data)
