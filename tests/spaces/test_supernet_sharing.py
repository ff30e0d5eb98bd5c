"""Supernets compute what their operations would, run one at a time: outputs, gradients, statistics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS8, stacnas_stage2
from prejudge.spaces.nn.mixed_operations import put_together, take_apart
from prejudge.spaces.nn.supernet import Mixture, Supernet, Weighted
from tests.spaces.plain_supernet import Plain

KEEP = {"candidates": DARTS8, "channels": 2, "cells": 2, "reductions": (1,)}
WINNERS = ["max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"]
SUPERNETS: dict[str, Callable[[], Supernet]] = {
    "darts": lambda: space("darts").supernet(**KEEP),
    "darts without norms after poolings": lambda: space("darts").supernet(**KEEP, pool_norm=False),
    "darts with all norms": lambda: space("darts").supernet(**KEEP, affine=True, skip_norm=True),
    "ragged": lambda: space("darts-s1").supernet(channels=2, cells=2, reductions=(1,)),
    "two skips": lambda: space("darts").supernet(
        candidates=stacnas_stage2({cell: [WINNERS[e % 4] for e in range(14)] for cell in ("normal", "reduce")}),
        channels=2,
        reductions=(1,),
        cells=2,
    ),
    "factorized": lambda: space("darts").supernet(candidates=["conv_7x1_1x7", "dil_conv_5x5"], channels=2, cells=2),
    "nasbench201": lambda: space("nasbench201").supernet(channels=3, cells=1),
    "nasbench201 affine": lambda: space("nasbench201").supernet(channels=3, cells=1, affine=True),
}


def made(name: str, seed: int = 0) -> Supernet:
    """A supernet in double precision whose norms' parameters are not the initial ones."""
    torch.manual_seed(seed)
    network = SUPERNETS[name]().double()
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return network


def everything(network: Supernet, rng: np.random.Generator) -> dict[str, list[list[int]]]:
    return {kind: [list(range(len(edge))) for edge in edges] for kind, edges in network.candidates.items()}


def one_each(network: Supernet, rng: np.random.Generator) -> dict[str, list[list[int]]]:
    return {kind: [[int(rng.integers(len(edge)))] for edge in edges] for kind, edges in network.candidates.items()}


def some(network: Supernet, rng: np.random.Generator) -> dict[str, list[list[int]]]:
    """Any number on each edge, none included, in any order."""
    return {
        kind: [rng.permutation(len(edge))[: rng.integers(len(edge) + 1)].tolist() for edge in edges]
        for kind, edges in network.candidates.items()
    }


def mixture_of(vectors: dict[str, list[Tensor]], active: dict[str, list[list[int]]], kind_of: str) -> Mixture:
    """Weights as tensors; or as numbers, of which some are 0 and 1."""

    def weight(vector: Tensor, position: int) -> Any:
        value = float(vector[position].detach())
        return vector[position] if kind_of == "tensors" else [value, 0.0, 1.0][position % 3]

    return {
        kind: [[(p, weight(vector, p)) for p in on_edge] for vector, on_edge in zip(vectors[kind], edges, strict=True)]
        for kind, edges in active.items()
    }


