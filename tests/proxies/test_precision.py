"""The digits of scores: what a float64 twin confirms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import prejudge
from prejudge.proxies.precision import agreement, with_digits
from prejudge.proxies.score import Score


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
    )


@pytest.fixture
def batch():
    return torch.randn(6, 3, 10, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4


@pytest.mark.parametrize(
    ("value", "exact", "digits"),
    [
        (3.0, 3.0, 7.0),
        (0.0, 0.0, 7.0),
        (64.0, 63.0, math.log10(63)),
        (1.001, 1.0, 3.0),
        (-1.0, 1.0, 0.0),
        (1e-9, 0.0, 0.0),
        (1e-30, 2e-30, math.log10(2)),
        (1 + 1e-9, 1.0, 7.0),
    ],
)
def test_agreement_is_counted_relative_to_the_exact_value(value, exact, digits):
    assert agreement(value, exact) == pytest.approx(digits, abs=1e-3)


def test_failures_in_one_precision():
    ok, failed = Score(2.0), Score.failed("singular")
    assert with_digits(failed, ok) == failed and failed.digits is None
    alone = with_digits(ok, failed)
    assert alone.digits == 0.0 and alone.remarks == ("in float64 it fails: singular",)


def test_digits_come_with_every_score_and_change_none(network, batch):
    plain = prejudge.score(network, *batch)
    scores = prejudge.score(network, *batch, digits=True)
    assert {name: s.value for name, s in scores.items()} == {name: s.value for name, s in plain.items()}
    assert all(s.digits is None for s in plain.values())
    assert {name: s.digits for name, s in scores.items() if s.digits is None or s.digits < 3} == {}
    assert scores["zen"].digits > 5  # both precisions draw the same images and weights
    assert scores["synflow"].digits == scores["params"].digits == 7.0
    assert network[0].weight.dtype == torch.float32


def test_digits_of_fast_mode_are_those_of_its_bf16_passes(network, batch):
    assert 0.5 < prejudge.score(network, *batch, "snip", mode="fast", digits=True)["snip"].digits < 4


MINE = """
import torch
from prejudge.proxies import proxy

@proxy("half_lost", reference="mine", reads=["weights"])
def half_lost(probe):
    \"\"\"A score with an error of a thousandth in float32.\"\"\"
    single = next(iter(probe.weights.values())).dtype == torch.float32
    return 1.001 if single else 1.0
"""


def test_digits_of_a_third_party_proxy_and_of_a_loader(network, batch, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*batch), batch_size=4, shuffle=True)
    scores = prejudge.score(network, loader, proxies=[f"{tmp_path / 'mine.py'}:half_lost", "grad_norm"], digits=True)
    mine, other = scores.values()
    assert mine.digits == pytest.approx(3, abs=0.01) and other.digits > 5


def test_a_network_that_is_not_for_float64_has_scores_without_digits(batch):
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(300, 4)

        def forward(self, x):
            return nn.functional.linear(x.flatten(1).float(), self.linear.weight, self.linear.bias)

    score = prejudge.score(Single(), *batch, "grad_norm", digits=True)["grad_norm"]
    assert score.ok and score.digits is None and "float64" in score.remarks[0]


CELLS = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_1x1~1|+|nor_conv_1x1~0|nor_conv_1x1~1|nor_conv_1x1~2|",
)
FEWEST = {  # docs/proxies.md states them; a digit less is left for other machines and numbers of threads
    "grad_norm": 4.2, "snip": 4.0, "plain": 2.4, "grasp": 3.8, "fisher": 3.6, "ntk_trace": 3.7, "ntk_condition": 3.0,
    "ntk_condition_fixed_bn": 2.2, "jacob_cov": 4.5, "epe_nas": 2.2, "zen": 6.7,
}  # fmt: skip


@pytest.mark.slow
def test_digits_of_benchmark_cells():
    space = prejudge.space("nasbench201")
    x, y = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 10
    fewest = {}
    for cell in CELLS:
        torch.manual_seed(0)
        network = space.network(space.parse(cell), num_classes=10, channels=8, cells=2)
        for name, score in prejudge.score(network, x, y, digits=True).items():
            assert score.digits is not None, (cell, name, score.reason)
            fewest[name] = min(fewest.get(name, 7.0), score.digits)
    low = {name: digits for name, digits in fewest.items() if digits < FEWEST.get(name, 7.0) - 1}
    assert low == {}
