from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import prejudge
from prejudge.errors import FileFormatError, MissingDataError
from prejudge.spaces.darts.genotype import Genotype
from prejudge.train.export.stacnas_model import official_names, read_stacnas_model
from prejudge.train.export.third_party import read_state_dict

# All operations that StacNAS uses, on edges of stride 1 and 2.
GENOTYPE = Genotype(
    normal=(("skip_connect", 0), ("sep_conv_3x3", 1), ("max_pool_3x3", 0), ("dil_conv_5x5", 2)),
    normal_concat=(2, 3),
    reduce=(("max_pool_3x3", 0), ("skip_connect", 1), ("avg_pool_3x3", 2), ("sep_conv_5x5", 1)),
    reduce_concat=(2, 3),
)
NUMBERS: dict[str, Any] = {"channels": 4, "cells": 5, "form": "stacnas", "auxiliary": True, "num_classes": 7}


def stand_in(module: str, name: str, **parts: Any) -> nn.Module:
    """A module of a class that can be found while it is pickled, and not afterwards."""
    home = sys.modules.setdefault(module, ModuleType(module))
    if not hasattr(home, name):
        setattr(home, name, type(name, (nn.Module,), {"__module__": module}))
    made = getattr(home, name)()
    for key, part in parts.items():
        setattr(made, key, part)
    return made


def block(name: str, layers: Any) -> nn.Module:
    return stand_in("operators", name, _ops=layers)


def reduce(layer: nn.Module) -> nn.Module:
    return stand_in(
        "operators", "FactorizedReduce", relu=nn.ReLU(), conv1=layer.conv_1, conv2=layer.conv_2, bn=layer.bn
    )


def operation(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Identity):
        return stand_in("operators", "Identity")
    if isinstance(layer, nn.Sequential):
        made = stand_in("operators", "PoolBN", pool=layer[0], bn=layer[1])
    elif hasattr(layer, "conv_1"):
        made = reduce(layer)
    elif len(layer.op) == 8:
        halves = [block("DilConv", nn.Sequential(*layer.op[at : at + 4])) for at in (0, 4)]
        made = block("SepConv", nn.Sequential(*halves))
    else:
        made = block("DilConv", layer.op)
    return nn.Sequential(made, stand_in("operators", "DropPath", _p=0.0))


def stacnas_model(network: nn.Module) -> nn.Module:
    """The same weights in modules with the names that StacNAS' code gives them."""
    cells = []
    for cell in network.cells:
        first = cell.preprocess0
        edges = [operation(layer) for layer in cell._ops]
        parts = {
            "_preproc0": reduce(first) if hasattr(first, "conv_1") else block("StdConv", first.op),
            "_preproc1": block("StdConv", cell.preprocess1.op),
            "_dag": nn.ModuleList(nn.ModuleList(edges[at : at + 2]) for at in range(0, len(edges), 2)),
        }
        cells.append(stand_in("cells", "AugmentCell", **parts))
    genotypes = [
        [list(edges[at : at + 2]) for at in range(0, len(edges), 2)] for edges in (GENOTYPE.normal, GENOTYPE.reduce)
    ]
    head = network.auxiliary_head
    auxiliary = stand_in("augment_cnn", "AuxiliaryHead", _features=head.features, _classifier=head.classifier)
    return stand_in(
        "augment_cnn", "AugmentCNN",
        _input_size=32, _channels_in=3, _channels_init=4, _num_cells=5, _num_nodes=2, _num_classes=7,
        _stem_multiplier=3, _auxiliary=True, _genotypes=genotypes, _alpha_share=True,
        _stem=network.stem, _cells=nn.ModuleList(cells), _aux_head=auxiliary,
        _global_pooling=nn.AdaptiveAvgPool2d(1), _classifier=network.classifier,
    )  # fmt: skip


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    network = prejudge.space("darts").network(GENOTYPE, **NUMBERS)
    network(torch.randn(8, 3, 32, 32))
    return network.eval()


def save(value: Any, path: Path, **options: Any) -> None:
    torch.save(value, path, **options)
    for module in ("augment_cnn", "cells", "operators"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_pickled_model_is_rebuilt_without_its_code(
    network: nn.Module, tmp_path: Path, zip_format: bool, wrapped: bool
) -> None:
    model = stacnas_model(network)
    path = tmp_path / "best.pth.tar"
    save(nn.DataParallel(model) if wrapped else model, path, _use_new_zipfile_serialization=zip_format)
    found = read_stacnas_model(path)
    assert found.genotype == GENOTYPE and found.macro == {**NUMBERS, "in_channels": 3}
    assert list(found.state) == list(network.state_dict())
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert found.network()(x).equal(network(x))
        assert found.network()(x, auxiliary=True)[1].equal(network(x, auxiliary=True)[1])


def test_a_state_dict_of_the_original_gets_official_names(network: nn.Module, tmp_path: Path) -> None:
    save(stacnas_model(network).state_dict(), tmp_path / "state.pt")
    assert list(official_names(read_state_dict(tmp_path / "state.pt"))) == list(network.state_dict())
    assert list(official_names(network.state_dict())) == list(network.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"_genotypes": [[[("skip_connect", 0)]], [[("skip_connect", 0)]]]},
        {"_genotypes": [[], []]},
        {"_genotypes": 3},
        {"_genotypes": None},
        {"_num_cells": -1},
        {"_num_classes": "7"},
        {"_alpha_share": False},
        {"_stem_multiplier": 1},
        {"_genotypes": [[[("conv_9x9", 0), ("skip_connect", 1)]]] * 2},
    ],
)
def test_other_models_are_refused(network: nn.Module, tmp_path: Path, change: dict[str, Any]) -> None:
    model = stacnas_model(network)
    for name, value in change.items():
        setattr(model, name, value)
    save(model, tmp_path / "a.pt")
    with pytest.raises(FileFormatError) as caught:
        read_stacnas_model(tmp_path / "a.pt")
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_model(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "a.pt")
    with pytest.raises(FileFormatError, match="holds no whole model"):
        read_stacnas_model(tmp_path / "a.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(
        FileFormatError, match=r"holds a torch.nn.modules.linear.Linear, not a final network of StacNAS"
    ):
        read_stacnas_model(tmp_path / "a.pt")
    with pytest.raises(MissingDataError):
        read_stacnas_model(tmp_path / "b.pt")
