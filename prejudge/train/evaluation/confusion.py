"""What a network takes the images of each class for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.device import DeviceConfig
from prejudge.train.evaluation.accuracy import TestResult, evaluation_batches

_TOP = 5


@dataclass(frozen=True, eq=False)
class ByClass:
    """A network on some images, class by class.

    Attributes:
        total: On all images together.
        confusion: Images of each class (rows) that were taken for each class (columns), ``(classes, classes)``; those
            with logits that are not numbers are in none of the columns.
        images: Images of each class, ``(classes,)``.
        top5: Those whose class is among the five largest logits, ``(classes,)``.
        classes: Names of the classes; their numbers where they have none.
    """

    total: TestResult
    confusion: np.ndarray
    images: np.ndarray
    top5: np.ndarray
    classes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One row a class: name, images, accuracies in per cent (None without images), and what it is mistaken for."""
        found: list[dict[str, Any]] = []
        for number, name in enumerate(self.classes):
            images, row = int(self.images[number]), self.confusion[number]
            others = row.copy()
            others[number] = 0
            wrong = int(others.argmax())
            found.append(
                {
                    "class": name,
                    "images": images,
                    "top1": 100 * float(row[number]) / images if images else None,
                    "top5": 100 * float(self.top5[number]) / images if images else None,
                    "mistaken for": self.classes[wrong] if others[wrong] else "",
                    "times": int(others[wrong]),
                }
            )
        return found


def evaluate_by_class(
    network: nn.Module,
    data: ImageDataset,
    machine: DeviceConfig | None = None,
    *,
    classes: tuple[str, ...] = (),
    batch_size: int = 512,
) -> ByClass:
    """Evaluate a network on all images of a set, in evaluation mode.

    It is done as in
    :func:`prejudge.train.evaluation.accuracy.test`.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``, on the machine; its mode is restored.
        data: The images, normalized as they say themselves; of those in files the centers are taken.
        machine: Where to compute; the CPU if left out.
        classes: Names of the classes.
        batch_size: Images per forward pass.

    Raises:
        InputError: The network tells another number of classes apart than the images have.
    """
    machine = machine or DeviceConfig()
    count = data.num_classes
    counts = torch.zeros(count, count + 2, dtype=torch.int64, device=machine.device)
    loss = torch.zeros((), dtype=torch.float32, device=machine.device)
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        for images, labels in evaluation_batches(data, machine, batch_size):
            inputs, targets = machine.take(images, labels)
            with machine.autocast():
                logits = network(inputs)
            if logits.shape[1] != count:
                raise InputError(f"the network tells {logits.shape[1]} classes apart, {data.name} has {count}")
            logits = logits.float()
            finite = logits.isfinite().all(1)
            ranked = logits.topk(min(_TOP, count), dim=1).indices
            among = ((ranked == targets[:, None]).any(1) & finite).long()
            # Per class: what it was taken for, hits among the first five, images.
            one = torch.ones_like(targets)
            counts.index_put_((targets, ranked[:, 0]), finite.long(), accumulate=True)
            counts.index_put_((targets, torch.full_like(targets, count)), among, accumulate=True)
            counts.index_put_((targets, torch.full_like(targets, count + 1)), one, accumulate=True)
            loss += F.cross_entropy(logits, targets, reduction="sum")
    network.train(was_training)
    table = machine.world.sum_(counts.clone()).cpu().numpy()
    total_loss = float(machine.world.sum_(loss.clone()))
    confusion, top5, images_of = table[:, :count], table[:, count], table[:, count + 1]
    n = int(images_of.sum())
    total = TestResult(100 * int(confusion.trace()) / n, 100 * int(top5.sum()) / n, total_loss / n, n)
    names = tuple(classes) if len(classes) == count else tuple(str(i) for i in range(count))
    return ByClass(total, confusion, images_of, top5, names)
