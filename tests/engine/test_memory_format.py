"""Gradients keep the layout of the network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from prejudge.engine.memory_format import channels_last


class Joined(nn.Module):
    """Batch norms whose gradients are parts of a concatenation's."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([norm(x) for norm in self.norms], dim=1)


def gradients(network: nn.Module, x: Tensor, weight: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    return list(torch.autograd.grad((network(x) * weight).sum(), [x, *network.parameters()]))


def test_gradients_are_the_same_and_in_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 4, 6, 6, dtype=torch.float64), torch.randn(5, 8, 6, 6, dtype=torch.float64)
    network = Joined().double()
    expected = gradients(network, x, weight)
    laid_out = channels_last(channels_last(copy.deepcopy(network)))
    assert all(len(norm._forward_hooks) == 1 for norm in laid_out.norms)
    seen = []
    for norm in laid_out.norms:
        norm.register_forward_hook(lambda m, i, o: o.register_hook(lambda g: seen.append(g)) and None)
    as_channels_last = {"memory_format": torch.channels_last}
    found = gradients(laid_out, x.contiguous(**as_channels_last), weight.contiguous(**as_channels_last))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert len(seen) == 2
    assert all(g.is_contiguous(**as_channels_last) for g in seen)


def test_other_layouts_and_evaluation_are_left_alone() -> None:
    network = channels_last(Joined())
    x = torch.randn(5, 4, 6, 6)
    gradients(network, x, torch.randn(5, 8, 6, 6))
    with torch.no_grad():
        assert network.eval()(x.contiguous(memory_format=torch.channels_last)).shape == (5, 8, 6, 6)
