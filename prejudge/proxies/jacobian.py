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

from prejudge.proxies.layers import BatchNorm, batch_norms, full_precision, recorded_calls, replaced_forward
from prejudge.proxies.logits import class_scores
from prejudge.proxies.per_sample import ShareGram, share_gram

BATCHED_ROWS = 8
"""Rows per backward pass on an accelerator, where launches are the cost; on a CPU batching gains nothing."""


def exact_kernel(network: nn.Module, inputs: Tensor, *, rows: int | None = None) -> Tensor:
    """The kernel ``(N, N)``, by N backward passes.

    The Jacobian is held for one group of layers at a time, late layers first, so that neither the N x P matrix nor
    many repeated passes through the early layers are needed.

    Args:
        network: In training mode.
        inputs: Images ``(N, C, H, W)``.
        rows: Rows per backward pass; default 1 on the CPU, :data:`BATCHED_ROWS` elsewhere.
    """
    rows = rows or (1 if inputs.device.type == "cpu" else BATCHED_ROWS)
    weights = [p for name, p in network.named_parameters() if "weight" in name]
    with recorded_calls(network) as calls:
        sums = class_scores(network(inputs)).sum(1)
    n = len(inputs)
    activations = sum(call.inputs.numel() + call.output.numel() for call in calls)
    calls.clear()
    kernel = torch.zeros(n, n, dtype=torch.float32 if sums.dtype == torch.bfloat16 else sums.dtype, device=sums.device)
    if not sums.requires_grad:
        return kernel
    seeds = torch.eye(n, dtype=sums.dtype, device=sums.device)
    # Half of what the forward pass keeps anyway: a group never doubles the memory of a plain training step.
    for group in _groups(weights, n, activations // 2):
        width = sum(p.numel() for p in group)
        block = torch.zeros(n, width, dtype=kernel.dtype, device=kernel.device)
        for start in range(0, n, rows):
            seed = seeds[start : start + rows]
            batched = len(seed) > 1
            gradients = torch.autograd.grad(
                sums,
                group,
                seed if batched else seed[0],
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=batched,
            )
            at = 0
            for parameter, gradient in zip(group, gradients, strict=True):
                if gradient is not None:
                    block[start : start + len(seed), at : at + parameter.numel()] = gradient.reshape(len(seed), -1)
                at += parameter.numel()
        kernel.addmm_(block, block.T)
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


def fixed_bn_kernel(network: nn.Module, inputs: Tensor) -> Tensor:
    """The kernel ``(N, N)`` with the batch norms' statistics held at the batch's values, by one backward pass.

    The forward pass is that of training mode. Rows hold convolution, linear and batch-norm weights.

    Args:
        network: In training mode.
        inputs: Images ``(N, C, H, W)``.
    """
    normalised: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # per scaling batch norm: input, mean, 1/std, output

    def constant_statistics(bn: BatchNorm) -> Any:
        def forward(x: Tensor) -> Tensor:
            mean, variance = map(full_precision, torch.batch_norm_update_stats(x.detach(), None, None, 0.0))
            gamma, beta = (None if p is None else p.detach() for p in (bn.weight, bn.bias))
            output = F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=bn.eps)
            if gamma is not None:
                normalised.append((x.detach(), mean, (variance + bn.eps).rsqrt(), output))
            return output

        return forward

    x = inputs.detach().requires_grad_()
    with replaced_forward(batch_norms(network), constant_statistics), recorded_calls(network) as calls:
        logits = class_scores(network(x))
    gram = ShareGram(calls, len(x), full=True, biases=False)
    handles = []
    for value, mean, scale, output in normalised:
        if output.requires_grad:
            handles.append(output.register_hook(_scale_rows(gram, value, mean, scale)))
    share_gram(logits.sum(), logits, x, calls, gram)
    for handle in handles:
        handle.remove()
    return gram.finish()


def _scale_rows(gram: ShareGram, x: Tensor, mean: Tensor, scale: Tensor) -> Any:
    """Rows of the batch norm's weight: sum over positions of gradient * (x - mean) * scale."""

    def hook(gradient: Tensor) -> None:
        b = gradient.detach()
        along, total = ((b * x).flatten(2).sum(2), b.flatten(2).sum(2)) if x.dim() > 2 else (b * x, b)
        gram.add_rows((full_precision(along) - full_precision(total) * mean) * scale)

    return hook
