"""Random networks of tokens: weights read in all ways, images in any place; scores equal their plain definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prejudge.proxies.scoring import score
from tests.proxies.network import by_definition


class Folded(nn.Module):
    """A layer on tokens, with images in the place of tokens, tokens in the place of images, or both in one."""

    def __init__(self, layer: nn.Module, place: str) -> None:
        super().__init__()
        self.layer, self.place = layer, place

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, c = tokens.shape
        if self.place == "second":
            return self.layer(tokens.transpose(0, 1)).transpose(0, 1)
        if self.place == "outer":
            return self.layer(tokens.reshape(n * t, c)).reshape(n, t, c)
        if self.place == "inner":
            return self.layer(tokens.transpose(0, 1).reshape(t * n, c)).reshape(t, n, c).transpose(0, 1)
        return self.layer(tokens)


class Residual(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.layer(tokens)


class Matrix(nn.Module):
    """A weight of its own, read in one of several ways."""

    def __init__(self, read: str) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, 6) / 3)
        self.read = read

    def forward(self, tokens: Tensor) -> Tensor:
        if self.read == "matmul":
            return tokens @ self.matrix
        if self.read == "linear of a part":
            return F.linear(tokens, torch.cat([self.matrix[3:], self.matrix[:3]]))
        if self.read == "added too":
            return F.linear(tokens, self.matrix) + self.matrix[0]
        return F.linear(tokens, torch.tanh(self.matrix))


READS = ("matmul", "linear of a part", "added too", "tanh")
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, 6),
    "no bias": lambda: nn.Linear(6, 6, bias=False),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "layer norm": lambda: nn.LayerNorm(6),
    "positions": lambda: AddedPositions(),
    **{f"matrix, {read}": partial(Matrix, read) for read in READS},
}  # fmt: skip


class AddedPositions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.register_buffer("line", torch.randn(1, 6))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.layer(self.line)


@st.composite
def compositions(draw: Callable[[Any], Any]) -> list[tuple[str, str, bool]]:
    kinds, places = st.sampled_from(sorted(LAYERS)), st.sampled_from(["first", "second", "outer", "inner"])
    found: list[tuple[str, str, bool]] = draw(st.lists(st.tuples(kinds, places, st.booleans()), min_size=1, max_size=4))
    return found


class Composed(nn.Module):
    def __init__(self, parts: Sequence[tuple[str, str, bool]], tied: bool) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 6, 3)
        layers: list[nn.Module] = []
        for kind, place, residual in parts:
            layer: nn.Module = Folded(LAYERS[kind](), place)
            layers.append(Residual(layer) if residual else layer)
        self.layers = nn.Sequential(*layers)
        linear = [m for m in self.layers.modules() if isinstance(m, nn.Linear)]
        for layer in linear[1:] if tied else ():
            layer.weight = linear[0].weight
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(x).transpose(1, 2)).mean(1))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(parts=compositions(), tied=st.booleans(), n=st.integers(1, 5))
def test_compositions_score_as_their_definitions(parts: list[tuple[str, str, bool]], tied: bool, n: int) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Composed(parts, tied).double()
        x, y = torch.randn(n, 3, 7, dtype=torch.float64), torch.arange(n) % 5
    chosen = ["grad_norm", "snip", "grasp", *(["ntk_trace", "ntk_trace_tenas"] if n > 1 else [])]
    scores = score(network, x, y, chosen)
    for proxy in chosen:
        assert scores[proxy].ok, (proxy, scores[proxy].reason)
        expected = by_definition.ALL[proxy](network, x, y)
        assert scores[proxy].value == pytest.approx(expected, rel=1e-6, abs=1e-12), proxy
