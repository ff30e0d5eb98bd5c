"""How good a network is on images that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prejudge.data.batches import ordered_batches
from prejudge.data.dataset import ImageDataset
from prejudge.train.device import DeviceConfig


@dataclass(frozen=True)
class TestResult:
    """What a network reaches on some images.

    Attributes:
        top1: Per cent of the images whose largest logit is the target's.
        top5: Per cent of the images whose target is among the five largest logits.
        loss: Mean cross-entropy.
        images: How many there were.
    """

    __test__ = False  # pytest takes classes with such names for its own

    top1: float
    top5: float
    loss: float
    images: int


def test(
    network: nn.Module,
    data: ImageDataset,
    machine: DeviceConfig | None = None,
    *,
    batch_size: int = 512,
) -> TestResult:
    """Evaluate a network on all images of a set, in evaluation mode.

    In distributed training every process calls this and evaluates its share; the result is the same in all of them.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``, on the machine; its mode is restored.
        data: The images, normalized as they say themselves; of those in files the centers are taken.
        machine: Where to compute; the CPU if left out.
        batch_size: Images per forward pass.

    Returns:
        Accuracies and loss; logits that are not numbers count as wrong.
    """
    machine = machine or DeviceConfig()
    was_training = network.training
    network.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    if machine.device.startswith("mps"):  # has no double precision
        sums = sums.float()
    sums = sums.to(machine.device)
    with torch.inference_mode():
        for images, classes in evaluation_batches(data, machine, batch_size):
            inputs, targets = machine.take(images, classes)
            with machine.autocast():
                logits = network(inputs)
            logits = logits.float()
            finite = logits.isfinite().all(1, keepdim=True)
            ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
            hits = (ranked == targets[:, None]) & finite
            loss = F.cross_entropy(logits, targets, reduction="sum")
            sums = sums + torch.stack([hits[:, 0].sum(), hits.sum(), loss]).to(sums.dtype)
    network.train(was_training)
    top1, top5, total = machine.world.sum_(sums.clone()).tolist()
    n = len(data)
    return TestResult(100 * top1 / n, 100 * top5 / n, total / n, n)


def evaluation_batches(data: ImageDataset, machine: DeviceConfig, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs ``(N, C, H, W)`` and targets ``(N,)`` of every image that this process evaluates."""
    if machine.world.rank < len(data):
        share = data.subset(slice(machine.world.rank, None, machine.world.size))
        yield from ordered_batches(share, batch_size, device=machine.device)


def accuracy(
    network: nn.Module, inputs: Tensor, targets: Tensor, *, batch_size: int = 512, device: torch.device | str = "cpu"
) -> float:
    """Top-1 accuracy in evaluation mode.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``; its mode is restored.
        inputs: All images, normalized.
        targets: Their classes, shape ``(N,)``.
        batch_size: Images per forward pass.
        device: Where to evaluate.

    Returns:
        Per cent of the images whose largest logit is the target's; logits that are not numbers count as wrong.
    """
    was_training = network.training
    network.eval()
    correct = torch.zeros((), dtype=torch.int64, device=device)
    with torch.inference_mode():
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            logits = network(x.to(device))
            hit = logits.argmax(1) == y.to(device)
            correct += (hit & logits.isfinite().all(1)).sum()
    network.train(was_training)
    return 100 * int(correct) / len(targets)
