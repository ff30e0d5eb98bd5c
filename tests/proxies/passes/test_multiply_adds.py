"""Multiply-adds of any network: by hand, by the spaces' formulas, and refused by name where a kernel has no formula."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.proxies.passes.multiply_adds import multiply_adds
from prejudge.proxies.scoring import score, score_repeats
from prejudge.spaces import space


class Does(nn.Module):
    """A function of the batch and of some layers."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.does = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.does(self, x)


class Matrix(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight


class Grid(nn.Module):
    """A buffer that every pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        assert self.seen is not None
        self.seen += len(x)
        return x


IMAGES, ROWS, TOKENS = (4, 3, 8, 8), (4, 6), (4, 5, 8)
ATTENTION = 3 * 5 * 64 + 5 * 64 + 2 * 5 * 5 * 8  # in, out, and both products of 5 tokens of 8 features
COUNTED: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "convolutions": (
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        ),
        IMAGES,
        8 * 27 * 64 + 8 * 18 * 36 + 45,
    ),
    "one dimension": (
        nn.Sequential(nn.Conv1d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 5)),
        (4, 3, 50),
        27648 + 325,
    ),
    "three dimensions": (nn.Sequential(nn.Conv3d(2, 4, 2), nn.Flatten(), nn.Linear(32, 5)), (4, 2, 3, 3, 3), 512 + 165),
    "transposed": (
        nn.Sequential(nn.ConvTranspose2d(3, 4, 2, stride=2), nn.Flatten(), nn.Linear(1024, 5)),
        IMAGES,
        3 * 4 * 4 * 64 + 5125,
    ),
    "one bias of three": (nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5)), ROWS, 42 + 35 + 5),
    "hidden layers as wide as the logits": (nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5)), ROWS, 60),
    "no bias": (nn.Linear(6, 5, bias=False), ROWS, 30),
    "two heads": (
        Does(lambda m, x: (m.a(x) + m.b(x)) / 2, a=nn.Linear(6, 5), b=nn.Linear(6, 5)),
        ROWS,
        70,
    ),
    "one layer twice": (Does(lambda m, x: m.a(F.relu(m.a(x))), a=nn.Linear(6, 6)), ROWS, 78),
    "attention": (
        Does(
            lambda m, x: m.h(m.a(x, x, x)[0].mean(1)),
            a=nn.MultiheadAttention(8, 2, batch_first=True),
            h=nn.Linear(8, 5),
        ),
        TOKENS,
        ATTENTION + 45,
    ),
    "encoder in evaluation": (
        Does(
            lambda m, x: m.h(m.a(x).mean(1)),
            a=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            h=nn.Linear(8, 5),
        ).eval(),
        TOKENS,
        ATTENTION + 2 * 5 * 8 * 16 + 45,
    ),
    "fused attention": (
        Does(lambda m, x: m.h(F.scaled_dot_product_attention(x, x, x).mean(1)), h=nn.Linear(8, 5)),
        TOKENS,
        2 * 5 * 5 * 8 + 45,
    ),
    "attention across the batch": (
        Does(lambda m, x: m.h(x + (x @ x.T) @ x), h=nn.Linear(6, 5)),
        ROWS,
        12 + 35,
    ),
    "einsum": (Does(lambda m, x: torch.einsum("nif,fk->nk", x, m.w.weight), w=Matrix(8, 5)), TOKENS, 8 * 5),
    "vector": (Does(lambda m, x: m.h((x @ m.w.weight).sigmoid()), w=Matrix(8), h=nn.Linear(5, 3)), TOKENS, 40 + 18),
    "custom function": (Does(lambda m, x: Product.apply(x, m.w.weight), w=Matrix(6, 5)), ROWS, 30),
    "LSTM": (
        Does(
            lambda m, x: m.h(m.r(x)[0][:, -1]),
            r=nn.LSTM(8, 4, batch_first=True, bidirectional=True),
            h=nn.Linear(8, 5),
        ),
        TOKENS,
        2 * 5 * 16 * 12 + 45,
    ),
    "GRU": (
        Does(lambda m, x: m.h(m.r(x)[0][:, -1]), r=nn.GRU(8, 4, batch_first=True), h=nn.Linear(4, 5)),
        TOKENS,
        5 * 144 + 25,
    ),
    "no image": (
        Does(lambda m, x: m.h(x + m.p(torch.ones(1, 5, 2))).mean(1), p=nn.Linear(2, 8), h=nn.Linear(8, 3)),
        TOKENS,
        5 * 16 + 5 * 24,
    ),
    "one position": (
        nn.Sequential(nn.Conv2d(3, 6, 8), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6, 5)),
        IMAGES,
        6 * 192 + 35,
    ),
    "more than one image": (
        nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 5)),
        ROWS,
        36 + 35,
    ),
    "squeezed": (
        Does(lambda m, x: m.h(m.c(x).squeeze()), c=nn.Conv2d(3, 6, 8), h=nn.Linear(6, 5)),
        IMAGES,
        6 * 192 + 35,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_counts_by_hand(name: str) -> None:
    network, shape, right = COUNTED[name]
    found = score(network, torch.randn(shape), None, ["flops"])["flops"]
    assert found.ok, found.reason
    assert found.value == right


REFUSED: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "aten::_fft_r2c": (Does(lambda m, x: m.h(torch.fft.rfft(x).abs()), h=nn.Linear(4, 5)), ROWS, "no formula for"),
    "aten::_trilinear": (Does(lambda m, x: m.h(x, x), h=nn.Bilinear(6, 6, 5)), ROWS, "no formula for"),
    "NumPy": (
        Does(lambda m, x: m.h(torch.from_numpy(x.detach().numpy() @ torch.eye(6).numpy())), h=nn.Linear(6, 5)),
        ROWS,
        "no formula for",
    ),
    "multiply-adds of 4 images": (
        Does(
            lambda m, x: m.n(m.h(x)) + m.p(torch.ones(1, 3)),
            n=nn.BatchNorm1d(5, track_running_stats=False),
            h=nn.Linear(6, 5, bias=False),
            p=nn.Linear(3, 5, bias=False),
        ),
        ROWS,
        "no whole number",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_counted_fails_by_name(name: str) -> None:
    network, shape, reason = REFUSED[name]
    scores = score(network, torch.randn(shape), None, ["flops", "params"])
    assert not scores["flops"].ok and scores["params"].ok
    assert reason in scores["flops"].reason and name in scores["flops"].reason


def test_the_network_its_buffers_and_the_other_scores_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Grid(), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    x, y = torch.randn(IMAGES), torch.arange(4)
    alone = score(network, x, y, ["snip", "ntk_trace"])
    together = score(network, x, y, ["flops", "snip", "ntk_trace"])
    assert all(together[name].value == found.value for name, found in alone.items())
    private = network.train()
    multiply_adds(private, x)
    assert private[1].seen == 0 and private[2].training and private[2].num_batches_tracked == 0


@pytest.mark.parametrize("name", ["nasbench201", "nasbench101", "darts", "nats-size"])
def test_repeats_together_count_what_the_formula_of_the_space_says(name: str) -> None:
    import numpy as np

    cells = space(name)
    arch = cells.sample(np.random.default_rng(2))
    macro: dict[str, Any] = {} if name == "nats-size" else {"channels": 4, "cells": 1}
    networks = [cells.network(arch, num_classes=7, **macro) for _ in range(3)]
    right = cells.flops(arch, 16, num_classes=7, **macro) + (7 if name == "darts" else 0)  # without the bias there
    batches = [torch.randn(2, 3, 16, 16) for _ in networks]
    for scores in (
        *score_repeats(networks, batches, None, ["flops", "params"]),
        score(networks[0], batches[0], None, ["flops", "params"]),
    ):
        assert (scores["flops"].value, scores["params"].value) == (right, cells.params(arch, num_classes=7, **macro))


def test_parameters_are_the_trainable_ones_each_once() -> None:
    frozen = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    frozen[0].requires_grad_(False)
    assert score(frozen, torch.randn(IMAGES), None, "params")["params"].value == 90
    tied = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    tied[2].weight = tied[0].weight
    assert score(tied, torch.randn(ROWS), None, "params")["params"].value == 48


@pytest.mark.slow
def test_the_compiler_is_not_imported() -> None:
    program = (
        "import sys, torch, prejudge; from torch import nn;"
        "print(prejudge.score(nn.Linear(3, 2), torch.ones(2, 3), None, ['flops'])['flops'].value);"
        "assert 'torch._dynamo' not in sys.modules and 'sympy' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "8.0\n"
