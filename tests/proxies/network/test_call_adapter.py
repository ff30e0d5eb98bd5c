"""Networks of every kind of inputs, outputs, targets and losses: scores equal plain definitions in float64."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prejudge.errors import InputError
from prejudge.proxies.scoring import score

N = 4


@dataclass
class Kind:
    """A network with a batch, and how a plain definition runs it.

    Attributes:
        network: In float64.
        inputs: As ``score`` takes them.
        targets: Likewise.
        loss: Likewise.
        point: What the input gradient is taken for: inputs, or what is looked up for tokens; the first image's for
            the pass with ones.
        call: The logits of a network from such points.
        plain_loss: The loss; default ``loss``.
    """

    network: nn.Module
    inputs: Any
    targets: Tensor | None
    loss: Any
    point: Callable[[nn.Module], list[Tensor]]
    call: Callable[[nn.Module, list[Tensor]], Tensor]
    plain_loss: Any = None

    def logits(self, network: nn.Module) -> Tensor:
        return self.call(network, self.point(network))

    def loss_of(self, network: nn.Module) -> Tensor:
        result: Tensor = (self.plain_loss or self.loss or F.cross_entropy)(self.logits(network), self.targets)
        return result


def layers(network: nn.Module) -> list[Any]:
    """Whose weights are prunable; transformers' Conv1D is a linear layer with a transposed weight."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return [m for m in network.modules() if isinstance(m, kinds) or type(m).__name__ == "Conv1D"]


def recurrent(network: nn.Module, kind: str) -> list[Tensor]:
    return [p for m in network.modules() if isinstance(m, nn.RNNBase) for n, p in m.named_parameters() if kind in n]


def weights(network: nn.Module) -> list[Tensor]:
    return list(dict.fromkeys([*(m.weight for m in layers(network)), *recurrent(network, "weight")]))


def gradients(scalar: Tensor, parameters: list[Tensor], **options: Any) -> list[Tensor]:
    found = torch.autograd.grad(scalar, parameters, allow_unused=True, retain_graph=True, **options)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def snip(kind: Kind, network: nn.Module) -> float:
    found = gradients(kind.loss_of(network), weights(network))
    return sum((w * g).abs().sum().item() for w, g in zip(weights(network), found, strict=True))


def grasp(kind: Kind, network: nn.Module) -> float:
    first = gradients(kind.loss_of(network), weights(network), create_graph=True)
    product = sum((g.detach() * g).sum() for g in first)
    return -sum(
        (w * h).sum().item() for w, h in zip(weights(network), gradients(product, weights(network)), strict=True)
    )


def fisher(kind: Kind, network: nn.Module) -> float:
    outputs: list[tuple[Any, Tensor]] = []
    for layer in layers(network):
        layer.register_forward_hook(lambda layer, _, output: outputs.append((layer, output)))
    loss = kind.loss_of(network)
    total = 0.0
    for layer, z in outputs:
        (gradient,) = gradients(loss, [z])
        product = (z * gradient).movedim(1, -1) if isinstance(layer, nn.Conv2d) else z * gradient
        channels = product.reshape(N, -1, product.shape[-1]).sum(1).square().mean(0) / 2
        total += channels.sum().item() * layer.weight.numel() / len(channels)
    return total


def jacobian(kind: Kind, network: nn.Module) -> np.ndarray:
    points = [p.detach().requires_grad_() for p in kind.point(network)]
    rows = [[g[i].flatten() for g in gradients(z.sum(), points)] for i, z in enumerate(kind.call(network, points))]
    return torch.stack([torch.cat(row) for row in rows]).numpy()


def jacob_cov(kind: Kind, network: nn.Module) -> float:
    values = np.linalg.eigvalsh(np.corrcoef(jacobian(kind, network))) + 1e-5
    return -float(np.sum(np.log(values) + 1 / values))


def epe_nas(kind: Kind, network: nn.Module) -> float:
    rows, y = jacobian(kind, network), kind.targets.numpy()
    groups = [rows[y == k] for k in set(y.tolist())]
    return sum(float(np.abs(np.log(np.abs(np.corrcoef(r)) + 1e-5).sum())) for r in groups if len(r) > 1)


