"""Kernel condition and linear regions of supernets: the original's figures, plain oracles, and what stays untouched."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prejudge.engine.random_state import own_random_state
from prejudge.proxies.kernels.spectrum import condition_number
from prejudge.proxies.passes.jacobian import exact_kernel
from prejudge.search.pruning import convention_protocol
from prejudge.search.pruning.inputs import MeasurementInputs, draw_inputs, image_set
from prejudge.search.pruning.measurement import channels_last_convolutions, count_regions, measurer
from prejudge.search.pruning.pruning_space import Active, pruning_space
from prejudge.search.pruning.rounds import NetworkMeasurement, NetworkTask
from prejudge.spaces import space
from prejudge.spaces.nn.supernet import Supernet, Weighted, uniform
from tests.search.pruning import oracles

CASES = {
    "nb201_full4": "nasbench201",
    "nb201_full4_minus_2_3": "nasbench201",
    "nb201_keep1": "nasbench201",
    "darts_full7": "darts",
    "darts_keep1": "darts",
}


class Original:
    """A stored network of the released code."""

    def __init__(self, golden: Path, case: str):
        with np.load(golden / "tenas" / f"supernet_{case}.npz") as stored:
            self.arrays = {name: stored[name] for name in stored.files}
        self.results = json.loads(str(self.arrays["meta"]))["results"]
        self.space = space(CASES[case])
        self.pruning_space = pruning_space(self.space)
        kinds = self.pruning_space.start
        self.active: Active = {
            kind: tuple(tuple(np.flatnonzero(row == 0).tolist()) for row in alphas)
            for kind, alphas in zip(kinds, self.arrays["alphas"], strict=True)
        }

    def network(self, which: str) -> Weighted:
        numbers = self.pruning_space.kernel if which == "p" else self.pruning_space.thin
        network: Supernet = self.space.supernet(**self.pruning_space.supernet_options, **numbers)
        names = sorted(n for n in self.arrays if n[0] == which and n[1:].isdigit())
        # The thin network of the original has a stem that it never runs.
        values = [self.arrays[n] for n in names][0 if which == "p" else 3 :]
        for parameter, value in zip(network.parameters(), values, strict=True):
            assert parameter.shape == value.shape
            parameter.data.copy_(torch.from_numpy(value.astype(np.float32)))
        return Weighted(network, uniform(self.active)).train()

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name].astype(np.float32))


@pytest.mark.parametrize("case", CASES)
def test_kernels_equal_the_originals(golden: Path, case: str) -> None:
    original = Original(golden, case)
    network, images = original.network("p"), original.tensor("x")
    with torch.no_grad():
        np.testing.assert_allclose(network(images).numpy(), original.arrays["logits"], rtol=1e-5, atol=1e-6)
    expected = original.arrays["ntk"]
    for arranged in (False, True):  # as it is, and as searches run it
        if arranged:
            channels_last_convolutions(network)
        (found,) = exact_kernel(network, images)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        assert condition_number(found) == pytest.approx(original.results["ntk_cond_f64"], rel=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_regions_equal_the_originals(golden: Path, case: str) -> None:
    original = Original(golden, case)
    network, batches = original.network("t"), original.tensor("lr_x").split(200)
    assert count_regions(network, batches) == original.results["linear_regions"]
    # Not the number alone: the same images share a pattern.
    whole = [tuple(row) for row in original.arrays["act_patterns"]]
    assert len(set(whole)) == original.results["unique_patterns"]


def active(name: str) -> Active:
    return pruning_space(space(name)).start


@pytest.mark.parametrize("name", ["nasbench201", "darts-s2"])
def test_figures_equal_the_plain_oracles(name: str) -> None:
    found = pruning_space(space(name))
    with own_random_state(3):
        thin = Weighted(space(name).supernet(**found.supernet_options, **found.thin), uniform(found.start)).train()
        wide = Weighted(space(name).supernet(**found.supernet_options, **found.kernel), uniform(found.start)).train()
        crops, images = torch.randn(300, 1, 3, 3), torch.randn(6, 3, 8, 8)
    assert count_regions(thin, crops.split(100)) == pytest.approx(oracles.regions(thin, crops.split(100)))
    assert condition_number(exact_kernel(wide, images)[0]) == pytest.approx(oracles.condition(wide, images), rel=1e-3)


def test_regions_of_networks_that_are_no_supernets() -> None:
    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.flatten(1))

    x = torch.tensor([[1.0, -1.0], [2.0, -3.0], [-1.0, 1.0]])
    assert count_regions(Functional(), [x]) == 2
    assert count_regions(Functional(), [x[:1], x[1:]]) == 2


def data(n: int = 24, side: int = 9, channels: int = 3) -> Any:
    return image_set(np.random.default_rng(0).integers(0, 256, (n, side, side, channels), dtype=np.uint8), 4)


def measured(name: str, task: NetworkTask, *, seed: int = 0, **changes: Any) -> NetworkMeasurement:
    protocol = convention_protocol("default", crops=50, crop_batches=2, **changes)
    found = pruning_space(space(name))
    draws = {r: draw_inputs(data(), protocol, 8, seed, task.stage, r) for r in range(2)}
    return measurer(space(name), found, protocol, draws, 4, "cpu")(task)


@pytest.mark.parametrize("kernel", ["exact", "fixed-bn"])
@pytest.mark.parametrize("initialization", ["torch", "kaiming"])
@pytest.mark.parametrize("name", ["nasbench201", "darts-s4"])
def test_a_task_gives_the_same_figures_again(name: str, kernel: str, initialization: str) -> None:
    """darts-s4 has an operation that draws noise when it runs."""
    task = NetworkTask(0, 1, "unpruned", active(name))
    first, second = (measured(name, task, kernel=kernel, initialization=initialization) for _ in range(2))
    assert first[:2] == second[:2]
    assert first.condition > 1
    assert 1 < first.regions <= 100
    assert not first.reason
    assert measured(name, task, kernel=kernel, initialization=initialization, seed=1)[:2] != first[:2]


def test_only_what_is_wanted_is_measured() -> None:
    found = measured("nasbench201", NetworkTask(0, 0, "unpruned", active("nasbench201"), kernel=False))
    assert math.isnan(found.condition)
    assert found.regions > 1
    found = measured("nasbench201", NetworkTask(0, 0, "unpruned", active("nasbench201"), regions=False))
    assert math.isnan(found.regions)
    assert found.condition > 1


def test_a_measurer_gives_each_repeat_its_weights() -> None:
    protocol, found = convention_protocol("default", crops=50), pruning_space(space("nasbench201"))
    draws = {r: draw_inputs(data(), protocol, 8, 0, 0, r) for r in range(2)}
    tasks = [NetworkTask(0, r, "unpruned", found.start) for r in (0, 1, 0)]
    measure = measurer(space("nasbench201"), found, protocol, draws, 4, "cpu")
    one, other, again = (measure(task)[:2] for task in tasks)
    assert one == again != other


def test_a_kernel_without_a_condition_number_is_a_stated_failure() -> None:
    protocol, found = convention_protocol("default", crops=50), pruning_space(space("nasbench201"))
    same: MeasurementInputs = replace(draw_inputs(data(), protocol, 8, 0, 0, 0), images=torch.ones(4, 3, 8, 8))
    result = measurer(space("nasbench201"), found, protocol, {0: same}, 4, "cpu")(NetworkTask(0, 0, "x", found.start))
    assert math.isnan(result.condition)
    assert "singular" in result.reason
    assert result.regions > 1


def test_the_callers_random_state_and_gradient_mode_stay() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with torch.no_grad():
        assert measured("nasbench201", NetworkTask(0, 0, "unpruned", active("nasbench201"))).condition > 1
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)
