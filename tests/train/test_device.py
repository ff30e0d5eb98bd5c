"""Number formats, layouts, compilation, and a full memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import prejudge
from prejudge.errors import InputError, PrejudgeError
from prejudge.search.supernet.arch_parameters import SoftmaxParameters
from prejudge.search.supernet.architect import FirstOrderArchitect
from prejudge.search.supernet.learner import SupernetLearner
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.network import NetworkDARTS
from prejudge.spaces.darts.operations import drop_path
from prejudge.train.device import DeviceConfig, OutOfMemory
from prejudge.train.learner import SupervisedLearner, fit
from prejudge.train.loop import TrainState, run_epochs
from prejudge.train.recipes.recipe import Recipe
from tests.fills import Given, images

RECIPE = Recipe(epochs=1, batch_size=4, learning_rate=0.02, nesterov=False, max_grad_norm=5.0)
AT = TrainState(0, 1, 0, 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return prejudge.space("darts").network("DARTS_V2", channels=4, cells=3)


def search(machine: DeviceConfig) -> SupernetLearner:
    torch.manual_seed(0)
    supernet = machine.place(prejudge.space("nasbench201").supernet(channels=4, cells=1))
    arch_parameters = SoftmaxParameters(supernet.candidates).to(machine.device)
    return SupernetLearner(
        supernet, arch_parameters, RECIPE, machine, FirstOrderArchitect(arch_parameters.parameters(), Given([5, 6]))
    )  # type: ignore[arg-type]


def losses(machine: DeviceConfig) -> list[float]:
    learner = SupervisedLearner(network(), RECIPE, machine)
    learner.begin_epoch(0)
    return [float(learner.step(*machine.take(*images(s)), TrainState(0, 1, s, 3)).loss) for s in range(3)]


def test_bf16_computes_in_bf16_and_learns_in_fp32() -> None:
    seen: list[torch.dtype] = []
    machine, small = DeviceConfig(precision="bf16"), network()
    hook = lambda module, inputs, output: seen.append(output.dtype)  # noqa: E731
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(hook)
    learner = SupervisedLearner(small, RECIPE, machine)
    learner.begin_epoch(0)
    outcome = learner.step(*machine.take(*images(1)), AT)
    assert seen and set(seen) == {torch.bfloat16} and outcome.loss.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in small.parameters())
    assert losses(machine) == pytest.approx(losses(DeviceConfig()), rel=0.05)


def test_channels_last_changes_the_layout_alone() -> None:
    assert losses(DeviceConfig(channels_last=True)) == pytest.approx(losses(DeviceConfig()), rel=1e-3)


def test_a_supernet_searches_in_bf16() -> None:
    learner = search(DeviceConfig(precision="bf16"))
    before = learner.arch_parameters.weights()["cell"].clone()
    (epoch,) = run_epochs(learner, Given([1, 2]), 1, device_config=learner.device_config)
    assert epoch.train_loss < 5 and not torch.equal(learner.arch_parameters.weights()["cell"], before)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_searches_on_cuda(precision: str) -> None:
    machine = DeviceConfig("cuda", precision, channels_last=True)
    assert losses(machine) == pytest.approx(losses(DeviceConfig()), rel=0.05)
    learner, plain = search(machine), search(DeviceConfig("cuda"))
    found, expected = (
        s.architect.gradients(s, s.device_config.take(*images(1)), s.device_config.take(*images(2)), AT)[0]  # type: ignore[attr-defined]
        for s in (learner, plain)
    )
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1 * scale)  # unscaled


@pytest.mark.gpu
def test_an_architecture_step_that_overflows_is_left_out_on_cuda() -> None:
    learner = search(DeviceConfig("cuda", "fp16"))
    learner.begin_epoch(0)
    learner.weight_step(
        *learner.device_config.take(*images(1)), AT, lambda x, y: (learner.loss(x, y), torch.zeros(4, 10))
    )
    architect = learner.architect
    assert isinstance(architect, FirstOrderArchitect)
    before = [p.detach().clone() for p in architect.parameters]
    scale = learner.weight_step.state_dict()["scaler"]["scale"]
    for parameter in architect.parameters:
        parameter.grad = torch.full_like(parameter, torch.inf)
    learner.weight_step.move(architect.optimizer)
    learner.weight_step(
        *learner.device_config.take(*images(1)), AT, lambda x, y: (learner.loss(x, y), torch.zeros(4, 10))
    )
    assert all(torch.equal(p, q) for p, q in zip(architect.parameters, before, strict=True))
    assert learner.weight_step.state_dict()["scaler"]["scale"] < scale


def test_fp16_is_for_cuda() -> None:
    with pytest.raises(InputError, match="fp16 trains on CUDA devices only"):
        DeviceConfig(precision="fp16")


class Full(nn.Linear):
    """Runs out of memory as torch does on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.empty(1 << 60)


