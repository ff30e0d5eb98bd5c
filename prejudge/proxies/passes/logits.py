"""Reading class scores out of what a network returns."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from prejudge.errors import InputError


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
