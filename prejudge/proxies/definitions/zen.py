"""The Zen-score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prejudge.proxies.registry import proxy
from prejudge.proxies.score import ScoreFailure

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.proxies.probe import Probe


@proxy(
    "zen",
    reference="Lin et al., ICCV 2021 (arXiv:2102.01063), Algorithm 1; residual links stay",
    reads=["gaussian_response"],
    deterministic=False,
    invariant_unless=["convention"],  # the original's variances are also those behind dead edges
)
def zen(probe: Probe, images: int = 8, scale: float = 0.01, convention: str = "paper") -> Tensor:
    """Log mean ||f(x) - f(x + scale e)|| + sum of log sqrt(mean batch-norm variance), Gaussian weights and images."""
    change, variances = probe.gaussian_response(images, scale, convention)
    if not float(change.mean()) > 0:
        raise ScoreFailure("the features do not depend on the input")
    return change.double().mean().log() + variances.double().sqrt().log().sum()
