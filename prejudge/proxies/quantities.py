"""The quantities that a proxy may read: their names, the stages of the passes behind them, and which need labels.

Free of torch, so that a proxy's declaration is checked when it is registered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from prejudge.errors import InputError, unknown

Quantity = Literal[
    "logits",
    "activation_kernel",
    "preactivation_kernel",
    "input_gradient",
    "label_kernel",
    "label_kernel_diagonal",
    "loss",
    "weight_gradients",
    "channel_saliency",
    "weight_curvature",
    "weights",
    "parameters",
    "multiply_adds",
    "jacobian_kernel",
    "fixed_bn_kernel",
    "synaptic_flow",
    "gaussian_response",
]
"""The names of a :class:`~prejudge.proxies.Probe`'s quantities."""

FIRST_ORDER: Mapping[Quantity, tuple[str, ...]] = {
    "logits": ("forward",),
    "activation_kernel": ("forward", "activations"),
    "preactivation_kernel": ("forward", "activations"),
    "input_gradient": ("forward", "input backward"),
    "label_kernel": ("forward", "label backward"),
    "label_kernel_diagonal": ("forward", "label backward"),
    "loss": ("forward",),
    "weight_gradients": ("forward", "loss backward"),
    "channel_saliency": ("forward", "loss backward"),
    "weight_curvature": ("forward", "loss backward", "curvature"),
}
"""The quantities of the pass that first-order proxies share, with the stages that each costs."""

STAGES: Mapping[Quantity, tuple[str, ...]] = {
    **FIRST_ORDER,
    "weights": (),
    "parameters": (),
    "multiply_adds": ("multiply-adds",),
    "jacobian_kernel": ("jacobian",),
    "fixed_bn_kernel": ("fixed-statistics backward",),
    "synaptic_flow": ("synaptic flow",),
    "gaussian_response": ("gaussian forward",),
}
"""Every quantity, with the stages that it costs."""

OF_THE_LOSS: frozenset[Quantity] = frozenset({"weight_gradients", "channel_saliency", "weight_curvature"})
"""The quantities that come from the backward of the loss."""

LABELED: frozenset[Quantity] = OF_THE_LOSS | {"loss", "label_kernel", "label_kernel_diagonal"}
"""The quantities that depend on the targets."""


def checked(reads: Iterable[str]) -> tuple[Quantity, ...]:
    """The names as quantities.

    Raises:
        InputError: A name is not one of :data:`Quantity`.
    """
    if isinstance(reads, str):
        raise InputError(f"reads is a list of quantities, not the text {reads!r}; write reads=[{reads!r}]")
    known: dict[str, Quantity] = {quantity: quantity for quantity in STAGES}
    found = tuple(reads)
    for name in found:
        if name not in known:
            raise unknown("probe quantity", name, known)
    return tuple(known[name] for name in found)
