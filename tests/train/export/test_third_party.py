from __future__ import annotations

import os
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.train.checkpoint import CheckpointManager
from prejudge.train.export.third_party import match_state_dict, read_model, read_state_dict
from tests.hostile_pickles import Call, Touch
from tests.train.hostile_files import MAGIC, program, rebuild, write_zip

FORMATS = pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.classifier = nn.Linear(4, 2)
        self.again = self.classifier
        self.register_buffer("mask", torch.ones(3))
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.register_buffer("none", None)
        self.genotype, self.width, self.hook = [("skip", 0)], 4, Path("x")


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Network()


def same(found: dict[str, Tensor], network: nn.Module) -> bool:
    expected = network.state_dict()
    return list(found) == list(expected) and all(found[name].equal(expected[name]) for name in expected)


@FORMATS
@pytest.mark.parametrize(
    "wrap",
    [
        lambda n: n.state_dict(),
        lambda n: dict(n.state_dict()),
        lambda n: {"epoch": 3, "state_dict": n.state_dict(), "best_acc_top1": 97.0, "optimizer": {"state": {}}},
        lambda n: {"model": nn.DataParallel(n).state_dict(), "args": Namespace(lr=0.1)},
        lambda n: {"net": {f"module._orig_mod.{k}": v for k, v in n.state_dict().items()}},
        lambda n: {"state": {"learner": {"network": n.state_dict(), "optimizer": 1}}, "format": "x"},
        lambda n: n,
        lambda n: nn.DataParallel(n),
        lambda n: nn.DataParallel(nn.DataParallel(n)),
        lambda n: {"model": n, "epoch": 1},
    ],
)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_weights_in_every_wrapping(network: nn.Module, tmp_path: Path, wrap: Any, zip_format: bool) -> None:
    torch.save(wrap(network), tmp_path / "a.pt", _use_new_zipfile_serialization=zip_format)
    assert same(read_state_dict(tmp_path / "a.pt"), network)


def test_own_checkpoints_and_safetensors(network: nn.Module, tmp_path: Path) -> None:
    keeper = CheckpointManager(tmp_path, {"network": "x"})
    state = {"learner": {"network": network.state_dict()}, "finished": False, "random": {}}
    assert same(read_state_dict(keeper.save(1, state)), network)
    safetensors.torch.save_model(network, str(tmp_path / "a.safetensors"))
    found = read_state_dict(tmp_path / "a.safetensors")
    assert found["conv.0.weight"].equal(network.state_dict()["conv.0.weight"])
    (tmp_path / "a.safetensors").write_bytes(b"x")
    with pytest.raises(FileFormatError, match="safetensors"):
        read_state_dict(tmp_path / "a.safetensors")


def test_weights_under_a_key(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"ema": network.state_dict(), "epoch": 3}, path)
    assert same(read_state_dict(path, key="ema"), network)
    with pytest.raises(InputError, match=r"nothing under 'emma' \(it has ema, epoch\)"):
        read_state_dict(path, key="emma")
    with pytest.raises(
        FileFormatError, match=r"ema in it is a collections.OrderedDict, not a tensor; .* \(it has ema, epoch\)"
    ):
        read_state_dict(path)


@FORMATS
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_model_tells_its_attributes(network: nn.Module, tmp_path: Path, zip_format: bool) -> None:
    torch.save(nn.DataParallel(network), tmp_path / "a.pt", _use_new_zipfile_serialization=zip_format)
    found = read_model(tmp_path / "a.pt")
    assert found.kind.endswith("test_third_party.Network") and same(found.state, network)
    assert found.attributes["genotype"] == [("skip", 0)] and found.attributes["width"] == 4
    assert "hook" not in found.attributes and "_parameters" not in found.attributes


@FORMATS
def test_nothing_is_run(network: nn.Module, tmp_path: Path, zip_format: bool) -> None:
    touch = Touch(tmp_path / "ran")
    network.hook = touch  # type: ignore[assignment]
    values: list[tuple[Any, bool]] = [
        (touch, False),
        ({"a": touch}, False),
        ({"state_dict": network.state_dict(), "epoch": touch}, True),
        (network, True),
        ({"state_dict": Call(os.system, f"touch {tmp_path / 'ran'}")}, False),
        ({"state_dict": {"weight": Call(eval, f"open({str(tmp_path / 'ran')!r}, 'w')")}}, False),
        (Call(getattr, Call(__import__, "os"), "system"), False),
        (OrderedDict(a=Call(torch.load, str(tmp_path / "b.pt"))), False),
        ({"a": Call(torch._utils._rebuild_parameter, touch, True, OrderedDict())}, False),
    ]
    for value, readable in values:
        torch.save(value, tmp_path / "a.pt", _use_new_zipfile_serialization=zip_format)
        if readable:
            assert same(read_state_dict(tmp_path / "a.pt"), network)
        else:
            with pytest.raises(FileFormatError) as caught:
                read_state_dict(tmp_path / "a.pt")
            assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
        assert not (tmp_path / "ran").exists()
    torch.save({"a": Touch(tmp_path / "ran")}, tmp_path / "a.pt")
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert (tmp_path / "ran").exists(), "the attack works where files are read freely"


