"""The contract of ``prejudge.score``: what it leaves alone, what it refuses, and how scores fail."""

from __future__ import annotations

import copy
import math
import os
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies import Probe, Score, default_names, registry, resolve
from prejudge.proxies.scoring import score
from tests.proxies.cases import Functional, batch, case, nb201

NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def test_the_network_and_the_random_state_are_left_as_they_were() -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    network.eval()
    network.classifier.weight.grad = torch.ones_like(network.classifier.weight)
    network.classifier.bias.requires_grad_(False)
    calls: list[int] = []
    network.classifier.register_forward_hook(lambda *_: None)
    hooks = [len(m._forward_hooks) for m in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x_before = x.clone()
    torch.manual_seed(11)
    expected_draw = torch.rand(3)
    torch.manual_seed(11)
    score(network, x, y)
    assert torch.equal(torch.rand(3), expected_draw)
    assert torch.equal(x, x_before) and x.grad is None and not x.requires_grad
    assert not network.training
    assert not network.classifier.bias.requires_grad
    assert torch.equal(network.classifier.weight.grad, torch.ones_like(network.classifier.weight))
    assert all(p.grad is None for n, p in network.named_parameters() if n != "classifier.weight")
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [len(m._forward_hooks) for m in network.modules()] == hooks
    assert all("forward" not in vars(m) for m in network.modules())
    assert not calls


def test_scores_are_repeatable_and_independent_of_what_else_is_asked() -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    first, second = score(network, x, y), score(network, x, y)
    assert {n: s.value for n, s in first.items()} == {n: s.value for n, s in second.items()}
    assert list(first) == default_names()
    assert all(s.ok and s.seconds > 0 for n, s in first.items() if n not in ("params", "l2_norm"))


def test_one_proxy_needs_no_list() -> None:
    network, (x, y) = case("nb201"), batch()
    (request,) = resolve("naswot")
    assert score(network, x, y, "snip")["snip"].value == score(network, x, y, ["snip"])["snip"].value
    assert list(score(network, x, y, request)) == list(score(network, x, proxies="naswot")) == ["naswot"]


def test_without_targets_the_proxies_that_need_none_are_scored() -> None:
    network, (x, _) = case("nb201"), batch()
    scores = score(network, x)
    assert "jacob_cov" in scores
    assert "snip" not in scores
    with pytest.raises(InputError, match="snip needs labels"):
        score(network, x, None, ["snip"])


@pytest.mark.parametrize("form", ["official", "zero-cost-nas"])
def test_a_cell_of_nothing_fails_where_a_score_would_be_meaningless(form: str) -> None:
    x, y = batch(torch.float32)
    scores = score(nb201(NONE, form), x, y)
    for name in ("jacob_cov", "epe_nas", "naswot", "ntk_condition", "zen", "logsynflow", "ntk_condition_fixed_bn"):
        assert scores[name].status == "failed", name
        assert math.isnan(float(scores[name]))
        assert scores[name].reason and "\n" not in scores[name].reason
    for name in ("params", "flops", "l2_norm", "grad_norm", "snip"):
        assert scores[name].ok, name


def test_nan_weights_fail_with_a_reason_and_lose_nothing_else() -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    with torch.no_grad():
        network.classifier.weight[0, 0] = float("nan")
    scores = score(network, x, y)
    assert not scores["snip"].ok and "nan" in scores["snip"].reason
    assert scores["params"].ok
    assert scores["naswot"].ok


def test_one_proxys_exception_is_its_own_failed_score() -> None:
    @registry.proxy("broken_for_the_test", reference="none")
    def broken(probe: Any) -> float:
        """Always fails."""
        raise ZeroDivisionError("on purpose")

    @registry.proxy("vector_for_the_test", reference="none", reads=["logits"])
    def vector(probe: Any) -> Tensor:
        """No number."""
        return probe.logits

    network, (x, y) = case("nb201"), batch()
    try:
        scores = score(network, x, y, ["broken_for_the_test", "vector_for_the_test", "snip"])
    finally:
        del registry.register.items["broken_for_the_test"], registry.register.items["vector_for_the_test"]
    reason = scores["broken_for_the_test"].reason
    assert re.fullmatch(r"ZeroDivisionError: on purpose \(test_scoring\.py, line \d+\)", reason)
    assert "not a number" in scores["vector_for_the_test"].reason
    assert scores["snip"].ok


class NoDoubleBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("cannot be differentiated twice")
        return grad * 2


def test_a_pass_that_the_network_does_not_support_fails_alone() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = case("plain", torch.float32)

        def forward(self, x: Tensor) -> Tensor:
            return NoDoubleBackward.apply(self.body(x))

    x, y = batch(torch.float32)
    scores = score(Stubborn(), x, y, ["snip", "grasp", "jacob_cov"])
    assert scores["snip"].ok and scores["jacob_cov"].ok
    assert not scores["grasp"].ok and "RuntimeError" in scores["grasp"].reason


def test_functional_relus_are_seen() -> None:
    x, y = batch(torch.float32)
    network = Functional()
    found = score(network, x, y, ["naswot", "linear_regions"])
    with torch.no_grad():
        on = (network.norm(network.conv(x)) > 0).flatten(1).double()
    expected = torch.linalg.slogdet(on @ on.T + (1 - on) @ (1 - on).T)[1]
    assert float(found["naswot"]) == pytest.approx(float(expected), rel=1e-9)
    assert float(found["linear_regions"]) == 6


def test_a_network_without_activations_fails_naswot_with_a_reason() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(400, 5))
    x, y = batch(torch.float32)
    assert "no activation" in score(network, x, y, ["naswot"])["naswot"].reason


