"""Proxies of activation patterns: how differently the ReLUs see the images of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prejudge.proxies.kernels.spectrum import log_determinant
from prejudge.proxies.registry import proxy

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.proxies.probe import Probe


@proxy(
    "naswot",
    reference="Mellor et al., ICML 2021 (arXiv:2006.04647v3), binary kernel over live ReLUs",
    reads=["activation_kernel"],
    invariant_to_dead_edges=False,  # a ReLU that reads a constant adds a constant to every entry
    min_batch=2,
)
def naswot(probe: Probe, activations: str = "relu") -> float:
    """Ln |det K|, K counting the ReLU units in which two images are in the same state."""
    return log_determinant(probe.kernel_of_activations("activation_kernel", activations))


@proxy(
    "naswot_hnas",
    reference="convention of shuyao95/HNAS 970789c, each ReLU counted once",
    reads=["preactivation_kernel"],
    min_batch=2,
)
def naswot_hnas(probe: Probe, activations: str = "relu") -> float:
    """Ln |det K|, K the inner products of the values before the ReLUs (not binary)."""
    return log_determinant(probe.kernel_of_activations("preactivation_kernel", activations))


@proxy(
    "linear_regions",
    reference="Chen et al., ICLR 2021 (arXiv:2102.11535), on the given batch",
    reads=["activation_kernel"],
)
def linear_regions(probe: Probe, activations: str = "relu") -> Tensor:
    """Number of distinct activation patterns among the images."""
    kernel = probe.kernel_of_activations("activation_kernel", activations)
    same = kernel == kernel.diagonal()[:, None]  # in the same state in all units
    return (~same.tril(-1).any(1)).sum()
