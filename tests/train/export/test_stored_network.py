"""Networks from files that say what they are, and from files that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prejudge.data.loading import digits
from prejudge.data.splits import Splits
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces import published_genotype, space
from prejudge.train.export.stored_network import ExpectedNetwork, read_network
from prejudge.train.export.weights import export_weights
from prejudge.train.recipes.recipe import Recipe
from prejudge.train.training import train as train_network
from tests.train.export.test_stacnas_model import GENOTYPE, NUMBERS, stacnas_model

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
NB201 = space("nasbench201")
SMALL: dict[str, Any] = {"channels": 4, "cells": 1, "stages": 1, "num_classes": 10, "in_channels": 1}
EXPECTED = ExpectedNetwork(NB201, NB201.parse(CELL), SMALL)


def equal(network: nn.Module, other: nn.Module) -> bool:
    """Whether two networks, in evaluation mode, say the same."""
    x = torch.randn(2, SMALL["in_channels"], 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.equal(network.eval()(x), other.eval()(x))


def test_state_dicts_need_their_architecture(tmp_path: Path) -> None:
    network = NB201.network(NB201.parse(CELL), **SMALL)
    path = tmp_path / "plain.pt"
    torch.save(network.state_dict(), path)
    found = read_network(path, EXPECTED)
    assert (found.kind, found.metadata.space, found.metadata.architecture) == ("state dict", "nasbench201", CELL)
    assert equal(found.network, network)
    fitting = {name: SMALL[name] for name in ("num_classes", "in_channels")}
    chosen = {name: value for name, value in SMALL.items() if name not in fitting}
    assert equal(read_network(path, ExpectedNetwork(NB201, NB201.parse(CELL), chosen, fitting)).network, network)
    with pytest.raises(InputError, match="holds weights without their architecture; give --arch"):
        read_network(path)
    torch.save({"mine": network.state_dict(), "epoch": 3}, tmp_path / "keyed.pt")
    assert equal(read_network(tmp_path / "keyed.pt", EXPECTED, key="mine").network, network)
    other = NB201.parse(CELL.replace("skip_connect", "nor_conv_1x1"))
    with pytest.raises(
        InputError, match=r"plain\.pt: these are the weights of another architecture: \d+ tensors are missing"
    ):
        read_network(path, ExpectedNetwork(NB201, other, SMALL))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_checkpoint_gives_what_was_evaluated(tmp_path: Path, ema: float) -> None:
    train = digits().subset(slice(64))
    recipe = Recipe(epochs=1, batch_size=32, ema_decay=ema)
    folder = tmp_path / "run"
    chosen = {k: v for k, v in SMALL.items() if k in ("channels", "cells", "stages")}
    train_network(
        "nasbench201", CELL, Splits(train), recipe, folder=folder, selection="last", macro=chosen, tensorboard=False
    )
    exported = read_network(folder)
    assert exported.metadata.image_size == 8
    checkpoint = read_network(folder / "last.pt")
    assert checkpoint.kind == "checkpoint after epoch 1"
    assert equal(checkpoint.network, exported.network)
    assert equal(read_network(folder / "weights.safetensors", EXPECTED).network, exported.network)


def test_an_export_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    export_weights(
        EXPECTED.space.network(EXPECTED.architecture, **SMALL), path, space=NB201, architecture=CELL, macro=SMALL
    )
    with pytest.raises(InputError, match="holds a network with channels 4 and not 8; leave these out"):
        read_network(path, ExpectedNetwork(NB201, EXPECTED.architecture, {"channels": 8}))
    with pytest.raises(InputError, match="holds another architecture of nasbench201"):
        read_network(path, ExpectedNetwork(NB201, NB201[0], {}))
    darts = ExpectedNetwork(space("darts"), published_genotype("DARTS_V2").genotype, {})
    with pytest.raises(InputError, match="holds another architecture"):
        read_network(path, darts)


def test_a_pickled_stacnas_network_is_read_without_its_code(tmp_path: Path) -> None:
    network = space("darts").network(GENOTYPE, **NUMBERS)
    path = tmp_path / "cifar10.pth.tar"
    torch.save(stacnas_model(network), path)
    found = read_network(path)
    assert (found.kind, found.metadata.architecture, found.metadata.macro["num_classes"]) == (
        "pickled StacNAS network",
        str(GENOTYPE),
        7,
    )
    torch.save(stacnas_model(network).state_dict(), tmp_path / "state.pth")
    again = read_network(tmp_path / "state.pth", ExpectedNetwork(space("darts"), GENOTYPE, NUMBERS))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(found.network(x), network.eval()(x))
        assert torch.equal(again.network(x), network(x))


def test_what_is_no_network_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no file"):
        read_network(tmp_path / "gone.pt")
    with pytest.raises(MissingDataError, match="has no exported weights"):
        read_network(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    for name in ("broken.safetensors", "broken.pt"):
        with pytest.raises(FileFormatError, match=name) as raised:
            read_network(tmp_path / name)
        assert "\n" not in str(raised.value)
