"""The Zen-score by the paper's rule and by ZenNAS's code: what is drawn, what stays, and what is measured."""

from __future__ import annotations

import copy
import csv
import gzip
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.passes.gaussian import response
from prejudge.proxies.registry import resolve
from prejudge.proxies.score import Score
from prejudge.proxies.scoring import score, score_repeats
from prejudge.spaces import space
from tests.proxies.network import by_definition as plain_definition
from tests.proxies.test_golden import load

X = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def built(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make().to(dtype)


def zen(network: nn.Module, x: Tensor = X, proxy: str = "zen", seed: int = 0) -> Score:
    (found,) = score(network, x, None, [proxy], seed=seed).values()
    return found


def drawn(like: Tensor, layout: torch.memory_format = torch.channels_last) -> Tensor:
    """Gaussian numbers, drawn in float32 so that a float64 twin has the same."""
    return torch.empty_like(like, dtype=torch.float32, memory_format=layout).normal_().to(like.dtype)


def by_definition(
    network: nn.Module, normal: Collection[str], zeros: Collection[str], ones: Collection[str], images: int = 8
) -> float:
    """The paper's score on the logits of a network without batch norm; all parameters that are not named stay."""
    network = copy.deepcopy(network)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            layout = torch.channels_last if parameter.dim() == 4 else torch.contiguous_format
            if name in normal:
                parameter.copy_(drawn(parameter, layout))
            elif name in zeros or name in ones:
                parameter.fill_(float(name in ones))
        x = drawn(torch.empty(images, *X.shape[1:], dtype=X.dtype), torch.channels_last)
        noise = drawn(x, torch.channels_last)
        change = network(x) - network(x + 0.01 * noise)
    return change.norm(dim=1).mean().log().item()


def tail(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def convolutional(act: Callable[[], nn.Module]) -> nn.Module:
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(8), act(), second, nn.BatchNorm2d(8), *tail(8))


@pytest.mark.parametrize("convention", ["paper", "zennas"])
def test_a_parametric_relu_stays_the_function_that_it_is(convention: str) -> None:
    x = torch.randn(4, 3, 32, 32)
    scores = [
        zen(built(lambda act=act: convolutional(act), torch.float32), x, f"zen(convention={convention!r})")
        for act in (nn.PReLU, lambda: nn.LeakyReLU(0.25), nn.Identity)
    ]
    assert scores[0].value == pytest.approx(scores[1].value, rel=1e-6)
    assert scores[0].value != pytest.approx(scores[2].value, rel=1e-2)
    if convention == "paper":
        assert scores[0].value == pytest.approx(3.34423, abs=1e-5)


class Tokens(nn.Module):
    """A class token, positions, layer scale, attention, a weight of its own read with a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 17, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.scale = nn.Parameter(torch.full((8,), 0.1))
        self.matrix, self.shift = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8))
        self.groups, self.mix = nn.GroupNorm(1, 17), nn.Conv1d(17, 17, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.positions
        normed = self.norm(tokens)
        tokens = tokens + self.scale * self.attention(normed, normed, normed, need_weights=False)[0]
        tokens = tokens + self.mix(self.groups(F.gelu(F.linear(tokens, self.matrix, self.shift))))
        return self.head(tokens[:, 0])


def test_only_weights_biases_and_batch_and_group_norms_are_redrawn() -> None:
    network = built(Tokens)
    nn.init.normal_(network.groups.weight)
    normal = {"patches.weight", "attention.out_proj.weight", "matrix", "mix.weight", "head.weight"}
    zeros = {"patches.bias", "attention.out_proj.bias", "shift", "mix.bias", "head.bias", "groups.bias"}
    expected = by_definition(network, normal, zeros, {"groups.weight"})
    assert zen(network).value == pytest.approx(expected, rel=1e-9)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.GRU(48, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x.flatten(1, 2).transpose(1, 2))[0][:, -1])


def test_recurrent_layers_are_redrawn_with_their_biases() -> None:
    network = built(Recurrent)
    kinds = {
        kind: {f"cells.{kind}_{gate}_l0" for gate in ("ih", "hh")} | {f"head.{kind}"} for kind in ("weight", "bias")
    }
    assert zen(network).value == pytest.approx(by_definition(network, kinds["weight"], kinds["bias"], ()), rel=1e-9)


class Turned(nn.Module):
    """The last feature maps hold the images in a place that only a comparison finds."""

    def __init__(self, turn: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.keep, self.head = nn.Conv2d(3, 8, 3, 2), nn.Identity(), nn.Linear(8, 10)
        self.turn, self.back = turn, back

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.back(self.keep(self.turn(self.conv(x).relu()))).mean((2, 3)))


@pytest.mark.parametrize(
    ("turn", "back"),
    [
        (lambda x: x.transpose(0, 1).contiguous(), lambda x: x.transpose(0, 1)),
        (
            lambda x: x.unfold(1, 4, 4).permute(0, 1, 4, 2, 3).flatten(0, 1),
            lambda x: x.unflatten(0, (8, 2)).flatten(1, 2),
        ),
    ],
    ids=["channels first", "groups in the batch"],
)
def test_features_are_compared_image_by_image(turn: Any, back: Any) -> None:
    plain = zen(built(lambda: Turned(lambda x: x, lambda x: x)))
    assert zen(built(lambda: Turned(turn, back))).value == pytest.approx(plain.value, rel=1e-9)


@pytest.mark.parametrize("noise", [nn.Dropout(0.5), nn.RReLU()])
def test_both_passes_draw_the_same(noise: nn.Module) -> None:
    network = built(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), noise, nn.Conv2d(8, 8, 3), *tail(8)))
    large, small = zen(network, proxy="zen(scale=1e-7)"), zen(network, proxy="zen(scale=1e-9)")
    assert large.value - small.value == pytest.approx(torch.tensor(100.0).log().item(), rel=1e-3)


NETWORKS = [
    f"official_{case}"
    for case in ("N1_rand_a", "N1_resnetish", "N1_all_skip", "N5_rand_a", "N1_dead_node1", "N1_all_none")
]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_measurements_of_the_originals_code(golden: Path, name: str) -> None:
    """Weights as stored; the noise is the batch, each image in the place of the next one."""
    figures = json.loads((golden / "proxies_2026" / f"{name}.json").read_text())["f64"]["zen"]
    network, x, _, _ = load(golden / "nb201" / f"{name}.npz")
    network, x = network.double().train(), x.double()
    noisy = x + 0.01 * x.roll(1, 0)
    ((change, variances),) = response(network, {}, x, noisy, tracked=True)
    assert change.mean().item() == pytest.approx(figures["l1_mean"], rel=1e-6)
    assert variances.tolist() == pytest.approx(figures["running_var_mean"], rel=1e-6)
    if figures["l1_mean"] > 0:
        found = change.mean().log() + variances.sqrt().log().sum()
        assert found.item() == pytest.approx(figures["zen_original"], rel=1e-6)
    ((change, variances),) = response(network, {}, x, noisy)
    assert change.mean().item() == pytest.approx(figures["l2_mean"], rel=1e-6)
    every = [v for v in figures["batch_var_mean_call_order"] if v > 1e-6]
    assert {f"{v:.6g}" for v in variances.tolist()} <= {f"{v:.6g}" for v in every}


@pytest.mark.slow
def test_figures_that_nas_bench_suite_zero_published(test_data: Path) -> None:
    """The published scores draw other weights, and images 64 at a time; they spread by some per cent."""
    with gzip.open(test_data / "data" / "suite_zero_nb201_cifar10.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))[:200:20]
    cells = space("nasbench201")
    for row in rows:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            network = cells.network(row["arch_str"], num_classes=10)
        found = zen(network, torch.zeros(1, 3, 32, 32), "zen(convention='naslib', images=32)")
        if found.ok:
            assert found.value == pytest.approx(float(row["zen"]), rel=0.05, abs=3), row["arch_str"]


def test_zennas_redraws_its_four_kinds_of_layers_alone() -> None:
    def make() -> nn.Module:
        norms = [nn.BatchNorm2d(8, affine=affine) for affine in (True, False)]
        return nn.Sequential(nn.Conv2d(3, 8, 3), norms[0], nn.ConvTranspose2d(8, 8, 3), norms[1], *tail(8))

    network = built(make)
    naslib, zennas = (zen(network, proxy=f"zen(convention={name!r})") for name in ("naslib", "zennas"))
    assert zennas.reason == "ZenNAS's code needs a scale in '3'; convention='naslib' leaves it alone"
    torch.manual_seed(0)
    own: Any = copy.deepcopy(network).to(memory_format=torch.channels_last)
    for layer in (own[0], own[6]):
        layer.weight.data.copy_(drawn(layer.weight, torch.preserve_format))
        nn.init.zeros_(layer.bias)
    x = drawn(torch.empty(8, *X.shape[1:], dtype=X.dtype))
    noisy = x + 0.01 * drawn(x)
    change = (own[:4](x) - own[:4](noisy)).abs().sum((1, 2, 3)).mean().log()
    right = change + sum(own[at].running_var.mean().sqrt().log() for at in (1, 3))
    assert naslib.value == pytest.approx(right.item(), rel=1e-9)


def test_conventions_run_alone_and_are_never_shared_within_a_class() -> None:
    requests = resolve(["zen", "zen(convention='naslib')", "zen(images=4)"])
    assert [request.invariant_to_dead_edges for request in requests] == [True, False, True]
    networks = [built(lambda: convolutional(nn.ReLU)) for _ in range(2)]
    stacked = score_repeats(networks, [X, X], None, [requests[1]], seeds=[0, 5])
    for found, network, seed in zip(stacked, networks, (0, 5), strict=True):
        assert found[str(requests[1])].value == zen(network, proxy=str(requests[1]), seed=seed).value
    with pytest.raises(InputError, match="unknown convention of zen 'nasbench'"):
        zen(networks[0], proxy="zen(convention='nasbench')")


class Functional(nn.Module):
    """``F.batch_norm`` of the images, or of a kernel, which standardizes it."""

    def __init__(self, of_images: bool) -> None:
        super().__init__()
        self.conv, self.head, self.of_images = nn.Conv2d(3, 8, 3), nn.Linear(8, 10), of_images

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        if self.of_images:
            x = F.batch_norm(F.conv2d(x, weight), None, None, training=True)
        else:
            flat = F.batch_norm(weight.reshape(1, 8, -1), None, None, training=True)
            x = F.conv2d(x, flat.reshape_as(weight))
        return self.head(x.relu().mean((2, 3)))


def test_batch_norms_of_images_outside_of_modules_are_refused() -> None:
    scores = score(built(lambda: Functional(True)), X, None, ["zen", "synflow"])
    for found in scores.values():
        assert found.reason == "a function calls batch_norm where no batch-norm module stands; make it a module"
    network = built(lambda: Functional(False))
    scores = score(network, X, None, ["zen", "synflow"])
    assert scores["zen"].value == pytest.approx(
        by_definition(network, {"conv.weight", "head.weight"}, {"conv.bias", "head.bias"}, ()), rel=1e-9
    )
    assert scores["synflow"].value == pytest.approx(plain_definition.ALL["synflow"](network, X, None), rel=1e-9)
