"""The NAS-Bench-101 network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prejudge.spaces.nasbench101.space import SIZE, NASBench101

S = NASBench101()
INCEPTION = "111010.00001.0001.100.01.1:conv1x1,conv3x3,conv3x3,conv3x3,maxpool3x3"
TRUNCATED = "11010.1101.001.10.1:conv3x3,conv1x1,maxpool3x3,conv3x3"
CELLS = ["1:", "10.1:maxpool3x3", "11.1:conv1x1", INCEPTION, TRUNCATED]


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("text", CELLS)
@pytest.mark.parametrize(
    "numbers", [{}, {"channels": 16, "cells": 1, "num_classes": 7}, {"channels": 17, "stacks": 2, "in_channels": 1}]
)
def test_parameters_equal_the_formula(text: str, numbers: dict[str, int]) -> None:
    with torch.device("meta"):
        network = S.network(text, **numbers)
    assert count(network) == S.params(S.parse(text), **numbers)


def test_parameters_of_built_networks_equal_the_benchmarks(test_data: Path) -> None:
    from tests.spaces.nasbench101.test_space import read_cells

    rows = np.random.default_rng(2).choice(SIZE, 40, replace=False)
    cells, params = read_cells(test_data / "data" / "nas_bench_101.npz", rows)
    with torch.device("meta"):
        assert [count(S.network(cell)) for cell in cells] == params.tolist()


def multiply_adds(network: torch.nn.Module, x: torch.Tensor) -> int:
    """Counted while the network runs."""
    total = 0

    def add(module: torch.nn.Module, _: object, y: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            total += module.weight.numel() * y.shape[2] * y.shape[3]
        elif isinstance(module, torch.nn.Linear):
            total += module.weight.numel() + module.out_features

    for module in network.modules():
        module.register_forward_hook(add)
    network.eval()(x)
    return total


@pytest.mark.parametrize("text", CELLS)
@pytest.mark.parametrize("side", [1, 7, 8, 32])
def test_shapes_and_multiply_adds_for_any_image_size(text: str, side: int) -> None:
    network = S.network(text, channels=6, cells=2, num_classes=3)
    x = torch.randn(2, 3, side, side)
    assert network.eval()(x).shape == (2, 3)
    assert multiply_adds(network, x[:1]) == S.flops(S.parse(text), side, channels=6, cells=2, num_classes=3)


def test_modules_stand_in_the_order_of_the_port() -> None:
    names = [name for name, _ in S.network("111.01.1:conv3x3,maxpool3x3", channels=4, cells=1).named_parameters()]
    assert names[:3] == ["stem.0.weight", "stem.1.weight", "stem.1.bias"]
    first = [name for name in names if name.startswith("cells.0.") and name.endswith("0.weight")]
    assert first == ["cells.0.vertices.1.0.weight", *(f"cells.0.projections.{v}.0.weight" for v in (1, 2, 3))]
    assert names[-2:] == ["classifier.weight", "classifier.bias"]


def test_a_cell_equals_its_definition() -> None:
    torch.manual_seed(0)
    cell = S.network(TRUNCATED, channels=16, cells=1, stacks=1).cells[0]
    x = torch.randn(2, 16, 8, 8)
    project, vertex = cell.projections, cell.vertices
    one = vertex["1"](project["1"](x))
    two = vertex["2"](one[:, :5] + project["2"](x))
    three = torch.nn.functional.max_pool2d(one[:, :5], 3, stride=1, padding=1)
    four = vertex["4"](three + project["4"](x))
    assert one.shape[1] == 6
    torch.testing.assert_close(cell(x), torch.cat([one, two, four], 1))


@pytest.mark.parametrize("text", ["11.1:conv3x3", "111.01.1:conv3x3,conv1x1", "1:"])
def test_an_edge_from_input_to_output_is_projected_and_added(text: str) -> None:
    torch.manual_seed(0)
    cell = S.network(text, channels=8, cells=1, stacks=1).cells[0]
    x = torch.randn(2, 8, 8, 8, requires_grad=True)
    parts = [cell.vertices[v](cell.projections[v](x)) for v in cell.vertices]
    expected = cell.projections[str(cell.last)](x)
    if parts:
        expected = expected + torch.cat(parts, 1)
    torch.testing.assert_close(cell(x), expected)
    cell(x).sum().backward()  # an addition in place to the output of a ReLU would fail here
    assert x.grad is not None


def test_forms_differ_in_weights_and_momentum_only() -> None:
    def conv(form: str) -> tuple[torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear]:
        torch.manual_seed(0)
        network = S.network("10.1:conv3x3", form=form, stacks=1, cells=1, in_channels=1)
        return *list(network.cells[0].vertices["1"])[:2], network.classifier  # type: ignore[return-value]

    weight, norm, linear = conv("official")
    assert weight.weight.std().item() == pytest.approx((9 * 128) ** -0.5, rel=0.01)
    assert weight.weight.abs().max() <= 2.01 * (9 * 128) ** -0.5 / 0.8796
    assert norm.momentum == pytest.approx(1 - 0.997)
    assert linear.weight.abs().max() <= (6 / (128 + 10)) ** 0.5
    weight, norm, linear = conv("zero-cost-nas")
    assert weight.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)
    assert norm.momentum == 0.1
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert torch.equal(linear.bias, torch.zeros(10))
    assert norm.eps == 1e-5
    same = [
        [p.shape for p in S.network(INCEPTION, channels=8, form=f).parameters()] for f in ("official", "zero-cost-nas")
    ]
    assert same[0] == same[1]


def test_weights_follow_torchs_seed() -> None:
    torch.manual_seed(3)
    one = S.network(INCEPTION, channels=8)
    torch.manual_seed(3)
    two = S.network(INCEPTION, channels=8)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_too_few_channels_are_refused() -> None:
    from prejudge.errors import InputError

    with pytest.raises(InputError, match="4 vertices feed the output"):
        S.network(INCEPTION, channels=2)