def ntk(scalars: Tensor, parameters: list[Tensor]) -> float:
    rows = torch.stack([torch.cat([g.flatten() for g in gradients(s, parameters)]) for s in scalars])
    return (rows.square().sum() / len(rows)).sqrt().item()


def ntk_trace(kind: Kind, network: nn.Module) -> float:
    biases = [*(m.bias for m in layers(network) if m.bias is not None), *recurrent(network, "bias")]
    return ntk(kind.logits(network).gather(1, kind.targets[:, None])[:, 0], weights(network) + biases)


def ntk_trace_tenas(kind: Kind, network: nn.Module) -> float:
    named = [p for n, p in network.named_parameters() if "weight" in n]
    return ntk(kind.logits(network).reshape(N, -1).sum(1), named)


def synflow(kind: Kind, network: nn.Module) -> float:
    with torch.no_grad():
        for value in network.state_dict().values():
            value.abs_()
    total = kind.call(network, [torch.ones_like(p[:1]) for p in kind.point(network)]).sum()
    return sum(
        (w * g).abs().sum().item() for w, g in zip(weights(network), gradients(total, weights(network)), strict=True)
    )


DEFINITIONS = {f.__name__: f for f in (snip, grasp, fisher, jacob_cov, epe_nas, ntk_trace, ntk_trace_tenas, synflow)}
OF_CLASSES = {"epe_nas", "ntk_trace"}


def with_float_inputs(network: nn.Module, x: Tensor, y: Tensor, loss: Any = None, plain_loss: Any = None) -> Kind:
    return Kind(network, x, y, loss, lambda _: [x], lambda net, points: net(*points), plain_loss)


class Tokens(nn.Module):
    """A small transformer of its own, with a mask; the logits of a sequence, or of each of its tokens."""

    def __init__(self, each: bool = False):
        super().__init__()
        self.table, self.positions = nn.Embedding(11, 6), nn.Embedding(5, 6)
        self.norm, self.mix, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 9), nn.Linear(9, 6)
        self.head, self.each = nn.Linear(6, 3), each

    def forward(self, ids: Tensor | None = None, mask: Tensor | None = None, embeds: Tensor | None = None) -> Tensor:
        tokens = self.table(ids) if embeds is None else embeds
        tokens = self.norm(tokens + self.positions(torch.arange(tokens.shape[1])))
        scores = tokens @ self.mix(tokens).transpose(1, 2)
        if mask is not None:
            scores = scores.masked_fill(mask[:, None] == 0, -1e9)
        tokens = tokens + scores.softmax(-1) @ tokens
        tokens = self.head(tokens + self.down(F.gelu(self.up(tokens))))
        return tokens if self.each else tokens.mean(1)


def of_tokens(each: bool = False) -> Kind:
    ids = torch.arange(N * 5).reshape(N, 5) ** 2 % 11
    mask = torch.ones(N, 5, dtype=torch.int64)
    mask[1:, 3:] = 0
    y = (ids + 1) % 3 if each else torch.tensor([0, 1, 2, 1])

    def call(network: Any, points: list[Tensor]) -> Tensor:
        result: Tensor = network(embeds=points[0], mask=None if each else mask[: len(points[0])])
        return result

    inputs = ids if each else {"mask": mask, "ids": ids}
    loss = (lambda z, t: F.cross_entropy(z.flatten(0, 1), t.flatten())) if each else None
    return Kind(Tokens(each).double(), inputs, y, None, lambda net: [net.table(ids)], call, loss)


class Sequence(nn.Module):
    """A recurrent network that takes a batch of each step after the other, of vectors or of tokens."""

    def __init__(self, tokens: bool):
        super().__init__()
        self.table = nn.Embedding(11, 2, sparse=True) if tokens else nn.Identity()
        self.rnn, self.head = nn.RNN(2, 4), nn.Linear(4, 3)

    def forward(self, steps: Tensor) -> Tensor:
        result: Tensor = self.head(self.rnn(self.table(steps))[0][-1])
        return result


