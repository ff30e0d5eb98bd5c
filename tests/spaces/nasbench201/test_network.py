"""The NAS-Bench-201 network in both forms."""

from __future__ import annotations

import pytest
import torch

from prejudge.errors import InputError
from prejudge.spaces import space

S = space("nasbench201")


@pytest.mark.parametrize("form", ["official", "zero-cost-nas"])
@pytest.mark.parametrize("index", [0, 9, 123, 4000])
@pytest.mark.parametrize("numbers", [{}, {"channels": 4, "cells": 1, "num_classes": 7}, {"stages": 1, "cells": 2}])
def test_parameters_equal_the_formula(form: str, index: int, numbers: dict[str, int]) -> None:
    network = S.network(S[index], form=form, **numbers)
    assert sum(p.numel() for p in network.parameters()) == S.params(S[index], form=form, **numbers)


@pytest.mark.parametrize("side", [7, 8, 32])
def test_logits_have_the_right_shape_for_any_image_size(side: int) -> None:
    network = S.network(S[1], channels=4, cells=1, num_classes=3)
    assert network(torch.randn(2, 3, side, side)).shape == (2, 3)


def test_thin_networks_without_stem() -> None:
    network = S.network(S[1], channels=1, in_channels=1, cells=1, stages=1, stem=False)
    assert network(torch.randn(4, 1, 3, 3)).shape == (4, 10)
    assert sum(p.numel() for p in network.parameters()) == S.params(
        S[1], channels=1, in_channels=1, cells=1, stages=1, stem=False
    )


def test_modules_stand_in_the_official_order() -> None:
    names = [n for n, _ in S.network(S[1], cells=1).named_parameters()]
    assert names[0] == "stem.0.weight"
    reduction = [n for n in names if n.startswith("cells.1.")]
    assert reduction[0] == "cells.1.conv_a.op.1.weight"
    assert reduction[-1] == "cells.1.downsample.1.weight"
    assert names[-1] == "classifier.bias"


def test_a_cell_equals_its_definition() -> None:
    torch.manual_seed(0)
    cell = S.network("|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|", cells=1).cells[
        0
    ]
    x = torch.randn(2, 16, 8, 8)
    one = cell.layers[0](x)
    two = torch.nn.functional.avg_pool2d(one, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(cell(x), x + cell.layers[5](two))


def test_a_cell_of_nothing_gives_zeros() -> None:
    cell = S.network(["none"] * 6, cells=1).cells[0]
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(cell(x), torch.zeros_like(x))


def test_numbers_too_large_to_print_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="without a stem in_channels must be channels"):
        S.network(S[1], channels=10**5000, in_channels=3, stem=False)
