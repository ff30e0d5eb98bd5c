"""Activations as modules, functions and in-place forms against what they read, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.scoring import score

Act = Callable[[Tensor], Tensor]


class Activated(nn.Module):
    """Two convolutions with an activation after the first, which is the only one."""

    def __init__(self, act: Act, then: Act = lambda x: x) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 5)
        self.act, self.then = act, then

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.then(self.second(self.act(self.first(x)))).mean((2, 3)))


def built(act: Act, then: Act = lambda x: x) -> Activated:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Activated(act, then).double()


X = torch.randn(6, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_definition(read: list[Tensor], threshold: float = 0.0) -> dict[str, float]:
    """The three scores from what the activations read."""
    rows = torch.cat([r.detach().flatten(1) for r in read], 1)
    on = (rows > threshold).double()
    return {
        "naswot": torch.linalg.slogdet(on @ on.T + (1 - on) @ (1 - on).T)[1].item(),
        "naswot_hnas": torch.linalg.slogdet(rows @ rows.T)[1].item(),
        "linear_regions": float(len(torch.unique(on, dim=0))),
    }


RELUS: dict[str, tuple[Act, float]] = {
    **{str(type(m).__name__): (m, 0.0) for m in (nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(6), nn.RReLU())},
    "inplace ReLU": (nn.ReLU(inplace=True), 0.0),
    "Hardtanh from 0": (nn.Hardtanh(0, 3), 0.0),
    "Threshold": (nn.Threshold(0.1, 0.0), 0.1),
    "inplace Threshold": (nn.Threshold(-0.2, 0.5, inplace=True), -0.2),
    "F.threshold": (lambda x: F.threshold(x, 0.1, 0.0), 0.1),
    "torch.threshold": (lambda x: torch.threshold(x, threshold=0.1, value=0.0), 0.1),
    "torch.relu": (torch.relu, 0.0),
    "relu_": (lambda x: x.relu_(), 0.0),
    "F.relu6": (F.relu6, 0.0),
    "inplace F.relu6": (lambda x: F.relu6(x, inplace=True), 0.0),
    "F.leaky_relu": (F.leaky_relu, 0.0),
    "F.leaky_relu_": (lambda x: F.leaky_relu_(x, 0.2), 0.0),
    "F.prelu": (lambda x: F.prelu(x, torch.tensor([0.1], dtype=x.dtype)), 0.0),
    "F.hardtanh_": (lambda x: F.hardtanh_(x, 0.0, 6.0), 0.0),
    "F.rrelu": (lambda x: F.rrelu(x, training=True), 0.0),
    "clamp": (lambda x: x.clamp(min=0), 0.0),
    "clamp_": (lambda x: x.clamp_(0.0), 0.0),
    "clamp of both": (lambda x: torch.clamp(x, 0, 6), 0.0),
    "clamp_min": (lambda x: x.clamp_min(0), 0.0),
    "clip": (lambda x: torch.clip(x, min=0), 0.0),
    "maximum": (lambda x: torch.maximum(x, torch.zeros_like(x)), 0.0),
    "max of a scalar": (lambda x: torch.max(torch.zeros((), dtype=x.dtype), x), 0.0),
}
SMOOTH = {
    kind.__name__: kind
    for kind in (
        nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Tanh, nn.Hardtanh,
        nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.LogSigmoid,
    )
}  # fmt: skip
IN_PLACE: dict[str, Act] = {
    "F.gelu": lambda x: F.gelu(x, approximate="tanh"),
    "inplace F.silu": lambda x: F.silu(x, inplace=True),
    "tanh_": lambda x: x.tanh_(),
    "F.elu_": F.elu_,
    "F.hardswish": F.hardswish,
}


@pytest.mark.parametrize("name", RELUS)
def test_every_relu_counts(name: str) -> None:
    act, threshold = RELUS[name]
    network = built(act)
    scores = score(network, X, None, ["naswot", "naswot_hnas", "linear_regions"])
    for proxy, right in by_definition([network.first(X)], threshold).items():
        assert scores[proxy].value == pytest.approx(right, rel=1e-9), (proxy, scores[proxy].reason)
        assert not scores[proxy].remarks


@pytest.mark.parametrize("name", [*SMOOTH, *IN_PLACE])
def test_other_activations_count_by_an_option_alone(name: str) -> None:
    network = built(SMOOTH[name]() if name in SMOOTH else IN_PLACE[name])
    options = ["naswot", *(f"{p}(activations='all')" for p in ("naswot", "naswot_hnas", "linear_regions"))]
    scores = score(network, X, None, options)
    assert "activations='all' counts" in scores["naswot"].reason
    for proxy, right in by_definition([network.first(X)]).items():
        assert scores[f"{proxy}(activations='all')"].value == pytest.approx(right, rel=1e-9), proxy


@pytest.mark.parametrize("act", [nn.Sigmoid(), nn.Hardsigmoid(), torch.sigmoid])
def test_gates_count_by_name_alone(act: Act) -> None:
    network = built(act)
    kind = "hardsigmoid" if isinstance(act, nn.Hardsigmoid) else "sigmoid"
    named = f"naswot(activations={kind!r})"
    scores = score(network, X, None, ["naswot(activations='all')", named])
    assert f"activations='all+{kind}' counts" in scores["naswot(activations='all')"].reason
    assert scores[named].value == pytest.approx(by_definition([network.first(X)])["naswot"], rel=1e-9)


def test_what_is_left_out_is_said_and_kinds_are_chosen_by_name() -> None:
    network = built(nn.GELU(), then=lambda x: F.leaky_relu(x, 0.5))
    first, second = network.first(X), network.second(F.gelu(network.first(X)))
    read = {"relu": [second], "all": [first, second], "gelu": [first], "leaky_relu+gelu": [first, second]}
    scores = score(network, X, None, [f"naswot(activations={kinds!r})" for kinds in read])
    for (column, found), (_, inputs) in zip(scores.items(), read.items(), strict=True):
        assert found.value == pytest.approx(by_definition(inputs)["naswot"], rel=1e-9), column
    assert next(iter(scores)) == "naswot"  # the default's column
    said = [found.remarks for found in scores.values()]
    assert said[0] == (
        "counted: 1 leaky_relu; left out: 1 gelu, which activations='all' counts by the sign of its input",
    )
    assert said[1] == said[3] == ("counted: 1 gelu, 1 leaky_relu",)
    assert said[2] == (
        "counted: 1 gelu; left out: 1 leaky_relu, which activations='all' counts by the sign of its input",
    )


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown kind of activation 'glue'.*gelu"):
        score(built(nn.ReLU()), X, None, ["naswot(activations='glue')"])


def test_no_cut_elsewhere_and_no_activation_of_parameters_counts() -> None:
    class Fused(Activated):
        def __init__(self) -> None:
            super().__init__(nn.ReLU())
            self.shares = nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> Tensor:
            shares = F.gelu(F.relu(self.shares))
            x = self.act(shares[0] * self.first(x.clamp(-3, 3)))
            return self.head(torch.maximum(self.second(x), self.second(-x)).clamp(max=4).mean((2, 3)))

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Fused().double()
    for activations in ("relu", "all"):
        (found,) = score(network, X, None, [f"naswot(activations={activations!r})"]).values()
        right = by_definition([F.gelu(torch.ones(())) * network.first(X.clamp(-3, 3))])["naswot"]
        assert found.value == pytest.approx(right, rel=1e-9) and not found.remarks
    network.act = nn.Identity()
    for activations in ("relu", "all"):
        (found,) = score(network, X, None, [f"naswot(activations={activations!r})"]).values()
        assert found.reason == "no activation lies between the images and the logits"


def test_dead_activations_do_not_count_and_sequence_first_tokens_are_placed() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 5), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).permute(2, 0, 1)
            F.gelu(tokens)  # for nothing
            return self.head(F.silu(self.mix(tokens)).mean(0))

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Tokens().double()
    (found,) = score(network, X, None, ["naswot(activations='all')"]).values()
    read = network.mix(network.patches(X).flatten(2).transpose(1, 2))
    assert found.value == pytest.approx(by_definition([read])["naswot"], rel=1e-9)
    assert found.remarks == ("counted: 1 silu",)


def test_dropout_does_not_hide_the_images() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 5)
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, activation="gelu")

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(self.patches(x).flatten(2).permute(2, 0, 1)).mean(0))

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Encoder().double()
    (found,) = score(network, X, None, ["naswot(activations='all')"], seed=3).values()
    read: list[Tensor] = []
    network.layer.activation = lambda x: (read.append(x.transpose(0, 1)), F.gelu(x))[1]
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        network(X)
    assert found.value == pytest.approx(by_definition(read)["naswot"], rel=1e-9), found.reason