def module(**state: Any) -> Call:
    """An instance of a class of modules with these attributes."""
    return _Module(state)  # type: ignore[return-value]


class _Module:
    def __init__(self, state: dict[str, Any]):
        self.state = state

    def __reduce__(self) -> Any:
        return object.__new__, (nn.Module,), self.state


def test_hostile_models(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    cyclic: dict[str, Any] = {"_modules": {}, "_parameters": {"w": rebuild()}}
    itself = _Module(cyclic)
    cyclic["_modules"]["a"] = itself
    doubled: Any = module(_modules={}, _parameters={})
    for _ in range(60):
        doubled = module(_modules={"a": doubled, "b": doubled}, _parameters={})
    long: Any = module(_modules={"x" * 2000: module(_modules={}, _parameters={"w": rebuild()})})
    endless: list[Any] = []
    for _ in range(60):
        endless = [endless, endless]
    cases: list[tuple[Any, str]] = [
        (itself, "contain themselves"),
        (doubled, "modules, or of modules"),
        (long, "contain themselves"),
        (module(_modules=3, _parameters=4), "no weights"),
        (module(_modules={}, _parameters={"w": 3}), "w is a int, not a tensor"),
        (module(_modules={}, _parameters={"w\n\x1b": Call(os.getcwd)}), r"w   is a \w+.getcwd, not a tensor"),
        (3, "no weights"),
        ([], "no weights"),
        ({}, "no weights"),
        ({"x" * 1000: 3}, "x…"),
        ({3: rebuild()}, "a int in it"),
    ]
    for value, words in cases:
        write_zip(path, program(value), {"0": bytes(16)})
        with pytest.raises(FileFormatError, match=words) as caught:
            read_state_dict(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    write_zip(
        path, program(module(_modules={}, _parameters={"w": rebuild()}, bomb=endless, fine=[1])), {"0": bytes(16)}
    )
    assert read_model(path).attributes["fine"] == [1]
    path.write_bytes(b"".join(map(program, [*MAGIC, {"a": 1}, []])))
    with pytest.raises(FileFormatError, match="a in it is a int, not a tensor"):
        read_state_dict(path)
    with pytest.raises(FileFormatError, match="no whole model"):
        read_model(path)
    with pytest.raises(MissingDataError):
        read_state_dict(tmp_path / "nothing.pt")


def test_a_fitting_state_loads(network: nn.Module) -> None:
    other = Network()
    state = network.state_dict()
    state["auxiliary_head.classifier.weight"] = torch.ones(2)
    del state["conv.1.num_batches_tracked"]  # as torch before 0.4.1 saved it
    other.load_state_dict(match_state_dict(other, state))
    assert same(dict(other.state_dict()), network)
    with pytest.raises(InputError, match=r"1 tensors are too many \(auxiliary_head.classifier.weight\)"):
        match_state_dict(other, state, spare=())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv.0.weight": None}, r"1 tensors are missing \(conv.0.weight\)"),
        ({"conv.9.weight": torch.ones(1)}, r"1 tensors are too many \(conv.9.weight\)"),
        ({"classifier.bias": torch.ones(7)}, r"are of another shape \(classifier.bias 7 there and 2 here\)"),
        ({"classifier.bias": torch.ones(2, dtype=torch.int32)}, r"classifier.bias 2 int32 there and 2 here"),
        ({"mask": torch.tensor(1.0)}, "mask scalar there and 3 here"),
        ({"conv.0.weight": torch.ones(4, 3, 5, 5)}, "conv.0.weight 4×3×5×5 there and 4×3×3×3 here"),
        ({f"x{i}": torch.ones(1) for i in range(9)}, r"9 tensors are too many \(x0, x1, x2, …\)"),
    ],
)
def test_another_architecture_is_named(network: nn.Module, change: dict[str, Any], words: str) -> None:
    state = {name: tensor for name, tensor in {**network.state_dict(), **change}.items() if tensor is not None}
    with pytest.raises(InputError, match="weights of another architecture: .*" + words) as caught:
        match_state_dict(network, state)
    assert "\n" not in str(caught.value)
