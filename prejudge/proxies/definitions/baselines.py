"""The baselines that every proxy has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prejudge.proxies.registry import proxy

if TYPE_CHECKING:
    from prejudge.proxies.probe import Probe


@proxy("params", reference="number of trainable parameters", reads=["parameters"], invariant_to_dead_edges=False)
def params(probe: Probe) -> int:
    """Number of trainable parameters."""
    return probe.parameters


@proxy(
    "flops",
    reference="half of torch's FLOPs (torch.utils.flop_counter), and the classifier's bias",
    reads=["multiply_adds"],
    invariant_to_dead_edges=False,
)
def flops(probe: Probe) -> int:
    """Multiply-adds of one image: of convolutions, of matrix products (attention's too) and the classifier's bias."""
    return probe.multiply_adds
