"""Batch norm with a weight, and on channels-last tensors: torch's own results, and statistics that are exact."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prejudge.spaces.nn.batch_norm import ExactBatchNorm2d, batch_norm, exact_batch_norms


def images(n: int = 3, c: int = 4, side: int = 7, offset: float = 0.5, layout: Any = torch.channels_last) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, c, side, side, generator=generator, dtype=torch.float64) + offset
    return x.contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("weight", [1.0, 0.0, -0.3, torch.tensor(0.7, dtype=torch.float64)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"affine": False}, {"affine": False, "track_running_stats": False}, {"momentum": None, "eps": 0.01}]
)
def test_it_is_torchs_times_the_weight(layout: Any, weight: Any, training: bool, options: dict[str, Any]) -> None:
    expected = nn.BatchNorm2d(4, **options).double()
    for parameter in expected.parameters():
        nn.init.normal_(parameter)
    found = copy.deepcopy(expected)
    x = images(layout=layout)
    results = []
    for norm, run in ((expected, lambda x, w: w * expected(x)), (found, lambda x, w: batch_norm(found, x, w))):
        for _ in range(2):  # the second time from moved statistics
            norm.train()
            run(x, 1.0)
        norm.train(training)
        inputs = x.clone().requires_grad_()
        w = weight.clone().requires_grad_() if isinstance(weight, Tensor) else weight
        wanted = [inputs, *norm.parameters(), *([w] if isinstance(w, Tensor) else [])]
        output = run(inputs, w)
        first = torch.autograd.grad(output.pow(3).sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted, allow_unused=True)
        results.append([output, *first, *(g for g in second if g is not None), *norm.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("n", [16, 256])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_statistics_are_exact_in_single_precision(n: int, layout: Any) -> None:
    x = images(n, 4, 32, offset=3.0, layout=layout).float()
    norm = ExactBatchNorm2d(4, momentum=1.0)
    norm(x)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    exact = x.double()
    assert (norm.running_mean - exact.mean((0, 2, 3))).abs().max() < 3e-6
    assert (norm.running_var / exact.var((0, 2, 3)) - 1).abs().max() < 2e-6


def test_a_single_value_a_channel_is_refused_as_torch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        batch_norm(nn.BatchNorm2d(3), torch.ones(1, 3, 1, 1))


def test_norms_are_converted_in_place() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    names = list(network.state_dict())
    exact_batch_norms(network)
    assert type(network[1]) is ExactBatchNorm2d
    assert list(network.state_dict()) == names
