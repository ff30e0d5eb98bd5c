"""Proxies of the synaptic flow through the linearized network."""

from __future__ import annotations

from typing import Any

from prejudge.proxies.registry import proxy

_REFERENCE = "Tanaka et al., NeurIPS 2020; convention of SamsungLabs/zero-cost-nas a43bfbc with every batch norm off"


@proxy("synflow", reference=_REFERENCE, reads=["synaptic_flow"])
def synflow(probe: Any, keep_bn: str = "") -> Any:
    """Sum of |weight * dR/dweight|, R the output of the network of absolute weights on an image of ones."""
    return sum(probe.synaptic_flow(keep_bn).values())


@proxy("logsynflow", reference=f"{_REFERENCE}; logarithm of the sum", reads=["synaptic_flow"])
def logsynflow(probe: Any, keep_bn: str = "") -> Any:
    """Natural logarithm of synflow, which spans tens of decades."""
    return sum(probe.synaptic_flow(keep_bn).values()).log()
