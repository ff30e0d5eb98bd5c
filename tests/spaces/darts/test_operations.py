"""The DARTS operations against the originals' figures, their definitions, and odd image sides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.spaces.darts.genotype import OPERATIONS
from prejudge.spaces.darts.operations import Noise, drop_path, operation, preprocess
from prejudge.spaces.nn.operations import FactorizedReduce, ReLUConvBN
from prejudge.spaces.nn.reduction import Reduction

SWITCHES = {
    "darts_search": {"affine": False, "pool_norm": True},
    "darts_final": {},
    "ista_onestage_final": {"pool_norm": True, "skip_norm": True},
}


def build(tag: str) -> nn.Module:
    """The module of one golden case, e.g. ``darts_search/sep_conv_3x3/s2``."""
    group, name, *stride = tag.split("/")
    if group in SWITCHES:
        return operation(name, 4, int(stride[0][1]), **SWITCHES[group])
    if group == "preprocess":
        return preprocess(4, 6, halve=name == "factorized_reduce", affine=False)
    if name.startswith("nor_conv"):
        kernel = int(name[-1])
        return ReLUConvBN([nn.Conv2d(4, 4, kernel, padding=kernel // 2, bias=False)], affine=False)
    return Reduction(4, 8) if name == "resnet_block_s2" else operation(name, 4, 1)


def input_gradient(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output, and the input gradient of its inner product with cos(0, 1, 2, …)."""
    x = x.clone().requires_grad_()
    y = module(x)
    if not y.requires_grad:
        return y, torch.zeros_like(x)
    weights = torch.cos(torch.arange(y.numel(), dtype=x.dtype)).view_as(y)
    return y.detach(), torch.autograd.grad((y * weights).sum(), x)[0]


def test_operations_equal_the_originals(golden: Path) -> None:
    cases = json.loads((golden / "supernets" / "ops.json").read_text())["entries"]
    with np.load(golden / "supernets" / "ops.npz", allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    assert len(cases) > 50
    for case in cases:
        tag = case["tag"]
        module = build(tag)
        parameters = list(module.named_parameters())
        assert [name for name, _ in parameters] == case["param_names"], tag
        for i, (_, parameter) in enumerate(parameters):
            assert list(parameter.shape) == case["param_shapes"][i], tag
            parameter.data.copy_(arrays[f"{tag}/p{i}"])
        y, dx = input_gradient(module, arrays["x"])
        torch.testing.assert_close(y, arrays[f"{tag}/y_train"], rtol=1e-5, atol=1e-5, msg=tag)
        torch.testing.assert_close(dx, arrays[f"{tag}/dx"], rtol=1e-5, atol=2e-5, msg=tag)
        y = module.eval()(arrays["x"])
        torch.testing.assert_close(y, arrays[f"{tag}/y_eval_after1"], rtol=1e-5, atol=1e-5, msg=tag)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_every_operation_halves_any_side_upwards(name: str, stride: int, switches: dict[str, bool]) -> None:
    module = operation(name, 4, stride, **switches)
    for height, width in [(8, 8), (7, 7), (5, 8), (1, 3), (1, 1)]:
        half = -(-height // stride), -(-width // stride)
        assert module(torch.randn(3, 4, height, width)).shape == (3, 4, *half), (height, width)
    assert all(p.dim() != 1 for p in module.parameters()) or switches.get("affine", True)
    assert not any(getattr(m, "inplace", False) for m in module.modules())


def test_factorized_reduce_takes_even_and_odd_pixels_and_zeros_beyond_an_odd_border() -> None:
    torch.manual_seed(0)
    module = FactorizedReduce(3, 4, affine=False).double()
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    seen = []
    module.bn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    module(x)
    even, odd = module.conv_1.weight[:, :, 0, 0], module.conv_2.weight[:, :, 0, 0]
    expected = torch.zeros(2, 4, 3, 4, dtype=torch.float64)
    for i in range(3):
        for j in range(4):
            expected[:, :2, i, j] = x[:, :, 2 * i, 2 * j].clamp(min=0) @ even.T
            if 2 * i + 1 < 5 and 2 * j + 1 < 7:
                expected[:, 2:, i, j] = x[:, :, 2 * i + 1, 2 * j + 1].clamp(min=0) @ odd.T
    torch.testing.assert_close(seen[0], expected)


def test_factorized_reduce_shares_an_odd_number_of_channels() -> None:
    assert FactorizedReduce(2, 5)(torch.randn(2, 2, 4, 4)).shape == (2, 5, 2, 2)


def test_none_is_zero_and_passes_no_gradient() -> None:
    x = torch.full((2, 4, 4, 4), float("inf"), requires_grad=True)
    y = operation("none", 4, 2)(x)
    assert not y.requires_grad
    assert torch.equal(y, torch.zeros(2, 4, 2, 2))


def test_noise_is_fresh_standard_normal_of_the_inputs_kind_without_gradient() -> None:
    torch.manual_seed(0)
    module = Noise(2)
    x = torch.full((64, 4, 8, 8), 1e6, dtype=torch.float64, requires_grad=True)
    y = module(x)
    assert y.dtype == torch.float64
    assert not y.requires_grad
    assert abs(float(y.mean())) < 0.05
    assert abs(float(y.std()) - 1) < 0.05
    assert not torch.equal(y, module(x))


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_stay_on_the_inputs_device(name: str) -> None:
    assert operation(name, 4, 2).cuda()(torch.randn(2, 4, 7, 7, device="cuda")).device.type == "cuda"


def test_only_the_identity_and_the_poolings_take_the_switches() -> None:
    plain = {name: sum(p.numel() for p in operation(name, 4, 1).parameters()) for name in OPERATIONS}
    normed = {
        name: sum(p.numel() for p in operation(name, 4, 1, pool_norm=True, skip_norm=True).parameters())
        for name in OPERATIONS
    }
    assert {name for name in OPERATIONS if plain[name] != normed[name]} == {
        "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    }  # fmt: skip
    assert isinstance(operation("skip_connect", 4, 1), nn.Identity)
    assert isinstance(operation("skip_connect", 4, 2, skip_norm=True), FactorizedReduce)


def test_a_wrong_name_or_stride_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown darts operation 'sep_conv_3x4'; did you mean 'sep_conv_3x3'\?"):
        operation("sep_conv_3x4", 4, 1)
    with pytest.raises(InputError, match="the stride of an operation is 1 or 2, not 3"):
        operation("none", 4, 3)


def test_drop_path_equals_the_originals(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(golden / "supernets" / "stacnas_final.npz", allow_pickle=False) as file:
        x, mask, expected = (torch.from_numpy(file[name]) for name in ("dp_in", "dp_mask", "dp_out"))
    monkeypatch.setattr(Tensor, "bernoulli_", lambda self, keep: self.copy_(mask))
    torch.testing.assert_close(drop_path(x, 0.2), expected)


@pytest.mark.parametrize("probability", [0.3, torch.tensor(0.3)])
def test_drop_path_drops_whole_images_and_keeps_the_mean(probability: float | Tensor) -> None:
    torch.manual_seed(0)
    y = drop_path(torch.ones(4000, 2, 2, 2), probability)
    per_image = y.flatten(1)
    assert torch.equal(per_image.amin(1), per_image.amax(1))
    torch.testing.assert_close(per_image[:, 0].unique(), torch.tensor([0.0, 1 / 0.7]))
    assert abs(float(y.mean()) - 1) < 0.05
