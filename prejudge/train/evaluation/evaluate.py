"""Evaluation of a network on images that it does not learn from: accuracies, loss and confusion matrix in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prejudge.data.batches import ordered_batches
from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.device import DeviceConfig

_TOP = 5


@dataclass(frozen=True, eq=False)
class ClassificationMetrics:
    """Accuracies, loss and confusion matrix of a network on some images.

    Attributes:
        loss: Mean cross-entropy.
        confusion: Number of images of each class (rows) that were taken for each class (columns), ``(classes,
            classes)``; those with logits that are not finite are in none of the columns.
        class_images: Number of images of each class, ``(classes,)``.
        class_top5: Number of those whose class is among the five largest logits, ``(classes,)``.
        classes: Names of the classes; their numbers where they have none.
    """

    loss: float
    confusion: np.ndarray
    class_images: np.ndarray
    class_top5: np.ndarray
    classes: tuple[str, ...]

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.class_images.sum())

    @property
    def top1(self) -> float:
        """Per cent of the images whose largest logit is the target's."""
        return 100 * int(self.confusion.trace()) / self.images

    @property
    def top5(self) -> float:
        """Per cent of the images whose target is among the five largest logits."""
        return 100 * int(self.class_top5.sum()) / self.images

    def as_dict(self) -> dict[str, Any]:
        """The figures of all classes together, as plain values."""
        return {"top1": self.top1, "top5": self.top5, "loss": self.loss, "images": self.images}

    def rows(self) -> list[dict[str, Any]]:
        """One row a class: name, images, accuracies in per cent (None without images), and what it is mistaken for."""
        found: list[dict[str, Any]] = []
        for number, name in enumerate(self.classes):
            images, row = int(self.class_images[number]), self.confusion[number]
            others = row.copy()
            others[number] = 0
            wrong = int(others.argmax())
            found.append(
                {
                    "class": name,
                    "images": images,
                    "top1": 100 * float(row[number]) / images if images else None,
                    "top5": 100 * float(self.class_top5[number]) / images if images else None,
                    "mistaken for": self.classes[wrong] if others[wrong] else "",
                    "times": int(others[wrong]),
                }
            )
        return found


def evaluate(
    network: nn.Module,
    data: ImageDataset,
    device_config: DeviceConfig | None = None,
    *,
    classes: tuple[str, ...] = (),
    batch_size: int = 512,
) -> ClassificationMetrics:
    """Evaluate a network on all images of a dataset, in evaluation mode.

    In distributed training every process calls this and evaluates its share; the result is the same in all of them.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``, on the device; its mode is restored.
        data: The images, normalized as they say themselves; of those in files the centers are taken.
        device_config: Where to compute; the CPU if left out.
        classes: Names of the classes; those of the images if left out.
        batch_size: Images per forward pass.

    Returns:
        Accuracies, loss and confusion matrix; logits that are not finite count as wrong.

    Raises:
        InputError: The network tells another number of classes apart than the images have.
    """
    config, count = device_config or DeviceConfig(), data.num_classes
    counts = torch.zeros(count, count + 2, dtype=torch.int64, device=config.device)
    total = torch.zeros((), dtype=torch.float32 if config.device.startswith("mps") else torch.float64)
    total = total.to(config.device)  # mps has no double precision
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        for images, labels in _own_batches(data, config, batch_size):
            inputs, targets = config.take(images, labels)
            with config.autocast():
                logits = network(inputs)
            if logits.shape[1] != count:
                raise InputError(f"the network tells {logits.shape[1]} classes apart, {data.name} has {count}")
            logits = logits.float()
            finite = logits.isfinite().all(1)
            ranked = logits.topk(min(_TOP, count), dim=1).indices
            among = ((ranked == targets[:, None]).any(1) & finite).long()
            # The columns: the class that was predicted, hits among the first five, images.
            for column, values in (
                (ranked[:, 0], finite.long()),
                (torch.full_like(targets, count), among),
                (torch.full_like(targets, count + 1), torch.ones_like(targets)),
            ):
                counts.index_put_((targets, column), values, accumulate=True)
            total = total + F.cross_entropy(logits, targets, reduction="sum").to(total.dtype)
    network.train(was_training)
    table = config.process_group.sum_(counts.clone()).cpu().numpy()
    loss = float(config.process_group.sum_(total.clone())) / len(data)
    names = tuple(classes) or data.classes
    if len(names) != count:
        names = tuple(map(str, range(count)))
    return ClassificationMetrics(loss, table[:, :count], table[:, count + 1], table[:, count], names)


def _own_batches(data: ImageDataset, config: DeviceConfig, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs ``(N, C, H, W)`` and targets ``(N,)`` of every image that this process evaluates."""
    if config.process_group.rank < len(data):
        share = data.subset(slice(config.process_group.rank, None, config.process_group.size))
        yield from ordered_batches(share, batch_size, device=config.device)
