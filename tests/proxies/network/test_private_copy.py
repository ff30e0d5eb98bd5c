"""Networks in other forms than plain modules: scored as the plain ones, and left as they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

from prejudge.errors import InputError
from prejudge.proxies.scoring import score

MEASURED = ["grad_norm", "snip", "grasp", "fisher", "synflow", "zen", "ntk_trace", "ntk_trace_tenas", "jacob_cov"]
RIGHT = {"grad_norm": 0.512594, "snip": 0.643996, "grasp": -0.139778, "fisher": 0.0240395, "synflow": 69.9221}


def images() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1])


def plain() -> nn.Sequential:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
        return nn.Sequential(*layers)


def each_weight(network: nn.Sequential, change: Callable[[Any], Any]) -> nn.Module:
    change(network[0])
    change(network[4])
    return network


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / 2


def halved(layer: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", Doubled())


FORMS: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: each_weight(plain(), parametrizations.weight_norm),
    "weight norm by hooks": lambda: each_weight(plain(), nn.utils.weight_norm),
    "a parametrization": lambda: each_weight(plain(), halved),
    "pruned by nothing": lambda: each_weight(plain(), lambda m: prune.l1_unstructured(m, "weight", amount=0)),
    "compiled": lambda: torch.compile(plain(), backend="eager"),
    "compiled inside": lambda: nn.Sequential(torch.compile(plain()[:2], backend="eager"), *plain()[2:]),
    "data parallel": lambda: nn.DataParallel(plain()),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_another_form_scores_as_the_plain_network(form: str) -> None:
    network, (x, y) = FORMS[form](), images()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kinds = [type(m) for m in network.modules()]
    scores, expected = score(network, x, y, MEASURED), score(plain(), x, y, MEASURED)
    for name in MEASURED:
        assert scores[name].value == pytest.approx(expected[name].value, rel=1e-5), (name, scores[name].reason)
    for name, value in RIGHT.items():
        assert scores[name].value == pytest.approx(value, rel=1e-5)
    assert [type(m) for m in network.modules()] == kinds
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert score(network, x, y, "params")["params"].value == sum(p.numel() for p in network.parameters())
    assert network(x).shape == (4, 10)


def test_spectral_norm_counts_the_weight_that_training_would_use() -> None:
    x, y = images()
    network = each_weight(plain(), parametrizations.spectral_norm)
    right = plain()
    with torch.no_grad():
        for mine, theirs in zip((right[0], right[4]), (network[0], network[4]), strict=True):
            mine.weight.div_(torch.linalg.matrix_norm(mine.weight.flatten(1), 2))
            theirs.weight  # noqa: B018  # a step of the power iteration
    for name in MEASURED:
        found = score(network, x, y, name)[name].value
        assert found == pytest.approx(score(right, x, y, name)[name].value, rel=2e-2), name


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
            self.head = nn.Linear(8, 10)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        if self.reentrant is None:
            return self.head(self.block(x).mean((2, 3)))
        return self.head(checkpoint(self.block, x, use_reentrant=self.reentrant).mean((2, 3)))


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_block_counts_as_a_plain_one(reentrant: bool) -> None:
    x, y = images()
    scores, expected = score(Checkpointed(reentrant), x, y), score(Checkpointed(None), x, y)
    assert {n: s.value for n, s in scores.items()} == {n: s.value for n, s in expected.items()}
    right = {"grad_norm": 0.540712, "snip": 0.530939, "fisher": 0.0259143, "synflow": 408.141, "grasp": -0.225384}
    for name, value in right.items():
        assert scores[name].value == pytest.approx(value, rel=1e-5), name
    checkpoint(nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True), use_reentrant=reentrant).sum().backward()


class RandomPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.paths = nn.Conv2d(3, 4, 3), nn.ModuleList(nn.Conv2d(4, 4, k) for k in (1, 3, 5))
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(4):
            x = torch.relu(self.paths[random.randrange(3)](x)) * float(np.random.rand())  # noqa: NPY002
        return self.head(x.mean((2, 3)))


def test_random_paths_follow_the_seed_and_no_generator_moves() -> None:
    network, (x, y) = RandomPath(), images()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    names = ["snip", "ntk_trace", "naswot", "ntk_trace_tenas"]
    first, second, other = (
        {n: s.value for n, s in score(network, x, y, names, seed=seed).items()} for seed in (3, 3, 4)
    )
    assert first == second
    assert first["snip"] != other["snip"]
    assert random.getstate() == python
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy, strict=True))  # noqa: NPY002


def tied_and_parametrized() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[1].weight = network[0].weight
    return parametrizations.orthogonal(network[0]) and network  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (lambda: torch.jit.script(plain()), "the network is TorchScript"),
        (lambda: nn.Sequential(torch.jit.script(plain()[0]), *plain()[1:]), "module '0' is TorchScript"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "module '1' has no weight yet"),
        (tied_and_parametrized, "weight is reparametrized from a parameter that is used elsewhere"),
    ],
)
def test_what_cannot_be_plain_is_refused_by_name(network: Callable[[], nn.Module], reason: str) -> None:
    x, y = images()
    with pytest.raises(InputError, match=reason):
        score(network(), x, y, "snip")
