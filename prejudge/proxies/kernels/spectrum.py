"""Sums over layers, and linear algebra of small kernel matrices in float64 on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prejudge.proxies.score import ScoreFailure

if TYPE_CHECKING:
    from torch import Tensor

FP32_EPS, FP64_EPS = 2.0**-23, 2.0**-52


def total(values: Iterable[Tensor]) -> Tensor:
    """The sum over layers of 0-dimensional tensors; raises :class:`ScoreFailure` where there is no layer."""
    parts = list(values)
    if not parts:
        raise ScoreFailure("the network has no convolution or linear layer")
    return sum(parts[1:], parts[0])


def _finite(matrix: Tensor) -> Tensor:
    matrix = matrix.detach().cpu().double()
    if not bool(matrix.isfinite().all()):
        raise ScoreFailure("the kernel holds NaN or infinite entries")
    return matrix


def _eigenvalues(matrix: Tensor) -> Tensor:
    from torch.linalg import eigvalsh  # here, so that the proxies can be listed without loading torch

    result: Tensor = eigvalsh(matrix)
    return result


def condition_number(kernel: Tensor) -> float:
    """Largest over smallest eigenvalue of a symmetric ``(N, N)`` kernel.

    Raises:
        ScoreFailure: The kernel is zero, or singular within the precision of its fp32 entries, where the originals
            return a huge or negative number, 1e5 or 1.8e308.
    """
    precision = FP64_EPS if kernel.element_size() == 8 else FP32_EPS
    values = _eigenvalues(_finite(kernel))
    low, high = float(values[0]), float(values[-1])
    if high <= 0:
        raise ScoreFailure("the kernel is zero: no gradient reaches the weights")
    if low <= precision * high:
        raise ScoreFailure("the kernel is singular to working precision")
    return high / low


def log_determinant(kernel: Tensor) -> float:
    """Ln |det| of a symmetric ``(N, N)`` kernel; raises :class:`ScoreFailure` where it is singular."""
    sign, value = _finite(kernel).slogdet()
    if float(sign) == 0 or not bool(value.isfinite()):
        raise ScoreFailure("the kernel is singular: two images share one activation pattern")
    return float(value)


def row_correlations(rows: Tensor) -> Tensor:
    """Correlation matrix ``(N, N)`` of N flattened rows; raises :class:`ScoreFailure` where a row is constant."""
    rows = _finite(rows.flatten(1))
    rows = rows - rows.mean(1, keepdim=True)
    norm = rows.norm(dim=1, keepdim=True)
    if not bool((norm > 0).all()):
        raise ScoreFailure("the logits do not depend on the input: a row of the Jacobian is constant")
    rows = rows / norm
    return (rows @ rows.T).clamp(-1, 1)


def spectral_spread(correlations: Tensor, k: float = 1e-5) -> float:
    """-sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of a correlation matrix."""
    shifted = _eigenvalues(correlations) + k
    if float(shifted[0]) <= 0:
        raise ScoreFailure("the Jacobian's correlation matrix is not positive semi-definite")
    return -float((shifted.log() + 1 / shifted).sum())
