"""Third-party proxies that change what they should only read, or the process, fail alone; others keep their bits."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prejudge import score
from prejudge.engine.process_state import ProcessState
from prejudge.errors import InputError
from prejudge.proxies import registry
from tests.proxies.cases import batch, case

OTHERS = ["snip", "naswot", "zen", "synflow", "grad_norm", "params"]


@pytest.fixture
def define() -> Iterator[Callable[..., str]]:
    """Register a function as a third-party proxy, for the length of a test."""
    before = dict(registry.register.items)

    def add(body: Callable[[Any], Any], **declared: Any) -> str:
        def function(probe: Any) -> Any:
            return body(probe)

        registry.proxy("mine", reference="none", needs_labels=True, **declared)(function)
        return "mine"

    yield add
    registry.register.items.clear()
    registry.register.items.update(before)


def weight(probe: Any) -> torch.Tensor:
    return next(iter(probe.network.parameters()))


def in_place(probe: Any) -> None:
    with torch.no_grad():
        weight(probe).mul_(3)


def through_data(probe: Any) -> None:
    weight(probe).data.zero_()


def another_storage(probe: Any) -> None:
    with torch.no_grad():
        weight(probe).set_(torch.randn_like(weight(probe)))


def another_dtype(probe: Any) -> None:
    probe.network.double()


def another_parameter(probe: Any) -> None:
    layer = next(m for m in probe.network.modules() if isinstance(m, nn.Conv2d))
    layer.weight = nn.Parameter(layer.weight.detach().clone())


def another_module(probe: Any) -> None:
    name = next(n for n, m in probe.network.named_modules() if isinstance(m, nn.BatchNorm2d))
    probe.network.set_submodule(name, nn.Identity())


def buffer(probe: Any) -> None:
    probe.network.register_buffer("mine", torch.ones(2))


def requires_grad(probe: Any) -> None:
    probe.network.requires_grad_(False)


def hook(probe: Any) -> None:
    probe.network.register_forward_hook(lambda *_: None)


def environment(_: Any) -> None:
    os.environ["HOME"] = "/nowhere"


def inputs(probe: Any) -> None:
    probe.inputs.zero_()


def targets(probe: Any) -> None:
    probe.targets.data.fill_(0)


def autocast(_: Any) -> None:
    torch.set_autocast_enabled("cpu", True)


CHANGES: dict[str, Callable[[Any], Any]] = {
    **{f.__name__: f for f in (in_place, through_data, another_storage, another_dtype, another_parameter)},
    **{f.__name__: f for f in (another_module, buffer, requires_grad, hook, environment, inputs, targets, autocast)},
    "eval": lambda probe: probe.network.eval(),
    "dtype": lambda _: torch.set_default_dtype(torch.float64),
    "device": lambda _: torch.set_default_device("meta"),
    "threads": lambda _: torch.set_num_threads(torch.get_num_threads() + 1),
    "gradients off": lambda _: torch.set_grad_enabled(False),
    "deterministic": lambda _: torch.use_deterministic_algorithms(True),
    "matmul": lambda _: torch.set_float32_matmul_precision("medium"),
    "cudnn": lambda _: setattr(torch.backends.cudnn, "enabled", False),
    "hook of all": lambda _: torch.nn.modules.module.register_module_forward_hook(lambda *_: None),
    "folder": lambda _: os.chdir("/"),
}
NAMED = {
    "inputs": "mine changed probe.inputs in place",
    "targets": "mine changed probe.targets in place",
    "dtype": "mine changed torch's default dtype, which all scores share; it was put back",
    "folder": "mine changed the working folder",
    "environment": "mine changed the environment variables",
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_fails_by_name_and_the_others_keep_their_bits(define: Callable[..., str], change: str) -> None:
    def body(probe: Any) -> float:
        CHANGES[change](probe)
        return float(probe.logits.sum())  # a pass that others read runs after the change

    name = define(body, reads=["logits"])
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    before, expected = ProcessState(x.device), score(network, x, y, OTHERS)
    images, labels = x.clone(), y.clone()
    found = score(network, x, y, [name, *OTHERS])
    assert found[name].status == "failed"
    assert NAMED.get(change, "mine changed ") in found[name].reason
    assert {n: found[n].value for n in OTHERS} == {n: s.value for n, s in expected.items()}
    assert before.put_back() is None
    assert x.equal(images) and y.equal(labels)
    again = score(network, x, y, OTHERS)  # the next architecture
    assert {n: s.value for n, s in again.items()} == {n: s.value for n, s in expected.items()}


@pytest.mark.parametrize("form", [dict, tuple])
def test_several_inputs_are_copied_too(define: Callable[..., str], form: type) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = case("plain", torch.float32)

        def forward(self, x: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(x) + shift
            return logits

    (x, y), shift = batch(torch.float32), torch.arange(6.0)[:, None]
    inputs: Any = {"x": x, "shift": shift} if form is dict else (x, shift)
    expected = score(Shifted(), inputs, y, ["snip"])["snip"].value

    def body(probe: Any) -> float:
        logits = probe.logits_of(probe.network)
        if change:
            next(iter(probe.inputs.values() if form is dict else probe.inputs)).zero_()
        return float((logits - probe.logits).detach().abs().max())

    name = define(body, reads=["logits"])
    for change in (False, True):
        found = score(Shifted(), inputs, y, [name, "snip"])
        assert found["snip"].value == expected
        assert found[name].ok != change
    assert found[name].reason == "mine changed probe.inputs in place; change copy.deepcopy(probe.inputs)"


def harmless_quantities(probe: Any) -> float:
    for gradient in probe.weight_gradients.values():
        gradient.abs_()
    probe.weights.clear()
    probe.logits.zero_()
    return float(sum(g.sum() for g in probe.weight_gradients.values()))


def harmless_backward(probe: Any) -> float:
    nn.functional.cross_entropy(probe.network(probe.inputs), probe.targets).backward()
    return float(sum(p.grad.abs().sum() for p in probe.network.parameters() if p.grad is not None))


def harmless_draws(probe: Any) -> float:
    return float(torch.rand(())) + random.random() + float(np.random.rand())  # noqa: NPY002


def harmless_inference(probe: Any) -> float:
    with torch.inference_mode():
        return float(probe.network(probe.inputs).sum() + probe.logits.sum())


def harmless_settings(probe: Any) -> float:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        return float(probe.weight_gradients["classifier"].double().sum() + probe.network(probe.inputs).sum())


@pytest.mark.parametrize(
    "body", [harmless_quantities, harmless_backward, harmless_draws, harmless_inference, harmless_settings]
)
def test_what_only_its_own_copies_see_is_allowed(define: Callable[..., str], body: Callable[[Any], Any]) -> None:
    name = define(body, reads=["weight_gradients", "weights", "logits"])
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    expected = score(network, x, y, OTHERS)
    draws = [torch.get_rng_state(), random.getstate(), str(np.random.get_state())]  # noqa: NPY002
    found = score(network, x, y, [name, *OTHERS])
    assert found[name].ok, found[name].reason
    assert found[name].value == score(network, x, y, [*OTHERS, name])[name].value, "it depends on its place"
    assert {n: found[n].value for n in OTHERS} == {n: s.value for n, s in expected.items()}
    assert torch.get_rng_state().equal(draws[0]) and random.getstate() == draws[1]
    assert str(np.random.get_state()) == draws[2]  # noqa: NPY002
    assert all(p.grad is None for p in network.parameters())


def test_nan_weights_are_no_change(define: Callable[..., str]) -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    name = define(lambda probe: float(sum(p.numel() for p in probe.network.parameters())))
    assert score(network, x, y, [name])[name].ok


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda: None, "NoneType"),
        (lambda: "3.5", "str, not a number"),
        (lambda: 1j, "complex, not a number"),
        (lambda: torch.tensor(1 + 0j), "complex, not a number"),
        (lambda: np.complex64(1), "complex64, not a number"),
        (lambda: torch.zeros(2), "a tensor of shape (2,)"),
        (lambda: np.zeros((1, 2)), "an array of shape (1, 2)"),
        (lambda: torch.zeros((), device="meta"), "meta"),
        (lambda: 10**400, "OverflowError"),
        (lambda: float("inf"), "inf"),
        (lambda: [1.0], "TypeError"),
        (lambda: (i for i in range(3)), "TypeError"),
    ],
)
def test_what_is_no_number_fails(define: Callable[..., str], value: Callable[[], Any], reason: str) -> None:
    x, y = batch(torch.float32)
    name = define(lambda _: value())
    found = score(case("plain", torch.float32), x, y, [name, "params"])
    assert found["params"].ok
    assert found[name].status == "failed" and reason in found[name].reason


@pytest.mark.parametrize("value", [3, True, np.float32(3), np.int64(3), np.array([3.0]), torch.tensor([[3]])])
def test_numbers_of_every_kind_are_scores(define: Callable[..., str], value: Any) -> None:
    x, y = batch(torch.float32)
    name = define(lambda _: value)
    assert score(case("plain", torch.float32), x, y, [name])[name].value == float(np.asarray(value).item())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(0), "it raised SystemExit (0)"),
        (GeneratorExit(), "it raised GeneratorExit"),
        (BaseException("all of it"), "it raised BaseException (all of it)"),
        (InputError("not for me"), "InputError: not for me"),
        (MemoryError(), "MemoryError"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
)
def test_whatever_it_raises_is_its_own_failure(define: Callable[..., str], error: BaseException, reason: str) -> None:
    def body(_: Any) -> float:
        torch.set_default_dtype(torch.float64)
        raise error

    x, y = batch(torch.float32)
    name = define(body)
    found = score(case("plain", torch.float32), x, y, [name, "snip"])
    assert found["snip"].ok and torch.get_default_dtype() == torch.float32
    assert reason in found[name].reason


def test_a_proxy_that_ends_the_process_ends_itself_alone(define: Callable[..., str]) -> None:
    x, y = batch(torch.float32)
    name = define(lambda _: os._exit(0))
    found = score(case("plain", torch.float32), x, y, [name, "snip"])
    assert found["snip"].ok
    assert found[name].reason == "it raised SystemExit (0)"


def test_ctrl_c_stays_the_users(define: Callable[..., str]) -> None:
    def body(_: Any) -> float:
        raise KeyboardInterrupt

    x, y = batch(torch.float32)
    with pytest.raises(KeyboardInterrupt):
        score(case("plain", torch.float32), x, y, [define(body)])


def test_a_pass_that_the_network_refuses_is_the_callers_error(define: Callable[..., str]) -> None:
    x, y = batch(torch.float32)
    name = define(lambda probe: probe.logits.sum(), reads=["logits"])
    with pytest.raises(InputError, match="cannot take a batch"):
        score(case("plain", torch.float32), x[:, :2], y, [name])