def test_a_full_memory_is_said_in_one_line() -> None:
    with pytest.raises(
        OutOfMemory, match="cpu has no memory left: lower batch_size, or raise accumulation_steps"
    ) as caught:
        fit(Full(5, 3), Few(), RECIPE)
    assert isinstance(caught.value, PrejudgeError) and "\n" not in str(caught.value)


class Few:
    """One batch."""

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int) -> list[tuple[Tensor, Tensor]]:  # type: ignore[override]
        return [(torch.randn(6, 5), torch.arange(6) % 3)]


def test_what_cannot_be_compiled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = DeviceConfig(compile=True)
    with pytest.raises(InputError, match="train them without compile"):
        search(machine)

    def cannot(self: nn.Module) -> None:
        raise RuntimeError("there is no compiler\nat all")

    monkeypatch.setattr(nn.Module, "compile", cannot)
    with pytest.raises(InputError, match=r"cannot be compiled here; train without compile .*there is no compiler"):
        SupervisedLearner(network(), RECIPE, machine)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_network_learns_the_same() -> None:
    def learned(machine: DeviceConfig) -> list[float]:
        torch.manual_seed(0)
        small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 10))
        learner = SupervisedLearner(small, RECIPE, machine)
        learner.begin_epoch(0)
        return [float(learner.step(*images(s), TrainState(0, 1, s, 3)).loss) for s in range(3)]

    assert learned(DeviceConfig(compile=True)) == pytest.approx(learned(DeviceConfig()), rel=1e-3)


class OnePath(nn.Module):
    """The smallest network that drops paths."""

    drop_path_prob: float | Tensor = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(drop_path(x, self.drop_path_prob).mean((2, 3)))


def cells() -> nn.Module:
    edges = (("max_pool_3x3", 0), ("sep_conv_3x3", 1))
    return NetworkDARTS(Genotype(edges, (2,), edges, (2,)), MacroConfigDARTS(channels=2, cells=3))


@pytest.mark.parametrize(
    ("make", "backend"),
    [
        (cells, "eager"),
        pytest.param(
            OnePath,
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on the CPU"),
            ],
        ),
    ],
)
def test_a_compiled_network_drops_paths_and_is_not_compiled_for_every_epoch(
    make: Callable[[], nn.Module], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_by = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_by(self, backend=backend))

    def learned(machine: DeviceConfig, drop_path: float) -> list[float]:
        torch.manual_seed(0)
        recipe = Recipe(epochs=4, drop_path=drop_path, learning_rate=0.01)
        learner = SupervisedLearner(make(), recipe, machine)
        losses = []
        for epoch in range(recipe.epochs):
            with torch.compiler.set_stance("fail_on_recompile" if epoch and machine.compile else "default"):
                learner.begin_epoch(epoch)
                losses.append(float(learner.step(*images(epoch), TrainState(epoch, recipe.epochs, 0, 1)).loss))
        return losses

    plain, dropping = learned(DeviceConfig(), 0.0), learned(DeviceConfig(compile=True), 0.9)
    assert dropping[0] == pytest.approx(plain[0], rel=1e-3), "nothing is dropped in the first epoch"
    assert all(abs(dropping[epoch] - plain[epoch]) > 1e-3 for epoch in (1, 2, 3))
