"""Top-1 accuracy on images that are tensors already."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def accuracy(
    network: nn.Module, inputs: Tensor, targets: Tensor, *, batch_size: int = 512, device: torch.device | str = "cpu"
) -> float:
    """Compute the top-1 accuracy in evaluation mode.

    Args:
        network: From inputs ``(N, C, H, W)`` to logits ``(N, classes)``; its mode is restored.
        inputs: All images, normalized.
        targets: Their classes, ``(N,)``.
        batch_size: Images per forward pass.
        device: Where to evaluate.

    Returns:
        Per cent of the images whose largest logit is the target's; logits that are not finite count as wrong.
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
