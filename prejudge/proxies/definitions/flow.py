"""Proxies of the synaptic flow through the linearized network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prejudge.proxies.kernels.spectrum import total
from prejudge.proxies.registry import proxy

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.proxies.probe import Probe

_REFERENCE = "Tanaka et al., NeurIPS 2020; convention of SamsungLabs/zero-cost-nas a43bfbc with every batch norm off"


@proxy("synflow", reference=_REFERENCE, reads=["synaptic_flow"])
def synflow(probe: Probe, keep_bn: str = "") -> Tensor:
    """Sum of |weight * dR/dweight|, R the output of the network of absolute weights on an image of ones."""
    return total(probe.synaptic_flow(keep_bn).values())


@proxy("logsynflow", reference=f"{_REFERENCE}; logarithm of the sum", reads=["synaptic_flow"])
def logsynflow(probe: Probe, keep_bn: str = "") -> Tensor:
    """Natural logarithm of synflow, which spans tens of decades."""
    return total(probe.synaptic_flow(keep_bn).values()).log()
