"""Trained networks in any file: our own exports and checkpoints, state dicts, and models that StacNAS pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces.base import Architecture, Space
from prejudge.spaces.base import space as space_named
from prejudge.train.checkpoint import read_checkpoint
from prejudge.train.export.safetensors_file import read_tensors
from prejudge.train.export.stacnas_model import official_names, read_stacnas_model
from prejudge.train.export.third_party import match_state_dict, read_state_dict
from prejudge.train.export.weights import WeightsMetadata, load_weights
from prejudge.train.files import WEIGHTS

_EXPORTS = (WEIGHTS, "network.safetensors")
"""Names of the exported weights in the folder of a run."""


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """A network from a file, in evaluation mode on the CPU.

    Attributes:
        network: The network with its weights.
        kind: The kind of the file, in words.
        metadata: Space, architecture and macro-architecture, and all else that the file says.
    """

    network: nn.Module
    kind: str
    metadata: WeightsMetadata


@dataclass(frozen=True, eq=False)
class ExpectedNetwork:
    """The network that the user expects in a file that does not say it itself.

    Attributes:
        space: The space.
        architecture: The architecture.
        macro: Macro-architecture fields that are not the space's defaults.
        fitting: Macro-architecture fields that follow from the images, for files that do not say them.
    """

    space: Space[Any]
    architecture: Architecture
    macro: Mapping[str, Any]
    fitting: Mapping[str, Any] = field(default_factory=dict)


def read_network(path: Path | str, expected: ExpectedNetwork | None = None, *, key: str | None = None) -> StoredNetwork:
    """Make the network whose weights a file holds; nothing in the file is run.

    Args:
        path: An export of :func:`~prejudge.train.export.weights.export_weights`, the folder of a training (its exported
            weights), a checkpoint of a training, a state dict of any program, or a pickled network of StacNAS.
        expected: Architecture and macro-architecture, needed for state dicts alone; of other files it is checked.
        key: Under which key of the file the weights are, where that is not clear.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is damaged, or holds no weights.
        InputError: The weights are those of another architecture, or nobody says which architecture it is.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    if not path.is_file():
        raise MissingDataError(f"no file {path} with weights")
    if path.suffix == ".safetensors" and (expected is None or _is_ours(path)):
        return _export(path, expected)
    if expected is None:
        return _self_describing(path)
    # The wrappers' names first, then StacNAS's own, which its state dicts have too.
    state = read_state_dict(path, key=key)
    return _filled(path, state, expected)


def _in_folder(folder: Path) -> Path:
    for name in _EXPORTS:
        if (folder / name).is_file():
            return folder / name
    exported = sorted(folder.glob("*.safetensors"))
    if len(exported) == 1:
        return exported[0]
    raise MissingDataError(f"{folder} has no exported weights; name a file in it, or let its training end first")


def _is_ours(path: Path) -> bool:
    return "prejudge_weights" in read_tensors(path)[1]


def _export(path: Path, expected: ExpectedNetwork | None) -> StoredNetwork:
    """An export, if it is of the architecture that the user expects."""
    network, found = load_weights(path)
    if expected is None:
        return StoredNetwork(network, "exported weights", found)
    if found.space != expected.space.name or expected.space.parse(found.architecture) != expected.architecture:
        raise InputError(
            f"{path} holds another architecture of {found.space}: {found.architecture}; leave --arch out to evaluate it"
        )
    different = {k: v for k, v in expected.macro.items() if found.macro.get(k) != v}
    if different:
        there = ", ".join(f"{k} {found.macro.get(k)} and not {v}" for k, v in different.items())
        raise InputError(f"{path} holds a network with {there}; leave these out to evaluate it")
    return StoredNetwork(network, "exported weights", found)


def _self_describing(path: Path) -> StoredNetwork:
    """A checkpoint of a training, or a whole model: the two kinds that say which network they are of."""
    attempts: list[Callable[[Path], StoredNetwork]] = [_checkpoint, _pickled]
    for attempt in attempts:
        try:
            return attempt(path)
        except (FileFormatError, _SaysNothing):
            continue
    read_state_dict(path)  # says it where there are no weights at all
    raise InputError(
        f"{path} holds weights without their architecture; give --arch, and --space and --macro where they are not "
        "the usual ones"
    )


class _SaysNothing(Exception):
    """A checkpoint whose plan names no network."""


def _checkpoint(path: Path) -> StoredNetwork:
    found = read_checkpoint(path)
    plan, learner = found.plan, found.state.get("learner", {})
    said = [plan.get(name) for name in ("space", "architecture", "macro")]
    if not isinstance(said[0], str) or not isinstance(said[1], str) or not isinstance(said[2], dict):
        raise _SaysNothing
    if not isinstance(learner, dict) or not all(isinstance(name, str) for name in said[2]):
        raise _SaysNothing
    where = space_named(said[0])
    expected = ExpectedNetwork(where, where.parse(said[1]), said[2])
    average = learner.get("average")
    state = _averaged(average) if isinstance(average, dict) else learner.get("network")
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise FileFormatError(f"{path} is a checkpoint without the weights of a network")
    return replace(_filled(path, state, expected), kind=f"checkpoint after epoch {found.epoch}")


def _averaged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights within the moving average of them."""
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items() if name != "n_averaged"}


def _pickled(path: Path) -> StoredNetwork:
    model = read_stacnas_model(path)
    metadata = WeightsMetadata("darts", str(model.genotype), model.macro)
    return StoredNetwork(model.network(), "pickled StacNAS network", metadata)


def _filled(path: Path, state: Mapping[str, Tensor], expected: ExpectedNetwork) -> StoredNetwork:
    where, numbers = expected.space, {**expected.fitting, **expected.macro}
    if "auxiliary" in where.default_macro:
        numbers["auxiliary"] = False
    with torch.device("meta"):
        network = where.network(expected.architecture, **numbers)
    try:
        matched = match_state_dict(network, state)
    except InputError as error:
        try:  # StacNAS' names for the same modules
            matched = match_state_dict(network, official_names(state))
        except InputError:
            raise InputError(f"{path}: {error}") from None
    network.load_state_dict(matched, assign=True)
    network.requires_grad_(True)
    metadata = WeightsMetadata(where.name, str(expected.architecture), numbers)
    return StoredNetwork(network.eval(), "state dict", metadata)
