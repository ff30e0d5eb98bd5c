"""Convolutions and batch norms that are differentiated twice: how many digits they keep."""

from __future__ import annotations

import copy
import statistics

import pytest
import torch

import prejudge
from prejudge.proxies.kernels.double_backward import cheap_double_backward

CELLS = {
    "conv 3x3": "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
    "skip": "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
}


@pytest.mark.parametrize("shape", [(64, 3, 24, 24), (64, 16, 32, 32), (48, 32, 7, 5), (64, 8, 1, 1)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_batch_norm_keeps_the_digits_of_its_type(shape, layout):
    generator = torch.Generator().manual_seed(0)
    bn = torch.nn.BatchNorm2d(shape[1])
    x = torch.randn(shape, generator=generator) + torch.randn(1, shape[1], 1, 1, generator=generator)
    with torch.no_grad():
        bn.weight.normal_(generator=generator)
        bn.bias.normal_(generator=generator)
        with cheap_double_backward(bn):
            y = bn(x.to(memory_format=layout))
        twin = copy.deepcopy(bn).double()
        torch.testing.assert_close(y.double(), twin(x.double()), rtol=0, atol=4e-6)


@pytest.mark.parametrize("cell", list(CELLS.values()), ids=list(CELLS))
def test_grasp_of_a_cell_with_one_path_has_four_digits(cell):
    """A median: a ReLU whose input rounds to the other side of zero costs any float32 score a digit."""
    space = prejudge.space("nasbench201")
    errors = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = space.network(space.parse(cell), num_classes=10, cells=1)
        x, y = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
        single = prejudge.score(network, x, y, "grasp")["grasp"]
        double = prejudge.score(network.double(), x.double(), y, "grasp")["grasp"]
        errors.append(abs(single.value / double.value - 1))
    assert statistics.median(errors) < 1e-4
