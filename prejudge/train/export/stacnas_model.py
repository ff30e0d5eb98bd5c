"""Networks that StacNAS trained: whole models that its code pickled (arXiv:1909.11926, github.com/susan0199/StacNAS).

Such a file holds the cells and all numbers beside the weights, so that nothing else is needed to rebuild the network.
Modules have other names there than in DARTS; what they compute is the form ``stacnas`` of the space ``darts``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from prejudge.errors import FileFormatError, InputError
from prejudge.spaces.base import space
from prejudge.spaces.darts.genotype import Genotype
from prejudge.train.export.third_party import match_state_dict, read_model

_EDGE = re.compile(r"_dag\.(\d+)\.(\d+)\.(?:0\.)?(.*)")  # each operation but the identity comes with a drop-path
_REST = (
    (re.compile(r"^_(stem|cells|classifier)\."), r"\1."),
    (re.compile(r"^_aux_head\._"), "auxiliary_head."),
    (re.compile(r"\b_preproc([01])\._ops\."), r"preprocess\1.op."),
    (re.compile(r"\b_preproc([01])\.conv([12])\."), r"preprocess\1.conv_\2."),
    (re.compile(r"\b_preproc([01])\.bn\."), r"preprocess\1.bn."),
)
_SEPARABLE = re.compile(r"_ops\.([01])\._ops\.(\d)\.")
_LAYERS = 4  # of each half of a separable convolution
_NUMBERS = {
    "num_classes": "_num_classes", "channels": "_channels_init", "cells": "_num_cells", "in_channels": "_channels_in",
    "auxiliary": "_auxiliary",
}  # fmt: skip


@dataclass(frozen=True)
class StacNASModel:
    """The content of a pickled StacNAS network.

    Attributes:
        genotype: Its cells.
        macro: Its macro-architecture, for ``space("darts").network``.
        state: Its weights under the names of that network.
    """

    genotype: Genotype
    macro: dict[str, Any]
    state: dict[str, Tensor]

    def network(self) -> nn.Module:
        """The network with its weights, in evaluation mode."""
        network = space("darts").network(self.genotype, **self.macro)
        network.load_state_dict(match_state_dict(network, self.state))
        return network.eval()


def read_stacnas_model(path: Path | str) -> StacNASModel:
    """Read a final network that StacNAS' ``augment.py`` saved, without its code and without running anything in it.

    Args:
        path: ``best.pth.tar`` or ``cifar10.pth.tar``: the model, also within DataParallel or under a key of a dict.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is damaged, or not such a network.
    """
    model = read_model(path)
    try:
        cells = model.attributes["_genotypes"]
        if len(cells) != 2 or model.attributes["_stem_multiplier"] != 3 or not model.attributes["_alpha_share"]:
            raise InputError("only networks of one normal and one reduction cell behind the usual stem can be read")
        macro = {ours: model.attributes[theirs] for ours, theirs in _NUMBERS.items()} | {"form": "stacnas"}
        macro["auxiliary"] = bool(macro["auxiliary"])
        genotype = _genotype(cells)
        space("darts").macro(**macro)
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(
            f"{path} holds a {model.kind}, not a final network of StacNAS; read_state_dict reads its weights"
        ) from error
    return StacNASModel(genotype, macro, official_names(model.state))


def official_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A StacNAS state dict under the names that DARTS gives the same modules.

    Args:
        state: Of StacNAS' ``AugmentCNN``; names that are not of it stay.
    """
    return {_official(name, state): tensor for name, tensor in state.items()}


def _genotype(cells: Any) -> Genotype:
    normal, reduce = ([(str(op), int(source)) for node in cell for op, source in node] for cell in cells)
    concat = [range(2, 2 + len(edges) // 2) for edges in (normal, reduce)]
    return Genotype(tuple(normal), tuple(concat[0]), tuple(reduce), tuple(concat[1]))


def _official(name: str, state: Mapping[str, Tensor]) -> str:
    for pattern, replacement in _REST:
        name = pattern.sub(replacement, name)
    found = _EDGE.search(name)
    if found is None:
        return name
    start, node, edge, layer = name[: found.start()], int(found[1]), int(found[2]), found[3]
    separable = _SEPARABLE.match(layer)
    if separable:
        layer = f"op.{int(separable[1]) * _LAYERS + int(separable[2])}.{layer[separable.end() :]}"
    elif layer.startswith("_ops."):
        layer = f"op.{layer.removeprefix('_ops.')}"
    elif layer.startswith("conv"):
        layer = layer.replace("conv1", "conv_1").replace("conv2", "conv_2")
    elif layer.startswith("bn.") and f"_{start}_dag.{node}.{edge}.0.conv1.weight" not in state:
        layer = (
            f"1.{layer.removeprefix('bn.')}"  # the batch norm after a pool, not that of a skip connection of stride 2
        )
    return f"{start}_ops.{2 * node + edge}.{layer}"