def sequence(tokens: bool) -> Kind:
    steps = torch.arange(5 * N).reshape(5, N) ** 2 % 11 if tokens else torch.randn(5, N, 2).double()

    def call(network: Any, points: list[Tensor]) -> Tensor:
        result: Tensor = network.head(network.rnn(points[0].transpose(0, 1))[0][-1])
        return result

    def point(network: Any) -> list[Tensor]:
        network.table.sparse = False
        return [network.table(steps).transpose(0, 1)]

    return Kind(Sequence(tokens).double(), steps, torch.tensor([0, 1, 1, 2]), None, point, call)


class Fusion(nn.Module):
    """Two floating inputs, the second with the images in its second dimension, as a recurrent state has them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gru, self.head = nn.Conv1d(2, 3, 2), nn.GRU(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor, state: Tensor, scale: float = 1.0) -> Tensor:
        out, _ = self.gru(self.conv(x).transpose(1, 2) * scale, state)
        result: Tensor = self.head(out[:, -1])
        return result


def fusion() -> Kind:
    x, state = torch.randn(N, 2, 5).double(), torch.randn(1, N, 4).double()
    kind = with_float_inputs(Fusion().double(), x, torch.tensor([0, 1, 1, 2]))
    kind.inputs = (x, state, 0.5)
    kind.point = lambda _: [x, state[0]]
    kind.call = lambda net, points: net(points[0], points[1][None], 0.5)
    return kind


def of_transformers(name: str) -> Kind:
    transformers = pytest.importorskip("transformers")
    ids = (torch.arange(N * 5).reshape(N, 5) ** 2 + 3) % 19
    mask = torch.ones_like(ids)
    mask[2:, 4:] = 0
    common = {"vocab_size": 19, "bos_token_id": 0, "eos_token_id": 0}
    network: Any
    if name == "bert":
        config = transformers.BertConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_position_embeddings=8,
            num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, vocab_size=19,
        )  # fmt: skip
        network, y, loss = transformers.BertForSequenceClassification(config), torch.tensor([0, 1, 2, 1]), None
    else:
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=8, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **common
        )
        network, y = transformers.GPT2LMHeadModel(config), ids.roll(-1, 1)
        loss = lambda z, t: F.cross_entropy(z.flatten(0, 1), t.flatten())  # noqa: E731
    with torch.no_grad():
        for parameter in network.parameters():  # their initialization is so small that hardly anything flows
            parameter.add_(torch.randn_like(parameter) / 8)

    def call(net: Any, points: list[Tensor]) -> Tensor:
        result: Tensor = net(inputs_embeds=points[0], attention_mask=mask[: len(points[0])]).logits
        return result

    inputs = {"input_ids": ids, "attention_mask": mask}
    return Kind(network.double(), inputs, y, None, lambda net: [net.get_input_embeddings()(ids)], call, loss)


def convolutions(*tail: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1), *tail).double()


def images() -> Tensor:
    return torch.randn(N, 3, 6, 6).double()


def classifier() -> nn.Module:
    return convolutions(nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def mlp(*tail: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1), *tail).double()


def dense_labels() -> Tensor:
    y = torch.randint(0, 4, (N, 6, 6))
    y[0, :2] = -100  # left out, so that the images do not count alike
    return y


KINDS: dict[str, Callable[[], Kind]] = {
    "regression": lambda: with_float_inputs(mlp(), torch.randn(N, 7).double(), torch.randn(N, 1).double(), F.mse_loss),
    "regression, no second dimension": lambda: with_float_inputs(
        mlp(nn.Flatten(0)), torch.randn(N, 7).double(), torch.randn(N).double(), nn.HuberLoss()
    ),
    "multi-label": lambda: with_float_inputs(
        classifier(), images(), (torch.randn(N, 4) > 0).double(), nn.BCEWithLogitsLoss(pos_weight=torch.ones(4) * 3)
    ),
    "segmentation": lambda: with_float_inputs(convolutions(), images(), dense_labels()),
    "probabilities": lambda: with_float_inputs(classifier(), images(), torch.rand(N, 4).double().softmax(1)),
    "a loss of pairs": lambda: with_float_inputs(
        classifier(), images(), torch.tensor([0, 1, 1, 2]), lambda z, y: F.cross_entropy(z @ z.T @ z, y)
    ),
    "tokens": of_tokens,
    "each token": lambda: of_tokens(each=True),
    "two inputs": fusion,
    "sequence": lambda: sequence(tokens=False),
    "sequence of tokens": lambda: sequence(tokens=True),
    "BERT": lambda: of_transformers("bert"),
    "GPT-2": lambda: of_transformers("gpt2"),
}  # fmt: skip


def make(name: str) -> Kind:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return KINDS[name]()


@pytest.mark.parametrize("name", KINDS)
def test_scores_equal_their_plain_definitions(name: str) -> None:
    kind = make(name)
    scores = score(kind.network, kind.inputs, kind.targets, list(DEFINITIONS), loss=kind.loss)
    of_classes = kind.targets is not None and kind.targets.dim() == 1 and not kind.targets.is_floating_point()
    for proxy, found in scores.items():
        if proxy in OF_CLASSES and not of_classes:
            assert "needs one class index for each image, not targets" in found.reason
            continue
        if proxy == "fisher" and any(isinstance(m, nn.RNNBase) for m in kind.network.modules()):
            assert "no convention says what the channels of" in found.reason
            continue
        with sdpa_kernel(SDPBackend.MATH):
            expected = DEFINITIONS[proxy](kind, copy.deepcopy(kind.network).train())
        assert found.ok, (proxy, found.reason)
        assert found.value == pytest.approx(expected, rel=1e-6), proxy


class Returning(nn.Module):
    """A classifier that returns its logits in some form, and changes its input in place."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]):
        super().__init__()
        self.body, self.head, self.form = convolutions(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(4, 3), form

    def forward(self, x: Tensor) -> Any:
        features = self.body(x.mul_(2))
        return self.form(self.head(features), features)


@dataclass
class Output:
    logits: Tensor


CLASSES = torch.tensor([0, 1, 2, 1])
FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "object": lambda z, _: Output(z),
    "dictionary": lambda z, f: {"features": f, "logits": z},
    "its only tensor": lambda z, _: {"out": z},
    "list of one": lambda z, _: [z],
    "tuple": lambda z, f: (z, f),
    "probabilities": lambda z, _: (z, z.softmax(1), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_logits_are_found_in_what_a_network_returns(form: str) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network, x = Returning(lambda z, _: z).double(), images()
    chosen = [*DEFINITIONS, "zen", "ntk_condition_fixed_bn", "naswot"]
    expected = score(network, x, CLASSES, chosen)
    network.form = FORMS[form]
    found = score(network, x, CLASSES, chosen)
    number = {"tuple": 2, "probabilities": 3}.get(form)
    said = f"the first of {number} outputs, of shape (N, 3), was taken for the logits"
    for name, value in expected.items():
        assert value.ok and found[name].value == value.value, name
        assert found[name].remarks == ((said,) if number else ())


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda z, f: (f, z), "2 outputs, of which number 2 depends on more weights than the first"),
        (lambda z, f: {"features": f, "output": z}, "not dict with features, output, none of which is called logits"),
        (lambda z, f: None, "not NoneType"),
        (lambda z, f: z.argmax(1), "not torch.int64 of shape (4,) for 4 images"),
        (lambda z, f: z.mean(), r"not torch.float64 of shape () for 4 images"),
        (lambda z, f: z.T, r"not torch.float64 of shape (3, 4) for 4 images"),
    ],
)  # fmt: skip
def test_other_outputs_are_refused_in_one_line(form: Callable[[Tensor, Tensor], Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        score(Returning(form).double(), images(), CLASSES, "snip")
    assert message in str(error.value) and "wrap it so that it" in str(error.value)


def test_tokens_that_nothing_looks_up_have_no_gradient() -> None:
    class OneHot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.head = nn.Linear(7, 4), nn.Linear(4, 3)

        def forward(self, ids: Tensor) -> Tensor:
            logits: Tensor = self.head(self.mix(F.one_hot(ids, 7).double()).relu().mean(1))
            return logits

    ids = torch.arange(N * 3).reshape(N, 3) % 7
    scores = score(OneHot().double(), ids, CLASSES)
    for name in ("jacob_cov", "epe_nas", "synflow", "zen"):
        assert scores[name].reason.endswith("looks up in no table, so no gradient leads to them"), name
    assert scores["snip"].ok and scores["naswot"].ok and scores["ntk_trace"].ok


def test_columns_that_are_looked_up_in_tables_of_their_own_are_one_input() -> None:
    class Columns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(9, 2), nn.Embedding(9, 3)])
            self.raw = nn.Parameter(torch.randn(9, 2))
            self.head = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))

        def forward(self, ids: Tensor, points: Tensor | None = None) -> Tensor:
            if points is None:
                points = torch.cat([*(t(ids[:, i]) for i, t in enumerate(self.tables)), self.raw[ids[:, 0]]], 1)
            logits: Tensor = self.head(points)
            return logits

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Columns().double()
    ids = torch.tensor([[0, 1], [2, 3], [8, 0], [2, 2]])

    def point(net: Any) -> list[Tensor]:
        return [torch.cat([net.tables[0](ids[:, 0]), net.tables[1](ids[:, 1]), net.raw[ids[:, 0]]], 1)]

    kind = Kind(network, ids, CLASSES, None, point, lambda net, points: net(ids, points[0]))
    for name, found in score(network, ids, CLASSES, ["jacob_cov", "synflow", "snip"]).items():
        assert found.value == pytest.approx(DEFINITIONS[name](kind, copy.deepcopy(network)), rel=1e-6), name