def outcome(
    run: nn.Module, network: Supernet, active: Any, kind_of: str = "tensors", side: int = 8
) -> dict[str, Tensor]:
    """Logits, all gradients and all buffers of one pass."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, side, side, generator=generator, dtype=torch.float64).requires_grad_()
    vectors = {
        kind: [torch.randn(len(edge), generator=generator, dtype=torch.float64).requires_grad_() for edge in edges]
        for kind, edges in network.candidates.items()
    }
    logits = run(x, mixture_of(vectors, active, kind_of))
    loss = cross_entropy(logits, torch.tensor([1, 0, 3, 2]))
    named = {"x": x, **dict(network.named_parameters())}
    named |= {f"weights of {kind} {e}": v for kind, edges in vectors.items() for e, v in enumerate(edges)}
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    found = {"logits": logits, **{f"buffer {name}": value.clone() for name, value in network.named_buffers()}}
    return found | {f"gradient {n}": g for n, g in zip(named, gradients, strict=True) if g is not None}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1e-3, float(value.detach().double().abs().max()))
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9 * scale, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("chosen", [everything, one_each, some], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", SUPERNETS)
def test_outputs_gradients_and_statistics_are_those_of_single_operations(name: str, chosen: Any) -> None:
    network = made(name)
    active = chosen(network, np.random.default_rng(0))
    for training in (True, False):
        network.train(training)
        other = copy.deepcopy(network)
        assert_equal(outcome(network, network, active), outcome(Plain(other), other, active))


@pytest.mark.parametrize("name", ["darts", "darts with all norms", "nasbench201"])
@pytest.mark.parametrize(("kind_of", "side"), [("numbers", 8), ("tensors", 9), ("tensors", 7)])
def test_so_are_those_with_plain_numbers_and_odd_sides(name: str, kind_of: str, side: int) -> None:
    network = made(name)
    active = everything(network, np.random.default_rng(0))
    other = copy.deepcopy(network)
    assert_equal(outcome(network, network, active, kind_of, side), outcome(Plain(other), other, active, kind_of, side))


def test_an_operation_may_take_part_twice() -> None:
    network = made("darts")
    active = {kind: [[1, 4, 1, 7, 7]] * 14 for kind in network.kinds}
    other = copy.deepcopy(network)
    assert_equal(outcome(network, network, active), outcome(Plain(other), other, active))


@pytest.mark.parametrize("name", ["darts", "nasbench201 affine"])
def test_second_derivatives_are_the_same(name: str) -> None:
    network = made(name)
    alphas = {
        k: torch.randn(len(e), len(e[0]), dtype=torch.float64).requires_grad_() for k, e in network.candidates.items()
    }
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    found = []
    for run in (Plain(network), network):
        rows = {k: [[(p, a[p]) for p in range(len(a))] for a in alpha.softmax(1)] for k, alpha in alphas.items()}
        inputs = [*alphas.values(), *network.parameters()]
        first = torch.autograd.grad(run(x, rows).square().mean(), inputs, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), inputs))
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9 * max(1e-3, float(expected.abs().max())))


def test_gradients_may_be_taken_in_batches() -> None:
    network = made("darts")
    active = everything(network, np.random.default_rng(0))
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    rows = {k: [[(p, 0.3) for p in edge] for edge in edges] for k, edges in active.items()}
    parameters = list(network.parameters())
    sums = network(x, rows).sum(1)
    together = torch.autograd.grad(
        sums, parameters, torch.eye(3, dtype=x.dtype), retain_graph=True, is_grads_batched=True
    )
    for i in range(3):
        alone = torch.autograd.grad(sums[i], parameters, retain_graph=True)
        for whole, one in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[i], one, rtol=1e-8, atol=1e-10)


def test_noise_ignores_its_input_and_is_drawn_in_order() -> None:
    network = space("darts-s4").supernet(channels=2, cells=2).double()
    active = everything(network, np.random.default_rng(0))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    rows = {k: [[(p, 0.5) for p in edge] for edge in edges] for k, edges in active.items()}
    found = []
    for run in (network, Plain(network)):
        torch.manual_seed(5)
        found.append(run(x, rows))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_whoever_watches_an_operation_sees_it(name: str) -> None:
    """Hooks and replaced forward functions anywhere inside an operation; what they see and what they change counts."""
    network = made(name)
    other = copy.deepcopy(network)
    active = everything(network, np.random.default_rng(0))
    seen: dict[Any, list[str]] = {network: [], other: []}
    for each, names in seen.items():
        for path, module in each.named_modules():
            if path.startswith("cells.0.") and isinstance(
                module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.Identity
            ):
                module.register_forward_hook(lambda *_, n=names, p=path: n.append(p))
            if path.startswith("cells.1.") and isinstance(module, nn.BatchNorm2d):
                module.forward = lambda x: 2 * x  # type: ignore[method-assign]
    assert_equal(outcome(network, network, active), outcome(Plain(other), other, active))
    assert seen[network] == seen[other] != []


def test_a_weighted_supernet_is_the_same() -> None:
    network = made("nasbench201")
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    mixture = {"cell": [[(1, 0.5), (3, torch.tensor(0.2))]] * 6}
    torch.testing.assert_close(Weighted(network, mixture)(x), Plain(network)(x, mixture))


def test_half_precision_stays_close() -> None:
    network = space("darts").supernet(channels=4, cells=2)
    x = torch.randn(8, 3, 16, 16)
    rows = {kind: [[(p, torch.tensor(1 / 7)) for p in range(7)]] * 14 for kind in network.kinds}
    expected = network(x, rows)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(x, rows)
    found.float().sum().backward()
    assert (found.float() - expected).abs().max() < 0.2 * expected.abs().max()


def test_lattices_are_put_together_again() -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    apart = take_apart(x)
    assert torch.equal(apart[2:4], x[:, :, 0::2, 1::2])
    assert torch.equal(put_together(apart), x)
