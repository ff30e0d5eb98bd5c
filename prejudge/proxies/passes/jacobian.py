"""The TE-NAS neural tangent kernel: Gram matrix of the true Jacobian of each image's summed logits.

Rows are gradients of sum_k logit[i, k] for every parameter whose name holds "weight" (convolutions, linear layers and
batch-norm scales; no biases), batch norm in training mode (Chen et al., ICLR 2021, ``get_ntk_n``). Through the batch
statistics every image's logits depend on every image, so each row needs a backward pass of its own; holding the
statistics constant uncouples the images and one backward pass gives all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.proxies.kernels.per_sample import ShareGram, share_gram
from prejudge.proxies.network.layers import (
    BatchNorm,
    add_gram,
    batch_norms,
    fold,
    full_precision,
    recorded_calls,
    repeats_of,
    replaced_forward,
    unfold,
)
from prejudge.proxies.passes.logits import class_scores


def exact_kernel(network: nn.Module, inputs: Tensor, repeats: int = 1) -> Tensor:
    """The kernels ``(R, N, N)``, by N backward passes: row i of every repeat comes from the same pass.

    The Jacobian is held for one group of layers at a time, late layers first, so that neither the N x P matrix nor
    many repeated passes through the early layers are needed.

    Args:
        network: In training mode.
        inputs: Images ``(N * R, C, H, W)``.
        repeats: R.
    """
    weights = [p for name, p in network.named_parameters() if "weight" in name]
    with recorded_calls(network) as calls:
        sums = class_scores(network(inputs)).sum(1)
    n = len(inputs) // repeats
    activations = sum(call.inputs.numel() + call.output.numel() for call in calls)
    calls.clear()
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


def fixed_bn_kernel(
    network: nn.Module, inputs: Tensor, repeats: int = 1, *, images_at_once: int | None = None
) -> Tensor:
    """The kernels ``(R, N, N)`` with the batch norms' statistics held at the batch's values, by one backward pass.

    The forward pass is that of training mode. Rows hold convolution, linear and batch-norm weights.

    Args:
        network: In training mode.
        inputs: Images ``(N * R, C, H, W)``.
        repeats: R.
        images_at_once: See :func:`~prejudge.proxies.kernels.per_sample.weight_shares`.
    """
    normalized: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # per scaling batch norm: input, mean, 1/std, output

    def constant_statistics(bn: BatchNorm) -> Any:
        def forward(x: Tensor) -> Tensor:
            x = fold(x, repeats_of(bn))
            mean, variance = map(full_precision, torch.batch_norm_update_stats(x.detach(), None, None, 0.0))
            gamma, beta = (None if p is None else p.detach().flatten() for p in (bn.weight, bn.bias))
            output = F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=bn.eps)
            if gamma is not None:
                normalized.append((x.detach(), mean, (variance + bn.eps).rsqrt(), output))
            return unfold(output, repeats_of(bn))

        return forward

    x = inputs.detach().requires_grad_()
    with replaced_forward(batch_norms(network), constant_statistics), recorded_calls(network) as calls:
        logits = class_scores(network(x))
    gram = ShareGram(calls, len(x) // repeats, repeats, full=True, biases=False, images_at_once=images_at_once)
    handles = []
    for value, mean, scale, output in normalized:
        if output.requires_grad:
            handles.append(output.register_hook(_scale_rows(gram, value, mean, scale, repeats)))
    share_gram(logits.sum(), logits, x, calls, gram)
    for handle in handles:
        handle.remove()
    return gram.finish()


def _scale_rows(gram: ShareGram, x: Tensor, mean: Tensor, scale: Tensor, repeats: int) -> Any:
    """Rows of the batch norm's weight: sum over positions of gradient * (x - mean) * scale; all folded."""

    def hook(gradient: Tensor) -> None:
        b = gradient.detach()
        along, total = ((b * x).flatten(2).sum(2), b.flatten(2).sum(2)) if x.dim() > 2 else (b * x, b)
        gram.add_rows(unfold((full_precision(along) - full_precision(total) * mean) * scale, repeats))

    return hook