def test_an_input_that_could_hold_the_images_is_settled_by_the_logits() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x: Tensor, table: Tensor) -> Tensor:
            logits: Tensor = self.layer(torch.tanh(table @ x).mean(1))  # a row for each token: as many as images
            return logits

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network, x, table = Mixed().double(), torch.randn(N, N, 2).double(), torch.randn(N, N).double()
    kind = with_float_inputs(network, x, CLASSES)
    kind.call = lambda net, points: net(points[0], table)
    found = score(network, (x, table), CLASSES, ["jacob_cov", "snip", "synflow"])
    for name, value in found.items():
        assert value.value == pytest.approx(DEFINITIONS[name](kind, copy.deepcopy(network)), rel=1e-6), name


def test_a_network_whose_logits_do_not_follow_its_inputs_is_refused() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

        def forward(self, ids: Tensor) -> Tensor:
            logits: Tensor = self.head(self.table(ids) * torch.arange(len(ids))[:, None])
            return logits

    with pytest.raises(InputError, match=r"do not move with the images of 0 \(4,\); give each input with the batch"):
        score(Shifted().double(), torch.arange(N), CLASSES, "snip")


def test_frozen_weights_are_judged_as_others_and_stay_frozen() -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network, x = classifier(), images()
    expected = score(network, x, CLASSES, list(DEFINITIONS))
    network[0].requires_grad_(False)
    network.register_parameter("steps", nn.Parameter(torch.arange(3), requires_grad=False))
    found = score(network, x, CLASSES, list(DEFINITIONS))
    assert {n: s.value for n, s in found.items()} == {n: s.value for n, s in expected.items()}
    assert [n for n, p in network.named_parameters() if not p.requires_grad] == ["steps", "0.weight", "0.bias"]


