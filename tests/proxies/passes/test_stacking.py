"""Several repeats as one network: the same values as one by one, and refusal of what would mix the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prejudge.proxies import Probe, resolve
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.network.stacking import refusal, stack
from prejudge.proxies.passes.memory import Limits
from prejudge.proxies.quantities import STAGES
from prejudge.proxies.scoring import score, score_repeats
from prejudge.spaces import space
from tests.proxies.cases import BUILT_IN, CASES, Functional

CELL_101 = {
    "matrix": [[0, 1, 1, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]],
    "ops": ["input", "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3", "output"],
}


def darts(**macro: Any) -> nn.Module:
    cells = space("darts")
    arch = cells.sample(np.random.default_rng(1))
    return cells.network(arch, num_classes=5, channels=4, cells=3, **macro)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: CASES[name] for name in ("nb201", "nb201-zero-cost-nas", "nb201-dead-end", "plain", "shared")},
    "functional": Functional,
    "nb101": lambda: space("nasbench101").network(CELL_101, num_classes=5, channels=8, stacks=2, cells=1),
    "darts": darts,
}

Repeats = tuple[list[nn.Module], list[Tensor], list[Tensor]]


def repeats(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float64, number: int = 3) -> Repeats:
    """Networks with weights of their own, each with its own batch and labels."""
    networks, inputs, targets = [], [], []
    with torch.random.fork_rng([]):
        for seed in range(number):
            torch.manual_seed(seed)
            network = make().to(dtype)
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d) and module.affine:
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, 0, 0.1)
            networks.append(network)
            inputs.append(torch.randn(6, 3, 12, 12, dtype=dtype))
            targets.append(torch.tensor([0, 1, 2, 0, 1, 4]).roll(seed))
    return networks, inputs, targets


def close(found: Any, expected: Any, what: str) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected), what
        for name in expected:
            close(found[name], expected[name], f"{what} of {name}")
    elif isinstance(expected, tuple):
        for pair in zip(found, expected, strict=True):
            close(*pair, what)
    elif isinstance(expected, Tensor):
        assert found.dtype == expected.dtype, what
        scale = float(expected.detach().abs().max()) if expected.numel() else 1.0
        torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-10, atol=1e-10 * scale, msg=what)
    else:
        assert found == expected, what


@pytest.mark.parametrize("name", NETWORKS)
def test_every_quantity_of_a_stack_is_that_of_each_network_alone(name: str) -> None:
    networks, inputs, targets = repeats(NETWORKS[name])
    reads, limits = list(STAGES), Limits(3, images=7)
    stacked = Probe.stacked(networks, inputs, targets, reads=reads, seeds=[5, 6, 7], limits=limits)
    assert len(stacked) == 3
    for r, (probe, network) in enumerate(zip(stacked, networks, strict=True)):
        alone = Probe(network, inputs[r], targets[r], reads=reads, seed=5 + r)
        for read in reads:
            found, expected = getattr(probe, read), getattr(alone, read)
            if callable(expected):
                found, expected = found(), expected()
            close(found, expected, f"{read} of repeat {r}")
        close(probe.inputs, alone.inputs, "inputs")
        close(dict(probe.network.named_parameters()), dict(alone.network.named_parameters()), "network")
    assert stacked[0].passes.limits == limits, "a smaller way was taken"


@pytest.mark.parametrize("name", ["nb201", "nb101", "darts", "shared"])
def test_every_proxy_of_a_stack_is_that_of_each_network_alone(name: str) -> None:
    networks, inputs, targets = repeats(NETWORKS[name], number=2)
    together = score_repeats(networks, inputs, targets, BUILT_IN, seeds=[5, 6])
    for r, found in enumerate(together):
        alone = score(networks[r], inputs[r], targets[r], BUILT_IN, seed=5 + r)
        assert list(found) == BUILT_IN
        for proxy in BUILT_IN:
            assert found[proxy].status == alone[proxy].status, proxy
            if alone[proxy].ok:
                assert float(found[proxy]) == pytest.approx(float(alone[proxy]), rel=1e-10, abs=1e-12), proxy


@pytest.mark.parametrize("name", ["nb201", "nb101", "darts", "plain"])
def test_single_precision_is_as_close_as_to_the_originals(name: str) -> None:
    networks, inputs, targets = repeats(NETWORKS[name], torch.float32, number=2)
    together = score_repeats(networks, inputs, targets, BUILT_IN, seeds=[5, 6])
    tolerance = {"grasp": 2e-3, "ntk_condition": 1e-2, "ntk_condition_tenas": 1e-2, "ntk_condition_fixed_bn": 1e-2}
    for r, found in enumerate(together):
        alone = score(networks[r], inputs[r], targets[r], BUILT_IN, seed=5 + r)
        for proxy in BUILT_IN:
            expected = pytest.approx(float(alone[proxy]), rel=tolerance.get(proxy, 1e-3), abs=1e-3, nan_ok=True)
            assert float(found[proxy]) == expected, proxy


def test_networks_without_labels_are_stacked_too() -> None:
    networks, inputs, _ = repeats(NETWORKS["nb201"])
    together = score_repeats(networks, inputs)
    assert [s.ok for s in together[0].values()] == [s.ok for s in score(networks[0], inputs[0]).values()]


def test_a_stack_leaves_its_networks_alone_and_shares_the_seconds() -> None:
    networks, inputs, targets = repeats(NETWORKS["nb201"], torch.float32)
    before = [{name: value.clone() for name, value in n.state_dict().items()} for n in networks]
    state = torch.get_rng_state()
    together = score_repeats(networks, inputs, targets)
    assert torch.equal(torch.get_rng_state(), state)
    for network, values in zip(networks, before, strict=True):
        assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
        assert all(p.grad is None for p in network.parameters()) and network.training
        assert all("forward" not in vars(m) and not m._forward_hooks for m in network.modules())
    probes = Probe.stacked(networks, inputs, targets, reads=["logits"])
    assert probes[0].seconds == {} and probes[0].logits.shape == (6, 5)
    assert probes[1].seconds == {"forward": probes[0].passes.clock.seconds["forward"] / 3}
    assert all(s.seconds > 0 for scores in together for n, s in scores.items() if n not in ("params", "l2_norm"))


class Mixing(nn.Module):
    """A network whose forward does something between its layers."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(F.relu(self.conv(x))).mean((2, 3)))


