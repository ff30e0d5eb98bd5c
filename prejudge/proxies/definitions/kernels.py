"""Proxies of the neural tangent kernel and of the input Jacobian."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prejudge.proxies.kernels.spectrum import condition_number, row_correlations, spectral_spread
from prejudge.proxies.registry import proxy
from prejudge.proxies.score import ScoreFailure

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.proxies.probe import Probe

_HNAS = "Shu et al., NeurIPS 2022 (arXiv:2201.09785); convention of shuyao95/HNAS 970789c"
_TENAS = "Chen et al., ICLR 2021 (arXiv:2102.11535); convention of chenwydj/TENAS 9df78ff"


# A biased convolution behind a dead edge (form zero-cost-nas) still has per-image shares, and its batch norm magnifies
# them: the HNAS kernel sees dead edges.
@proxy(
    "ntk_trace",
    reference=_HNAS,
    reads=["label_kernel_diagonal"],
    needs_labels=True,
    invariant_to_dead_edges=False,
    min_batch=2,
)
def ntk_trace(probe: Probe) -> Tensor:
    """sqrt(trace / N) of the kernel of label-logit gradient shares."""
    return probe.label_kernel_diagonal.mean().sqrt()


@proxy(
    "ntk_condition",
    reference=_HNAS,
    reads=["label_kernel"],
    needs_labels=True,
    higher_is_better=False,
    invariant_to_dead_edges=False,
    min_batch=2,
)
def ntk_condition(probe: Probe) -> float:
    """Condition number of the kernel of label-logit gradient shares."""
    return condition_number(probe.label_kernel)


@proxy("ntk_trace_tenas", reference=f"{_TENAS}; scaled as HNAS's", reads=["jacobian_kernel"], min_batch=2)
def ntk_trace_tenas(probe: Probe) -> Tensor:
    """sqrt(trace / N) of the exact kernel of summed logits."""
    return probe.jacobian_kernel.diagonal().mean().sqrt()


@proxy("ntk_condition_tenas", reference=_TENAS, reads=["jacobian_kernel"], higher_is_better=False, min_batch=2)
def ntk_condition_tenas(probe: Probe) -> float:
    """Condition number of the exact kernel of summed logits (one backward pass per image)."""
    return condition_number(probe.jacobian_kernel)


@proxy(
    "ntk_condition_fixed_bn",
    reference=f"{_TENAS}; batch-norm statistics held constant",
    reads=["fixed_bn_kernel"],
    higher_is_better=False,
    min_batch=2,
)
def ntk_condition_fixed_bn(probe: Probe) -> float:
    """Condition number of that kernel with constant batch-norm statistics (one backward pass)."""
    return condition_number(probe.fixed_bn_kernel)


@proxy(
    "jacob_cov",
    reference="Mellor et al. 2020 (arXiv:2006.04647v1); as SamsungLabs/zero-cost-nas a43bfbc",
    reads=["input_gradient"],
    min_batch=2,
)
def jacob_cov(probe: Probe) -> float:
    """Minus sum of log(v + k) + 1 / (v + k) over eigenvalues v of the images' Jacobian correlation, k = 1e-5."""
    return spectral_spread(row_correlations(probe.input_gradient))


@proxy(
    "epe_nas",
    reference="Lopes et al., ICANN 2021 (arXiv:2102.08099), the formula for up to 100 classes",
    reads=["input_gradient"],
    needs_labels=True,
    min_batch=2,
)
def epe_nas(probe: Probe) -> float:
    """Sum over classes of |sum of log(|Jacobian correlation within the class| + k)|, k = 1e-5."""
    labels = probe.labels.cpu()
    rows = probe.input_gradient.flatten(1).cpu()
    total, pairs = 0.0, 0
    for label in labels.unique():
        members = rows[labels == label]
        if len(members) > 1:  # a single image correlates with itself alone: log(1 + k), which says nothing
            pairs += 1
            total += abs(float((row_correlations(members).abs() + 1e-5).log().sum()))
    if not pairs:
        raise ScoreFailure("no class has two images in the batch")
    return total