def test_linear_regions_counts_distinct_patterns() -> None:
    network, (x, _) = case("nb201", torch.float32), batch(torch.float32)
    x = torch.cat([x, x[:2]])
    assert float(score(network, x, None, ["linear_regions"])["linear_regions"]) == 6


def test_zen_equals_its_formula() -> None:
    network, (x, y) = case("nb201"), batch()
    found = score(network, x, y, ["zen(images=4, scale=0.05)"], seed=9)
    (value,) = found.values()
    assert list(found) == ["zen(images=4, scale=0.05)"]
    torch.manual_seed(9)
    network = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name.endswith("weight") and p.dim() > 1:
                p.copy_(torch.randn_like(p))
            else:
                p.fill_(1.0 if name.endswith("weight") else 0.0)
        form = torch.empty(4, *x.shape[1:], dtype=x.dtype).to(memory_format=torch.channels_last)
        images = torch.randn_like(form)
        noisy = images + 0.05 * torch.randn_like(form)
        features: list[Tensor] = []
        variances: list[Tensor] = []
        network.lastact.register_forward_hook(lambda _, __, output: features.append(output.clone()))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_pre_hook(
                    lambda _, args: variances.append(args[0].var((0, 2, 3), unbiased=False).mean())
                )
        network(images)
        total = sum(0.5 * v.log() for v in variances)
        network(noisy)
    change = torch.stack([(a - b).norm() for a, b in zip(*features, strict=True)]).mean()
    assert float(value) == pytest.approx(float(change.log() + total), rel=1e-6)


def test_flops_count_convolutions_and_the_classifier_with_its_bias() -> None:
    from prejudge.spaces import space

    cells = space("nasbench201")
    network = cells.network(3, num_classes=7, channels=4, cells=2, in_channels=1)
    x = torch.zeros(2, 1, 16, 16)
    scores = score(network, x, None, ["flops", "params"])
    assert float(scores["flops"]) == cells.flops(cells[3], 16, num_classes=7, channels=4, cells=2, in_channels=1)
    assert float(scores["params"]) == cells.params(cells[3], num_classes=7, channels=4, cells=2, in_channels=1)