def test_random_paths_are_repeatable_by_the_seed_and_move_no_generator() -> None:
    class Paths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.paths = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(6))
            self.head = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            for path in (random.choice(self.paths), self.paths[np.random.randint(6)], self.paths[torch.randint(6, ())]):  # noqa: NPY002
                x = x + path(x).relu()
            logits: Tensor = self.head(x.mean((2, 3)))
            return logits

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network, x = Paths(), images().float()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
    first, again, other = (score(network, x, CLASSES, seed=seed) for seed in (0, 0, 1))
    assert before[:2] == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002
    assert before[2].equal(torch.get_rng_state())
    assert {n: s.value for n, s in first.items()} == {n: s.value for n, s in again.items()}
    assert first["snip"].value != other["snip"].value


def test_zero_heads_are_remarked() -> None:
    models = pytest.importorskip("torchvision.models")
    network = models.VisionTransformer(16, 8, 1, 2, 8, 12, num_classes=3)
    scores = score(network, torch.randn(N, 3, 16, 16), CLASSES, ["snip", "fisher", "synflow", "plain", "grad_norm"])
    for name in ("snip", "fisher", "synflow", "plain"):
        assert scores[name].value == 0
        assert scores[name].remarks == ("the value is zero because the weights of heads.head are zero",)
    assert scores["grad_norm"].value > 0 and not scores["grad_norm"].remarks