class Standardized(nn.Conv2d):
    """A layer with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True))


class Tied(nn.Module):
    """Two layers, one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 5)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(F.relu(self.a(x))).mean((2, 3)))


class Bypassed(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(F.conv2d(x, self.conv.weight)).mean((2, 3)))


def _tail(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5))


def hooked() -> nn.Module:
    network = NETWORKS["nb201"]()
    network.register_forward_hook(lambda *_: None)
    return network


MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "another norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), "GroupNorm '1' has parameters"),
    "another convolution": (lambda: Standardized(3, 4, 3), "Standardized '' has parameters"),
    "an architecture's parameters": (lambda: darts(form="stacnas-zero"), "has parameters or buffers of its own"),
    "hooks": (hooked, "has hooks"),
    "tied weights": (Tied, "shares a parameter with 'a'"),
}
FORWARDS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "centered on the batch": (lambda: Mixing(lambda x: x - x.mean(0, keepdim=True)), "'mean'"),
    "scaled by one number": (lambda: Mixing(lambda x: x / x.abs().max()), "'max'"),
    "half of the batch": (lambda: Mixing(lambda x: x[: len(x) // 2]), "'__getitem__'"),
    "reversed": (lambda: Mixing(lambda x: x.flip(0)), "'flip'"),
    "across images": (lambda: Mixing(lambda x: x.flatten(0, 1).roll(1, 0).unflatten(0, (-1, 4))), "'flatten'"),
    "noise": (lambda: Mixing(lambda x: x + torch.randn_like(x)), "'randn_like'"),
    "dropout": (lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(432, 5)), "'dropout'"),
    "norm without parameters": (
        lambda: nn.Sequential(nn.InstanceNorm2d(3), nn.Flatten(), nn.Linear(432, 5)),
        "'instance_norm'",
    ),
    "drop path": (lambda: darts(drop_path=0.2), "'new_empty'"),
    "a weight without its layer": (Bypassed, "they fail as one: InputError: the network cannot take"),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_that_cannot_be_stacked_are_refused(name: str) -> None:
    make, message = MODULES[name]
    assert message in refusal(make())
    with pytest.raises(Unstackable, match=r"has|shares"):
        stack([make(), make()])


@pytest.mark.parametrize("name", FORWARDS)
def test_forwards_that_may_mix_images_are_refused_and_scored_one_by_one(name: str) -> None:
    make, message = FORWARDS[name]
    networks, inputs, targets = repeats(make, torch.float32, number=2)
    assert not refusal(networks[0])
    with pytest.raises(Unstackable) as error:
        Probe.stacked(networks, inputs, targets)[0].loss  # noqa: B018
    assert message in str(error.value)
    if name == "half of the batch":
        return  # nor does it fit the labels
    proxies = ["snip", "naswot", "params"]
    together = score_repeats(networks, inputs, targets, proxies, seeds=[1, 2])
    for r, found in enumerate(together):
        alone = score(networks[r], inputs[r], targets[r], proxies, seed=1 + r)
        assert {n: (s.value, s.reason) for n, s in found.items() if s.ok} == {
            n: (s.value, s.reason) for n, s in alone.items() if s.ok
        }
        assert found["snip"].ok and found["params"].ok


def test_ordinary_forwards_are_not_refused() -> None:
    def between(x: Tensor) -> Tensor:
        x = torch.cat([x[:, :2], x[:, 2:] * 2.0], dim=1)
        x = x + torch.zeros_like(x) + x.new_zeros(x.shape)
        x = F.pad(x, (1, 1, 0, 0)).reshape(len(x), 2, 2, -1).view(x.shape[0], 4, -1, 2)
        return torch.sigmoid(x.permute(0, 1, 3, 2).transpose(2, 3)) * x.amax((2, 3), keepdim=True)

    networks, inputs, targets = repeats(lambda: Mixing(between))
    stacked = Probe.stacked(networks, inputs, targets)
    for r, probe in enumerate(stacked):
        torch.testing.assert_close(probe.loss, Probe(networks[r], inputs[r], targets[r]).loss, rtol=1e-12, atol=0)


def test_different_networks_or_batches_are_refused() -> None:
    (network, other), (x, y), labels = repeats(NETWORKS["nb201"], number=2)
    with pytest.raises(Unstackable, match="differ in their modules"):
        stack([network, NETWORKS["nb201-dead-end"]()])
    strided = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2))
    with pytest.raises(Unstackable, match="differ in their modules"):
        stack([strided, nn.Sequential(nn.Conv2d(3, 4, 3))])
    with pytest.raises(Unstackable, match="batches differ"):
        Probe.stacked([network, other], [x, y[:4]], [labels[0], labels[1][:4]])
    found = score_repeats([network, other], [x, y[:4]], [labels[0], labels[1][:4]], ["snip"])
    assert all(scores["snip"].ok for scores in found)