def test_fast_mode_is_close_to_exact() -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    wanted = [
        "grad_norm",
        "snip",
        "fisher",
        "jacob_cov",
        "ntk_trace",
        "synflow",
        "naswot",
        "grasp",
        "ntk_condition_fixed_bn",
    ]
    exact, fast = score(network, x, y, wanted), score(network, x, y, wanted, mode="fast")
    for name in ("grad_norm", "snip", "ntk_trace", "naswot"):
        assert float(fast[name]) == pytest.approx(float(exact[name]), rel=0.1), name
    assert float(fast["synflow"]) == float(exact["synflow"])  # always in float64
    assert float(fast["grasp"]) == pytest.approx(float(exact["grasp"]), rel=1e-3)  # always in full precision
    assert all(s.ok for s in fast.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.zeros(0, 3, 12, 12)}, "the batch is empty"),
        ({"inputs": torch.zeros(6, 4, 12, 12)}, "cannot take a batch of shape"),
        ({"inputs": torch.zeros(6, 3, 12, 12, dtype=torch.uint8)}, "must be floating point"),
        ({"inputs": torch.zeros(6)}, "batch first"),
        ({"targets": torch.tensor([0, 1, 2, 0, 1, 5])}, "label 5 is out of range"),
        ({"targets": torch.tensor([0, 1, 2, 0, 1, -1])}, "label -1 is out of range"),
        ({"targets": torch.tensor([0, 1])}, "6 class indices"),
        ({"targets": torch.zeros(6)}, "6 class indices"),
        ({"proxies": ["snipe"]}, "unknown proxy 'snipe'; did you mean 'snip'"),
        ({"proxies": []}, "no proxy requested"),
        ({"proxies": ["zen(image=3)"]}, "unknown option of zen 'image'"),
        ({"proxies": ["zen(3"]}, "cannot read proxy"),
        ({"proxies": ["./no_such_file.py:mine"]}, "no proxy file"),
        ({"mode": "quick"}, "unknown mode"),
        ({"device": "nowhere"}, "nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(change: dict[str, Any], message: str) -> None:
    x, y = batch(torch.float32)
    arguments: dict[str, Any] = {"inputs": x, "targets": y, "proxies": ["snip"]} | change
    if len(arguments["inputs"]) == 0:
        arguments["targets"] = y[:0]
    with pytest.raises(InputError) as error:
        score(case("nb201", torch.float32), **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_batch_of_one_is_refused_by_a_kernel_that_needs_two() -> None:
    x, y = batch(torch.float32)
    with pytest.raises(InputError, match="jacob_cov needs a batch of at least 2, not 1"):
        score(case("nb201", torch.float32), x[:1], y[:1], ["jacob_cov"])
    assert score(case("nb201", torch.float32), x[:1], y[:1], ["synflow"])["synflow"].ok


def test_a_network_that_returns_several_tensors_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": x, "aux": x}

    x, y = batch(torch.float32)
    with pytest.raises(InputError, match="must return logits"):
        score(Two(), x, y, ["snip"])


def test_a_score_is_a_float_or_a_stated_failure() -> None:
    assert float(Score(2.0)) == 2.0 and Score(2.0).status == "ok"
    failed = Score.failed("two\nlines")
    assert math.isnan(float(failed)) and failed.reason == "two lines" and not failed.ok


def test_the_probe_runs_each_pass_once_and_only_if_it_is_read() -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    probe = Probe(network, x, y, reads=["weight_gradients", "input_gradient"])
    assert not probe.seconds
    probe.weight_gradients  # noqa: B018
    stages = dict(probe.seconds)
    assert set(stages) == {"forward", "loss backward", "input backward"}
    probe.input_gradient  # noqa: B018
    assert probe.seconds == stages


def test_the_exact_kernel_does_not_depend_on_grouping(monkeypatch: pytest.MonkeyPatch) -> None:
    from prejudge.proxies.passes import jacobian
    from tests.proxies.oracles import jacobian_kernel

    network, (x, _) = case("nb201"), batch()
    expected = jacobian_kernel(network, x)
    monkeypatch.setattr(jacobian, "_groups", lambda weights, *_: [[w] for w in reversed(weights)])
    (found,) = jacobian.exact_kernel(network, x)
    np.testing.assert_allclose(found.detach().numpy(), expected.numpy(), rtol=1e-10)


@pytest.mark.gpu
def test_cuda_scores_equal_the_cpus() -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    here, there = score(network, x, y), score(network, x, y, device="cuda")
    for name in here:
        assert float(there[name]) == pytest.approx(float(here[name]), rel=5e-3), name


def test_torchvision_networks_are_scored() -> None:
    torchvision = pytest.importorskip("torchvision")
    if os.environ.get("PREJUDGE_SKIP_TORCHVISION"):
        pytest.skip("PREJUDGE_SKIP_TORCHVISION is set")
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5)
    x, y = batch(torch.float32, side=32)
    scores = score(network, x, y)
    assert all(s.ok for s in scores.values()), {n: s.reason for n, s in scores.items() if not s.ok}
