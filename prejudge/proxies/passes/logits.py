"""Running a network, and reading class scores out of what it returns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prejudge.engine.device_errors import named_device_errors
from prejudge.errors import InputError
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.network.observer import unobserved
from prejudge.proxies.network.operations import IMAGES, MARK, mark_of


def run(network: nn.Module, x: Tensor) -> Any:
    """What the network returns for ``x``, which it may change in place; ``x`` itself stays as it is.

    Raises:
        InputError: It cannot take a batch of this shape.
    """
    with unobserved():
        images = x.clone()
    if mark_of(x) == IMAGES:
        setattr(images, MARK, IMAGES)
    try:
        with named_device_errors(x.device):
            return network(images)
    except (torch.OutOfMemoryError, Unstackable):
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        shape = tuple(x.shape)
        raise InputError(f"the network cannot take a batch of shape {shape}: {' '.join(str(error).split())}") from error


def class_scores(output: Any, largest_label: int | None = None) -> Tensor:
    """The logits ``(N, K)`` in a network's output.

    Args:
        output: A tensor, or an object with a ``logits`` field (as torchvision's Inception returns in training mode).
        largest_label: To check against K; may be None. A number, because reading it from a device would wait for that.

    Raises:
        InputError: There is no single ``(N, K)`` tensor, or a label is outside ``0..K-1``.
    """
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"the network must return logits of shape (N, classes), not {shape}; wrap it so that it does")
    if largest_label is not None and largest_label >= logits.shape[1]:
        raise InputError(f"label {largest_label} is out of range: the network has {logits.shape[1]} outputs")
    return logits
