"""Proxies read from gradients of the loss for the weights (conventions of zero-cost-nas, arXiv:2101.08134)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prejudge.proxies.kernels.spectrum import total
from prejudge.proxies.registry import proxy

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.proxies.probe import Probe

_ZC = "convention of SamsungLabs/zero-cost-nas a43bfbc"


@proxy("grad_norm", reference=f"Abdelfattah et al., ICLR 2021; {_ZC}", reads=["weight_gradients"], needs_labels=True)
def grad_norm(probe: Probe) -> Tensor:
    """Sum over prunable layers of the norm of the loss gradient (not the norm of the whole gradient)."""
    return total(g.norm() for g in probe.weight_gradients.values())


@proxy("snip", reference=f"Lee et al., ICLR 2019; {_ZC}", reads=["weight_gradients", "weights"], needs_labels=True)
def snip(probe: Probe) -> Tensor:
    """Sum of |weight * gradient|: connection sensitivity."""
    return total((probe.weights[name] * g).abs().sum() for name, g in probe.weight_gradients.items())


@proxy("plain", reference=_ZC, reads=["weight_gradients", "weights"], needs_labels=True)
def plain(probe: Probe) -> Tensor:
    """Sum of weight * gradient, signed; near 0 behind batch norm, where only unnormalized layers contribute."""
    return total((probe.weights[name] * g).sum() for name, g in probe.weight_gradients.items())


@proxy(
    "grasp", reference=f"Wang et al., ICLR 2020; sign and T=1 as {_ZC}", reads=["weight_curvature"], needs_labels=True
)
def grasp(probe: Probe) -> Tensor:
    """Minus the sum of weight * (Hessian times gradient): how pruning would change the gradient flow."""
    return -total(probe.weight_curvature.values())


@proxy(
    "fisher",
    reference=f"Theis et al. 2018, Turner et al., ICLR 2020; {_ZC}",
    reads=["channel_saliency"],
    needs_labels=True,
    invariant_to_dead_edges=False,  # as the kernels of HNAS: a biased convolution behind a dead edge is seen
)
def fisher(probe: Probe) -> Tensor:
    """Channel saliency 1/2 mean (sum z * dL/dz)^2, counted once for each weight of the channel."""
    weights = probe.weights_per_channel
    return total(s.sum() * weights[name] for name, s in probe.channel_saliency.items())


@proxy("l2_norm", reference=_ZC, reads=["weights"], invariant_to_dead_edges=False)
def l2_norm(probe: Probe) -> Tensor:
    """Sum over prunable layers of the weight's norm, executed or not."""
    return total(w.norm() for w in probe.weights.values())