class _Waits(TorchDispatchMode):
    """Notes every operation that would make the host wait for a device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masked or name in self.NAMES:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def waits() -> Iterator[_Waits]:
    yield _Waits()


@pytest.mark.parametrize("number", [1, 3])
def test_no_pass_waits_for_the_device(waits: _Waits, number: int) -> None:
    networks, inputs, targets = repeats(NETWORKS["nb201"], torch.float32, number)
    reads = [read for read in STAGES if read != "gaussian_response"]
    probes = Probe.stacked(networks, inputs, targets, reads=reads, limits=Limits(number, images=6))
    with waits:
        for read in reads:
            value = getattr(probes[0], read)
            if callable(value):
                value()
    assert not waits.seen
    with waits:
        probes[0].gaussian_response()
    assert len(waits.seen) == number  # once for each repeat, at its end


@pytest.mark.gpu
def test_cuda_stack_equals_each_network_on_the_cpu() -> None:
    networks, inputs, targets = repeats(NETWORKS["nb201"], torch.float32)
    together = score_repeats(networks, inputs, targets, BUILT_IN, device="cuda")
    for r, found in enumerate(together):
        alone = score(networks[r], inputs[r], targets[r], BUILT_IN)
        for proxy in BUILT_IN:
            assert float(found[proxy]) == pytest.approx(float(alone[proxy]), rel=2e-2, abs=1e-3), proxy


@pytest.mark.gpu
@pytest.mark.parametrize("number", [1, 3])
def test_cuda_passes_do_not_wait(number: int) -> None:
    networks, inputs, targets = repeats(NETWORKS["nb201"], torch.float32, number)
    reads = {r for p in BUILT_IN for r in resolve([p])[0].proxy.reads} - {"gaussian_response"}
    for turn in range(2):  # the first turn loads kernels
        probes = Probe.stacked(networks, inputs, targets, reads=reads, device="cuda")
        torch.cuda.set_sync_debug_mode("error" if turn else "default")
        try:
            probes[0].passes.shared("weight_gradients")
        finally:
            torch.cuda.set_sync_debug_mode("default")
