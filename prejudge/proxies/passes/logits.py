"""Running a network, and the sums of its logits."""

from __future__ import annotations

from torch import Tensor, nn

from prejudge.proxies.network.call_adapter import adapter_of, logits_in, run_network
from prejudge.proxies.network.observer import unobserved
from prejudge.proxies.network.operations import IMAGES, MARK, mark_of


def run(network: nn.Module, x: Tensor) -> Tensor:
    """The logits ``(N, …)`` of a network for ``x``, which it may change in place; ``x`` itself stays as it is.

    Raises:
        InputError: It cannot take a batch of this shape, or returns no logits.
    """
    with unobserved():
        images = x.clone()
    if mark_of(x) == IMAGES:
        setattr(images, MARK, IMAGES)
    adapter = adapter_of(network)
    description = f"shape {tuple(x.shape)}" if adapter is None or adapter.batch.plain else adapter.description
    return logits_in(run_network(network, (images,), {}, description, x.device), len(x))[0]


def image_sums(logits: Tensor) -> Tensor:
    """The sum of all logits of each image, ``(N,)``."""
    return logits.sum(1) if logits.dim() == 2 else logits.reshape(len(logits), -1).sum(1)
