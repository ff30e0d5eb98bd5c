"""The TE-NAS neural tangent kernel: Gram matrix of the true Jacobian of each image's summed logits.

Rows are gradients of sum_k logit[i, k] for every parameter whose name holds "weight" (convolutions, linear layers and
batch-norm scales; no biases), batch norm in training mode (Chen et al., ICLR 2021, ``get_ntk_n``). Through the batch
statistics every image's logits depend on every image, so each row needs a backward pass of its own; holding the
statistics constant uncouples the images and one backward pass gives all rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.proxies.kernels.share_gram import ShareGram, image_rows, images_are_coupled, send_back
from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.layers import (
    BatchNorm,
    add_gram,
    batch_norms,
    fold,
    full_precision,
    repeats_of,
    replaced_forward,
    unfold,
)
from prejudge.proxies.network.observer import observed, unobserved
from prejudge.proxies.network.operations import IMAGES, Places, mark_of
from prejudge.proxies.network.weights import reading_of, unseen_reader
from prejudge.proxies.passes.logits import image_sums, run


def exact_kernel(network: nn.Module, inputs: Tensor, repeats: int = 1) -> Tensor:
    """The kernels ``(R, N, N)``, by N backward passes: row i of every repeat comes from the same pass.

    The Jacobian is held for one group of layers at a time, late layers first, so that neither the N x P matrix nor
    many repeated passes through the early layers are needed.

    Args:
        network: In training mode.
        inputs: Images ``(N * R, C, H, W)``.
        repeats: R.
    """
    weights = weight_named(network)
    x = inputs.detach()
    with observed(network, x, repeats=repeats, lenient=True) as observation:
        sums = image_sums(run(network, x))
    n = len(inputs) // repeats
    products = [operation for operation in observation.operations if operation.is_product]
    activations = sum(operation.inputs.numel() + operation.output.numel() for operation in products)
    products.clear()
    del observation
    precise = torch.float32 if sums.dtype == torch.bfloat16 else sums.dtype
    kernel = torch.zeros(repeats, n, n, dtype=precise, device=sums.device)
    if not sums.requires_grad:
        return kernel
    seeds = torch.eye(n, dtype=sums.dtype, device=sums.device).repeat_interleave(repeats, dim=1)
    # Half of what the forward pass keeps anyway: a group never doubles the memory of a plain training step.
    for group in _groups(weights, n, activations // 2):
        width = sum(p.numel() for p in group) // repeats
        block = torch.zeros(repeats, n, width, dtype=kernel.dtype, device=kernel.device)
        for image, seed in enumerate(seeds):
            gradients = torch.autograd.grad(sums, group, seed, retain_graph=True, allow_unused=True)
            at = 0
            for parameter, gradient in zip(group, gradients, strict=True):
                size = parameter.numel() // repeats
                if gradient is not None:
                    block[:, image, at : at + size] = gradient.reshape(repeats, size)
                at += size
        add_gram(kernel, block)
        del block
    return kernel


def _groups(weights: Sequence[Tensor], images: int, budget: int) -> list[list[Tensor]]:
    """Runs of consecutive weights, last first, whose Jacobian block holds at most ``budget`` numbers."""
    groups: list[list[Tensor]] = []
    size = budget + 1
    for weight in reversed(weights):
        size += images * weight.numel()
        if size > budget:
            groups.append([])
            size = images * weight.numel()
        groups[-1].append(weight)
    return groups


def weight_named(network: nn.Module) -> list[nn.Parameter]:
    """The parameters whose name holds "weight"."""
    return [p for name, p in network.named_parameters() if "weight" in name]


def fixed_bn_kernel(
    network: nn.Module,
    inputs: Tensor,
    repeats: int = 1,
    *,
    images_at_once: int | None = None,
    places: Places | None = None,
    remarks: list[str] | None = None,
) -> Tensor:
    """The kernels ``(R, N, N)`` with the batch norms' statistics held at the batch's values.

    The forward pass is that of training mode. One backward pass gives the rows of all weights that operations read
    image by image; the rows of others need one for each image, and so do all rows where something else than batch norm
    may couple the images.

    Args:
        network: In training mode.
        inputs: Images ``(N * R, C, H, W)``.
        repeats: R.
        images_at_once: See :func:`~prejudge.proxies.kernels.per_sample.weight_shares`.
        places: Of the images, where an earlier pass found them.
        remarks: Takes what was done in a slow way.
    """
    normalized: list[tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]] = []  # batch norm, input, mean, 1/std, output

    def constant_statistics(bn: BatchNorm) -> Any:
        def forward(given: Tensor) -> Tensor:
            x = fold(given, repeats_of(bn))
            with unobserved():
                mean, variance = map(full_precision, torch.batch_norm_update_stats(x.detach(), None, None, 0.0))
            gamma, beta = (None if p is None else p.flatten() for p in (bn.weight, bn.bias))
            output = F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=bn.eps)
            if gamma is not None and (repeats > 1 or mark_of(given) == IMAGES):
                normalized.append((bn, x.detach(), mean, (variance + bn.eps).rsqrt(), output))
            return unfold(output, repeats_of(bn))

        return forward

    x = inputs.detach().requires_grad_()
    norms = batch_norms(network)
    with (
        replaced_forward(norms, constant_statistics),
        observed(network, x, repeats=repeats, places=places) as observation,
    ):
        logits = run(network, x)
    weights = {id(p): p for p in weight_named(network)}
    times = Counter(id(bn.weight) for bn, *_ in normalized)
    normalized = [found for found in normalized if times[id(found[0].weight)] == 1]  # one of several calls has no row
    direct = {id(bn.weight) for bn, *_ in normalized}
    reading = reading_of(observation, scales=True)
    slow: list[Tensor] = []
    rows = weights.keys() & reading.placed
    if repeats == 1:
        live = nodes_above(logits)
        reached = weights.keys() & {id(node.variable) for node in live if hasattr(node, "variable")}
        unseen = unseen_reader(network, logits, x, observation)[1]
        if unseen or observation.coupling or not (observation.apart or not images_are_coupled(logits, x)):
            direct.clear()
            normalized.clear()
            rows = set()
        slow = [weights[key] for key in weights if key in reached - rows - direct]
    operations = observation.operations
    gram = ShareGram(operations, observation, rows, repeats, full=True, images_at_once=images_at_once)
    handles = []
    for _, value, mean, scale, output in normalized:
        if output.requires_grad:
            handles.append(output.register_hook(_scale_rows(gram, value, mean, scale, repeats)))
    reporting = [operation for operation in operations if gram.reads(operation)]
    send_back(logits.sum(), logits, x, reporting, gram.add)
    for handle in handles:
        handle.remove()
    if slow:
        if remarks is not None:
            functions = f": {names}" if (names := reading.functions(slow)) else ""
            remarks.append(f"one backward pass for each image for {len(slow)} weights{functions}")
        for block in image_rows(image_sums(logits), slow):
            gram.add_rows(block)
    return gram.finish()


def _scale_rows(gram: ShareGram, x: Tensor, mean: Tensor, scale: Tensor, repeats: int) -> Any:
    """Rows of the batch norm's weight: sum over positions of gradient * (x - mean) * scale; all folded."""

    def hook(gradient: Tensor) -> None:
        b = gradient.detach()
        along, total = ((b * x).flatten(2).sum(2), b.flatten(2).sum(2)) if x.dim() > 2 else (b * x, b)
        gram.add_rows(unfold((full_precision(along) - full_precision(total) * mean) * scale, repeats))

    return hook
