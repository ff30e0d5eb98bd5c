"""The gradient of the sum of all logits for the images, unless the last normalization leaves nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prejudge.proxies.network.call_adapter import NO_INPUT_GRADIENT
from prejudge.proxies.score import ScoreFailure

_LINEAR = frozenset(
    f"{name}Backward{turn}" for turn in "01" for name in (
        "Add", "Addmm", "Alias", "AsStrided", "Cat", "Clone", "Div", "Linear", "Mean", "Mm", "Permute", "ReshapeAlias",
        "Squeeze", "Stack", "Sum", "T", "Transpose", "UnsafeView", "Unsqueeze", "View",
    )
)  # fmt: skip
"""Graph nodes that take a constant gradient to a constant one, or to one that is seen not to be constant."""

_BATCH_NORMS = frozenset(f"{kind}Backward0" for kind in ("NativeBatchNorm", "CudnnBatchNorm")) | {"_NormBackward"}
"""Those of batch norms; the last is that of :mod:`~prejudge.proxies.kernels.double_backward`."""


def input_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """The gradient of the sum of all logits for each image, shaped as ``x``; zero where nothing connects the two.

    Args:
        logits: Shape ``(N * R, …)``, with their graph, which is kept.
        x: The images, a leaf of the graph.

    Raises:
        ScoreFailure: The sum is a constant: between a batch norm and the logits every image and position has the same
            weight, or the logits are a softmax. What autograd returns is rounding alone. Or there is nothing to
            differentiate for.
    """
    if not x.numel():
        raise ScoreFailure(NO_INPUT_GRADIENT)
    if not logits.requires_grad:
        return torch.zeros_like(x)
    flat: list[bool] = []
    last = _last_normalizations(logits)
    handles = [node.register_prehook(_check(flat, dim)) for node, dim in last]
    try:
        (gradient,) = torch.autograd.grad(logits.sum(), x, retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    if flat and all(flat):
        what = "softmax" if "Softmax" in last[0][0].name() else "batch norm"
        raise ScoreFailure(f"the sum of the logits does not depend on the images: the last {what} makes it a constant")
    return torch.zeros_like(x) if gradient is None else gradient


def _last_normalizations(logits: Tensor) -> list[tuple[Any, int | None]]:
    """The nodes of the batch norms and softmaxes behind the logits, and the dimension of the latter.

    Empty where anything but linear functions lies between one of them and the logits.
    """
    found: dict[Any, int | None] = {}
    seen: set[Any] = set()
    stack: list[Any] = [logits.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen or getattr(node, "variable", None) is not None:
            continue
        seen.add(node)
        if node.name() in _BATCH_NORMS:
            if not getattr(node, "_saved_training", True):
                return []
            found[node] = None
        elif node.name() == "SoftmaxBackward0":
            found[node] = node._saved_dim if node._saved_dim < 2**63 else node._saved_dim - 2**64
        elif node.name() in _LINEAR:
            stack += [child for child, _ in node.next_functions]
        else:
            return []
    return list(found.items())


def _check(flat: list[bool], dim: int | None) -> Callable[[Any], None]:
    """Note whether a gradient is constant in what a batch norm takes together, or along the ``dim`` of a softmax."""

    def check(gradients: Any) -> None:
        gradient = gradients[0]
        along = [d for d in range(gradient.dim()) if d != 1] if dim is None else [dim]
        size, spread = gradient.abs().max(), (gradient - gradient.mean(along, keepdim=True)).abs().max()
        flat.append(bool((size > 0) & (spread <= 1e-5 * size)))

    return check
