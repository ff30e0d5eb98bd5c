"""Confusion matrices agree with a count in a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.evaluation.accuracy import test as evaluate
from prejudge.train.evaluation.confusion import evaluate_by_class


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
    found = evaluate_by_class(network, data, classes=tuple("abcdefg"), batch_size=33)
    confusion, top5 = np.zeros((classes, classes), int), np.zeros(classes, int)
    for i in range(n):
        if np.isfinite(logits[i].numpy()).all():
            ranked = np.argsort(-logits[i].numpy())
            confusion[labels[i], ranked[0]] += 1
            top5[labels[i]] += labels[i] in ranked[:5]
    assert np.array_equal(found.confusion, confusion)
    assert np.array_equal(found.top5, top5)
    assert np.array_equal(found.images, np.bincount(labels, minlength=classes))
    assert (found.total.top1, found.total.top5) == (evaluate(network, data).top1, evaluate(network, data).top5)
    rows = found.rows()
    assert rows[6] == {"class": "g", "images": 0, "top1": None, "top5": None, "mistaken for": "", "times": 0}
    others = confusion[0].copy()
    others[0] = 0
    assert rows[0]["mistaken for"] == "abcdefg"[others.argmax()]
    assert rows[0]["times"] == others.max()
    assert rows[0]["top1"] == pytest.approx(100 * confusion[0, 0] / found.images[0])


def test_another_number_of_classes_is_refused() -> None:
    data = ImageDataset("made", np.zeros((2, 2, 2, 1), np.uint8), np.zeros(2, np.int64), 3, (0.0,), (1.0,))
    with pytest.raises(InputError, match="the network tells 4 classes apart, made has 3"):
        evaluate_by_class(Lookup(torch.zeros(2, 4)), data)
