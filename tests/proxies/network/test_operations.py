"""Networks whose weights are read without their modules: every score equals the plain definition, or fails by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.proxies.scoring import score
from tests.proxies.network import by_definition
from tests.proxies.zoo.oracle import Oracle, condition, constant_statistics


def images(n: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([0, 1, 2, 1]) if n == 4 else torch.arange(n) % 10


def tail(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


class Tokens(nn.Module):
    """Patches as tokens, something among them, a classifier on their mean."""

    def __init__(self, among: Callable[[], nn.Module], sequence_first: bool = False, side: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, side, side)
        self.among, self.head = among(), nn.Linear(16, 10)
        self.sequence_first = sequence_first

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.sequence_first:
            tokens = tokens.transpose(0, 1)
        return self.head(self.among(tokens).mean(0 if self.sequence_first else 1))


class Attention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, **options)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return tokens + found


class Positions(nn.Module):
    """A perceptron of the positions: a batch of one inside."""

    def __init__(self) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 16))
        line = torch.linspace(-1, 1, 4)
        self.register_buffer("grid", torch.cartesian_prod(line, line)[None])

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.perceptron(self.grid)


class Masked(nn.Module):
    """A mask that is no part of the state, and positions that are."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(16, 16), nn.Linear(16, 16)
        self.register_buffer("mask", torch.full((16, 16), -9.0).tril(-1), persistent=False)
        self.register_buffer("positions", torch.linspace(-1, 1, 16)[:, None])

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.positions
        shares = (self.mix(tokens) @ tokens.transpose(1, 2) + self.mask).softmax(-1)
        return self.out(shares @ tokens)


