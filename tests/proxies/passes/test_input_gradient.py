"""A gradient that a last normalization leaves nothing of is no score."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from prejudge.proxies.scoring import score


class Branches(nn.Module):
    """Two branches side by side, as in a cell of DARTS."""

    def __init__(self, *last: nn.Module) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))
        self.right = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), *last)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x) + self.right(x), self.right(x)], 1).mean((2, 3)))


def sequence(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), *layers)


POOLED = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
NETWORKS = {
    "batch norm, pooled": (lambda: sequence(nn.BatchNorm2d(6), *POOLED), "batch norm"),
    "batch norm of vectors": (lambda: sequence(*POOLED[:2], nn.BatchNorm1d(6), POOLED[2]), "batch norm"),
    "branches": (Branches, "batch norm"),
    "softmax": (lambda: sequence(*POOLED, nn.Softmax(-1)), "softmax"),
    "positions that differ": (lambda: sequence(nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 5)), ""),
    "another activation": (lambda: sequence(nn.BatchNorm2d(6), nn.Tanh(), *POOLED), ""),
    "a branch with an activation": (lambda: Branches(nn.ReLU()), ""),
    "log softmax": (lambda: sequence(*POOLED, nn.LogSoftmax(-1)), ""),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_constant_sum_of_logits_has_no_gradient(name: str, dtype: torch.dtype) -> None:
    make, last = NETWORKS[name]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network, x = make().to(dtype), torch.randn(4, 3, 8, 8, dtype=dtype)
    alone = score(network, x, torch.tensor([0, 1, 2, 1]), ["jacob_cov", "epe_nas"])
    for found in (*alone.values(), score(network, x, torch.tensor([0, 1, 2, 1]))["jacob_cov"]):
        assert found.ok is (not last)
        assert not last or f"the last {last} makes it a constant" in found.reason

    x.requires_grad_()
    (sums,) = torch.autograd.grad(network(x).sum(), x)
    (image,) = torch.autograd.grad(network(x)[0, 0], x)
    assert (float(sums.norm() / image.norm()) < 1e-4) is bool(last)