class Windows(nn.Module):
    """Attention in windows that are folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, c = tokens.shape
        windows = tokens.reshape(n * 4, t // 4, c)
        q, k, v = self.qkv(windows).reshape(n * 4, t // 4, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n * 4, t // 4, c)
        return tokens + F.relu(self.out(mixed)).reshape(n, t, c)


class Read(nn.Module):
    """Two layers whose weights are read by functions."""

    def __init__(self, read: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.mix, self.head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 8), nn.Linear(8, 10)
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self, x).mean((2, 3)))


def standardized(network: Any, x: Tensor) -> Tensor:
    weight = network.conv.weight
    weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std((1, 2, 3), keepdim=True)
    return F.relu(F.conv2d(x, weight, network.conv.bias, 2))


def sliced(network: Any, x: Tensor) -> Tensor:
    parts = (slice(0, 5), slice(3, 8))
    return F.relu(torch.cat([F.conv2d(x, network.conv.weight[p], network.conv.bias[p], 2) for p in parts], 1)[:, :8])


def transposed(network: Any, x: Tensor) -> Tensor:
    x = F.relu(network.conv(x), inplace=True).permute(0, 2, 3, 1)
    return (x @ network.mix.weight.t()).permute(0, 3, 1, 2)


def flattened(network: Any, x: Tensor) -> Tensor:
    x = network.conv(x)
    rows = x.permute(0, 2, 3, 1).reshape(-1, 8)
    mixed = torch.addmm(network.mix.bias, rows, network.mix.weight)
    return F.relu(mixed).reshape(len(x), *x.shape[2:], 8).permute(0, 3, 1, 2)


def expanded(network: Any, x: Tensor) -> Tensor:
    x = F.relu(network.conv(x))
    mixed = torch.bmm(network.mix.weight.expand(len(x), -1, -1), x.flatten(2))
    return mixed.unflatten(2, x.shape[2:])


def called_and_read(network: Any, x: Tensor) -> Tensor:
    return F.relu(network.conv(x) + 2 * F.conv2d(x, network.conv.weight, None, 2))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.Linear(8, 8)
        self.b.weight = self.a.weight
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.b(F.relu(self.a(self.stem(x).mean((2, 3)))))))


class Fusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(8, 10)
        self.fusion = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        share = F.relu(self.fusion)
        return self.head(F.relu(self.a(x) * share[0] + self.b(x) * share[1]).mean((2, 3)))


class Rows(nn.Module):
    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        found = self.layer(x.flatten(1, 2).transpose(1, 2))
        return self.head((found[0] if isinstance(found, tuple) else found)[:, -1])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *tail(8)),
    "attention": lambda: Tokens(lambda: Attention(batch_first=True)),
    "attention, sequence first": lambda: Tokens(Attention, sequence_first=True),
    "attention with keys of its own": lambda: Tokens(lambda: Attention(batch_first=True, add_bias_kv=True)),
    "encoder": lambda: Tokens(lambda: nn.TransformerEncoderLayer(16, 2, 32, dropout=0, batch_first=True)),
    "encoder, sequence first": lambda: Tokens(lambda: nn.TransformerEncoderLayer(16, 2, 32, dropout=0), True),
    "positions": lambda: Tokens(Positions),
    "windows": lambda: Tokens(Windows),
    "masked": lambda: Tokens(Masked),
    "standardized": lambda: Read(standardized),
    "sliced": lambda: Read(sliced),
    "transposed": lambda: Read(transposed),
    "flattened": lambda: Read(flattened),
    "expanded": lambda: Read(expanded),
    "called and read": lambda: Read(called_and_read),
    "tied": Tied,
    "fusion": Fusion,
    "conv1d": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), *tail(8)[1:]
    ),
    "conv3d": lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 8, 3), nn.ReLU(), nn.Flatten(2, 3), *tail(8)),
    "transposed convolution": lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 3, 2, 1, 1), nn.ReLU(), *tail(8)),
    "transposed groups": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.PReLU(8), nn.ConvTranspose2d(8, 8, 3, 2, groups=4), *tail(8)
    ),
    "group norm": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), *tail(8)),
    "even kernel": lambda: nn.Sequential(nn.Conv2d(3, 8, 2, padding="same"), nn.ReLU(), *tail(8)),
    "padded points": lambda: nn.Sequential(nn.Conv2d(3, 8, 1, stride=2, padding=1), nn.ReLU(), *tail(8)),
    "hard sigmoid": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardsigmoid(), nn.ReLU(), *tail(8)),
    "recurrent": lambda: Rows(nn.LSTM(96, 8, batch_first=True), 8),
    "bilinear": lambda: Rows(SelfBilinear(), 8),
}  # fmt: skip


class SelfBilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.form = nn.Bilinear(96, 96, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x, x)


def built(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return NETWORKS[name]().to(dtype)


FAILS = {
    "recurrent": {"fisher"},
    "bilinear": {"fisher"},
    "expanded": {"fisher"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_score_is_that_of_its_definition(name: str) -> None:
    network = built(name)
    x, y = images()
    x = x.double()
    scores = score(network, x, y, [*by_definition.ALL])
    for proxy, define in by_definition.ALL.items():
        if proxy in FAILS.get(name, ()):
            assert "no convention" in scores[proxy].reason
            continue
        expected = define(network, x, y)
        if expected is None:
            assert not scores[proxy].ok
            continue
        assert scores[proxy].ok, (proxy, scores[proxy].reason)
        tolerance = 1e-6 if "condition" not in proxy else 1e-4
        assert scores[proxy].value == pytest.approx(expected, rel=tolerance), proxy


@pytest.mark.parametrize(
    ("name", "n", "right"),
    [
        # torch's counter misses the two products inside fused attention on a CPU, 16 tokens² of 16 features each
        ("attention", 4, {"ntk_trace": 2.57002, "ntk_condition": 2.1735, "grasp": -1.29164, "flops": 65706 + 8192}),
        ("encoder", 4, {"naswot": 23.6616, "ntk_trace": 4.66695}),
        ("encoder, sequence first", 4, {"naswot": 23.6616, "ntk_trace": 4.66695}),
        ("encoder, sequence first", 16, {"naswot": 90.6138, "ntk_trace": 4.45461}),
        ("even kernel", 4, {"ntk_trace": 1.28415}),
        ("padded points", 4, {"ntk_trace": 1.35380, "ntk_condition": 1341.89}),
    ],
)
def test_figures_of_a_plain_definition(name: str, n: int, right: dict[str, float]) -> None:
    scores = score(built(name, torch.float32), *images(n), [*right])
    for proxy, value in right.items():
        assert scores[proxy].value == pytest.approx(value, rel=1e-4 if "condition" in proxy else 1e-5), proxy


class OutOfSight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return gradients[0] @ weight.T, x.T @ gradients[0]


def scripted(x: Tensor, weight: Tensor) -> Tensor:
    global _scripted  # compiled where it is first called
    _scripted = _scripted or torch.jit.script(_product)
    found: Tensor = _scripted(x, weight)
    return found


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


_scripted: Any = None


class Custom(nn.Module):
    def __init__(
        self, change: Callable[[Tensor], Tensor], read: Callable[[Tensor, Tensor], Tensor] = OutOfSight.apply
    ) -> None:
        super().__init__()
        self.conv, self.matrix = nn.Conv2d(3, 8, 3), nn.Parameter(torch.randn(8, 10))
        self.shift = nn.Parameter(torch.zeros(10))
        self.change, self.read = change, read

    def forward(self, x: Tensor) -> Tensor:
        return self.read(F.relu(self.conv(x)).mean((2, 3)), self.change(self.matrix)).add_(2 * self.shift)


@pytest.mark.parametrize("change", [lambda w: w, lambda w: 2 * w], ids=["the weight", "a function of it"])
@pytest.mark.parametrize("read", [OutOfSight.apply, scripted])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_an_operation_out_of_sight_fails_by_name(
    change: Callable[[Tensor], Tensor], read: Callable[[Tensor, Tensor], Tensor]
) -> None:
    network, (x, y) = Custom(change, read), images()
    scores = score(network, x, y)
    name = "Mm" if read is scripted else "OutOfSight"
    for proxy in ("grad_norm", "snip", "grasp", "fisher", "ntk_trace", "ntk_condition", "l2_norm", "synflow", "zen"):
        assert scores[proxy].reason == f"{name!r} reads matrix out of sight", proxy
        assert score(network, x, y, proxy)[proxy].reason == scores[proxy].reason
    assert scores["jacob_cov"].ok and scores["naswot"].ok


def test_a_layers_weight_counts_out_of_sight_too_where_only_its_gradient_matters() -> None:
    class OfLayer(nn.Module):
        def __init__(self, read: Callable[[Tensor, Tensor], Tensor]) -> None:
            super().__init__()
            self.conv, self.mix, self.read = nn.Conv2d(3, 8, 3), nn.Linear(8, 10, bias=False), read

        def forward(self, x: Tensor) -> Tensor:
            return self.read(F.relu(self.conv(x)).mean((2, 3)), self.mix.weight.T)

    hidden, seen = OfLayer(OutOfSight.apply), OfLayer(torch.matmul)
    seen.load_state_dict(hidden.state_dict())
    found, expected = (score(network, *images()) for network in (hidden, seen))
    for proxy in ("grad_norm", "snip", "l2_norm", "synflow", "zen"):
        assert found[proxy].value == pytest.approx(expected[proxy].value, rel=1e-5), proxy
    assert found["fisher"].reason == found["ntk_trace"].reason == "'OutOfSight' reads mix.weight out of sight"


def test_an_operation_of_a_library_is_not_taken_for_torchs() -> None:
    library = torch.library.Library("prejudge_tests", "DEF")
    library.define("mm(Tensor x, Tensor w) -> Tensor")
    library.impl("mm", lambda x, w: x.sigmoid().mm(w), "CompositeImplicitAutograd")
    scores = score(Custom(lambda w: w, lambda x, w: torch.ops.prejudge_tests.mm(x, w)), *images(), ["snip", "l2_norm"])
    for found in scores.values():
        assert found.reason == "'torch.ops.prejudge_tests.mm' reads matrix in a way that is not known"


class Normalized(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm, self.head = layer, nn.BatchNorm1d(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        found = self.layer(x.flatten(1, 2).transpose(1, 2))[0][:, -1]
        return self.head(self.norm(found))


def test_batch_statistics_behind_an_operation_without_a_convention_fail_by_name() -> None:
    proxies = ["ntk_trace", "grad_norm", "ntk_trace_tenas"]
    scores = score(Normalized(nn.LSTM(96, 8, batch_first=True)), *images(), proxies)
    assert "lstm" in scores["ntk_trace"].reason
    assert scores["grad_norm"].ok and scores["ntk_trace_tenas"].ok


def test_activations_that_see_no_image_are_left_out() -> None:
    x, y = images()
    assert score(built("positions"), x.double(), y, "naswot")["naswot"].reason.startswith("no activation")
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Fusion()
    seen = torch.relu(network.a(x) + network.b(x)).flatten(1) > 0
    on = seen.double()
    expected = torch.linalg.slogdet(on @ on.T + (1 - on) @ (1 - on).T)[1].item()
    assert score(network, x, y, "naswot")["naswot"].value == pytest.approx(expected)


@pytest.mark.parametrize("name", ["positions", "recurrent"])
def test_a_slow_way_is_said(name: str) -> None:
    x, y = images()
    scores = score(built(name), x.double(), y, ["ntk_trace", "snip"])
    assert any("one backward pass for each image" in remark for remark in scores["ntk_trace"].remarks)
    assert not scores["snip"].remarks


def test_a_zero_value_says_why() -> None:
    network = built("attention")
    nn.init.zeros_(network.get_submodule("head").weight)
    x, y = images()
    scores = score(network, x.double(), y, ["snip", "fisher", "synflow", "grad_norm"])
    assert scores["snip"].value == scores["synflow"].value == 0
    assert scores["snip"].remarks == ("the value is zero because the weights of head are zero",)
    assert scores["grad_norm"].value > 0 and not scores["grad_norm"].remarks


class Square(nn.Module):
    """As many tokens and channels as images: no size says which axis holds the images."""

    def __init__(self, turn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(3, 4, 16, 16), nn.Linear(4, 4), nn.Linear(4, 10)
        self.turn = turn

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2)  # (4, 4, 4)
        return self.head(self.turn(F.relu(self.mix(self.turn(tokens)))).mean(2))


TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "transpose": lambda t: t.transpose(0, 1),
    "transpose by keywords": lambda t: t.transpose(dim0=0, dim1=1),
    "permute": lambda t: t.permute(1, 0, 2),
    "swapaxes": lambda t: t.swapaxes(0, 1),
    "einsum": lambda t: torch.einsum("ntc->tnc", t),
    "movedim": lambda t: torch.movedim(t, 0, 1),
}


@pytest.mark.parametrize("turn", TURNS)
def test_coinciding_sizes_do_not_hide_the_images(turn: str) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Square(TURNS[turn]).double()
    x, y = images()
    x = x.double()
    scores = score(network, x, y, ["ntk_trace", "naswot"])
    expected = by_definition.ALL["ntk_trace"](network, x, y)
    assert scores["ntk_trace"].value == pytest.approx(expected, rel=1e-6)
    on = (network.mix(network.stem(x).flatten(2).transpose(0, 1)).transpose(0, 1).flatten(1) > 0).double()
    kernel = on @ on.T + (1 - on) @ (1 - on).T
    assert scores["naswot"].value == pytest.approx(torch.linalg.slogdet(kernel)[1].item())


class ActiveNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


class NormByHand(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean((0, 2, 3), keepdim=True)) * self.weight[:, None, None] + self.bias[:, None, None]


def test_an_activation_at_the_end_of_a_batch_norm_stays() -> None:
    x, y = images()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), ActiveNorm(8), nn.ReLU(), *tail(8)).double()
    apart = nn.Sequential(network[0], nn.BatchNorm2d(8), nn.SiLU(), *network[2:]).double()
    found, expected = (score(n, x.double(), y) for n in (network, apart))
    for proxy in ("synflow", "ntk_condition_fixed_bn", "zen", "grasp", "fisher"):
        assert found[proxy].value == pytest.approx(expected[proxy].value, rel=1e-9), proxy


def test_a_batch_norm_that_computes_by_hand_cannot_be_replaced() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), NormByHand(8), nn.ReLU(), *tail(8))
    scores = score(network, *images(), ["synflow", "ntk_condition_fixed_bn", "zen", "snip"])
    assert scores.pop("snip").ok
    for found in scores.values():
        assert "the batch norm '1' (NormByHand) normalizes in a way that is not known" in found.reason


def test_a_path_that_depends_on_the_images_is_refused() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mix, self.head = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 4), nn.Linear(4, 10)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.stem(x).flatten(2).permute(2, 0, 1)
            for _ in range(2 + int(float(x[0, 0, 0, 0].detach()) > 1.1258)):
                tokens = tokens + self.mix(tokens)
            return self.head(tokens.mean(0))

    x, y = images()
    x[0, 0, 0, 0] = 9
    found = score(Branching(), x, y, ["ntk_trace", "snip"])
    assert found["snip"].ok
    assert "another path" in found["ntk_trace"].reason


def test_a_module_in_two_places_is_left_as_it_was() -> None:
    x, y = images()
    torch.manual_seed(0)
    shared = nn.Conv2d(8, 8, 3, padding=1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(shared, nn.ReLU()), nn.Sequential(shared), *tail(8))
    before = score(network.double(), x.double(), y, ["grad_norm"])["grad_norm"]
    after = score(network, x.double(), y, ["synflow", "zen", "grad_norm"])["grad_norm"]
    assert after.value == before.value


def test_batch_norms_in_several_places_have_the_rows_of_all_their_calls() -> None:
    class Norms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mix, self.head = nn.Conv2d(3, 6, 8, 8), nn.Linear(6, 6), nn.Linear(6, 10)
            self.norm, self.shared = nn.BatchNorm1d(6), nn.BatchNorm1d(6)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.stem(x).flatten(2).mT
            tokens = self.norm(tokens.flatten(0, 1)).tanh().reshape_as(tokens)
            tokens = self.mix(self.shared(tokens.mT).mT).tanh() + tokens
            return self.head(self.shared(tokens.mT).tanh().mean(2))

    torch.manual_seed(0)
    network, (x, y) = Norms().double(), images()
    expected = condition(Oracle(network, x.double(), y).tangent_kernel(constant_statistics))
    found = score(network, x.double(), y, ["ntk_condition_fixed_bn"])["ntk_condition_fixed_bn"]
    assert found.value == pytest.approx(expected, rel=1e-8)
    assert "2 weights: batch_norm" in found.remarks[0]


def test_rows_of_convolutions_on_a_grid_are_there_beside_grasp() -> None:
    class Grid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.place, self.head = nn.Conv2d(3, 6, 8, 8), nn.Conv2d(2, 6, 1), nn.Linear(6, 10)
            self.register_buffer("grid", torch.randn(1, 2, 4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.head((self.stem(x) + self.place(self.grid)).tanh().mean((2, 3)))

    torch.manual_seed(0)
    network, (x, y) = Grid().double(), images()
    expected = condition(Oracle(network, x.double(), y).label_kernel())
    found = score(network, x.double(), y, ["ntk_condition", "grasp"])["ntk_condition"]
    assert found.value == pytest.approx(expected, rel=1e-8)


def test_a_kernel_standardized_by_batch_norm_is_no_batch_norm_of_images() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            flat = F.batch_norm(self.weight.reshape(1, len(self.weight), -1), None, None, training=True)
            return F.conv2d(x, flat.reshape_as(self.weight), self.bias)

    torch.manual_seed(0)
    network, (x, y) = nn.Sequential(Standardized(3, 6, 3), nn.ReLU(), *tail(6)).double(), images()
    found = score(network, x.double(), y, ["synflow", "zen"])
    assert found["zen"].ok
    assert found["synflow"].value == pytest.approx(Oracle(network, x.double(), y).synflow(), rel=1e-9)


@pytest.mark.parametrize("part", [False, True])
def test_what_is_changed_in_place_after_a_product_keeps_its_shares(part: bool) -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 10)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.first(x.flatten(2).mT)
            (tokens[:, :5] if part else tokens).mul_(3.0)
            mixed = self.second(tokens)
            mixed += tokens
            return self.head(mixed.tanh().mean(1))

    torch.manual_seed(0)
    network, (x, y) = InPlace().double(), images()
    found, oracle = score(network, x.double(), y, ["ntk_condition", "fisher"]), Oracle(network, x.double(), y)
    assert found["ntk_condition"].value == pytest.approx(condition(oracle.label_kernel()), rel=1e-8)
    assert found["fisher"].value == pytest.approx(oracle.fisher(), rel=1e-8)
