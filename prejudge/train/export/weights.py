"""Trained networks as safetensors files that say what they hold: weights, architecture, classes, normalization.

A safetensors file is a header of names, shapes and texts, and then numbers; there is nothing in it that could run. Any
program reads the weights; :func:`load_weights` makes the network again, from the file alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from math import prod
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from prejudge.errors import FileFormatError, InputError
from prejudge.formats.atomic import write_atomically
from prejudge.formats.escape import json_text
from prejudge.spaces.base import Space, space
from prejudge.train.export.safetensors_file import read_tensors
from prejudge.train.export.third_party import match_state_dict

_VERSION = "1"
_LONGEST = 1 << 16  # characters of an architecture; published genotypes have some hundreds
_LARGEST = 1 << 16  # any macro field of a file; one beyond it would take for ever to build
_DEEPEST = 1 << 12  # cells of a network in a file
_DEPTHS = ("cells", "stages", "stacks")
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


@dataclass(frozen=True)
class WeightsMetadata:
    """The header of a weights file: all that it says besides the weights.

    Attributes:
        space: Name of the search space.
        architecture: The architecture's text, such as a genotype.
        macro: Every macro field of the network.
        classes: Name of each class; empty where not known.
        mean: Of each channel, to be subtracted from pixels in 0..1; empty where not known.
        std: Of each channel, to divide by.
        image_size: Side of the training images in pixels; 0 where not known.
        provenance: How the weights came about, for the reader: data, recipe, accuracy, versions ….
    """

    space: str
    architecture: str
    macro: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_size: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)


def export_weights(
    network: nn.Module,
    path: Path | str,
    *,
    space: Space[Any] | str,
    architecture: Any,
    macro: Any,
    classes: Sequence[str] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    image_size: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> WeightsMetadata:
    """Write a network's weights and what is needed to use them into one file, which takes the place of an old one.

    Args:
        network: The trained network, also in DataParallel or DistributedDataParallel or on an accelerator.
        path: Where; by custom it ends in ``.safetensors``.
        space: The search space, or its name.
        architecture: The architecture, in any notation of the space.
        macro: The space's dataclass, or a mapping of the fields that are not the defaults. Without
            the auxiliary head in it, the head's weights are left out: only training needs them.
        classes: Name of each class.
        mean: Of each channel, subtracted from pixels in 0..1.
        std: Of each channel, divided by.
        image_size: Side of the training images in pixels.
        provenance: Anything that JSON can write.

    Returns:
        What the file says.

    Raises:
        InputError: The network is not that of this architecture, or the other arguments do not fit it.
        PrejudgeError: The file could not be written; the old one is untouched.
    """
    where = _space(space)
    arch = where.parse(architecture)
    numbers = asdict(macro) if is_dataclass(macro) and not isinstance(macro, type) else dict(macro)
    numbers = asdict(where.macro(**numbers))
    _check(numbers, classes, mean, std)
    while isinstance(network, _WRAPPERS):
        network = network.module
    with torch.device("meta"):
        expected = where.network(arch, **numbers)
    state = match_state_dict(expected, network.state_dict())
    described = WeightsMetadata(
        where.name, str(arch), numbers, tuple(map(str, classes)), tuple(map(float, mean)), tuple(map(float, std)),
        int(image_size), dict(provenance or {}),
    )  # fmt: skip
    try:
        texts = {
            name: value if isinstance(value, str) else json_text(value, allow_nan=False)
            for name, value in asdict(described).items()
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance must be plain JSON values: {error}") from None
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    # "format" is what other programs expect there.
    content = safetensors.torch.save(tensors, {"format": "pt", "prejudge_weights": _VERSION, **texts})
    write_atomically(Path(path), content)
    return described


def load_weights(path: Path | str) -> tuple[nn.Module, WeightsMetadata]:
    """Make the network of a weights file.

    Args:
        path: A file that :func:`export_weights` wrote.

    Returns:
        The network with its weights, on the CPU and in evaluation mode; and what else the file says. The global random
        generators are not touched.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is damaged, was not written by prejudge, or its weights are not those of its architecture.
    """
    path = Path(path)
    tensors, texts = read_tensors(path)
    described = _description(path, texts)
    try:
        where = _space(described.space)
        with torch.device("meta"):  # nothing is drawn or allocated before the file is known to hold this network
            network = where.network(where.parse(described.architecture), **described.macro)
        network.load_state_dict(match_state_dict(network, tensors, spare=()), assign=True)
        network.requires_grad_(True)
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (RuntimeError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise FileFormatError(f"{path} describes a network that cannot be built ({type(error).__name__})") from error
    return network.eval(), described


def _space(given: Space[Any] | str) -> Space[Any]:
    return space(given) if isinstance(given, str) else given


def _check(numbers: Mapping[str, Any], classes: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
    if classes and len(classes) != numbers["num_classes"]:
        raise InputError(f"{len(classes)} names of classes, but the network tells {numbers['num_classes']} apart")
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (0, numbers["in_channels"]):
            raise InputError(f"{name} has {len(values)} values, but images have {numbers['in_channels']} channels")


def _description(path: Path, texts: Mapping[str, str]) -> WeightsMetadata:
    version = texts.get("prejudge_weights")
    if version is None:
        raise FileFormatError(f"{path} does not say which network it holds; it was not exported by prejudge")
    if version != _VERSION:
        raise FileFormatError(f"{path} is of version {version[:20]!r}, this prejudge reads version {_VERSION}")
    try:
        values = {name: json.loads(texts[name]) for name in ("macro", "classes", "mean", "std", "provenance")}
        described = WeightsMetadata(
            texts["space"],
            texts["architecture"],
            dict(values["macro"]),
            tuple(str(name) for name in values["classes"]),
            tuple(float(value) for value in values["mean"]),
            tuple(float(value) for value in values["std"]),
            int(texts["image_size"]),
            dict(values["provenance"]),
        )
        _check(
            asdict(_space(described.space).macro(**described.macro)),
            described.classes,
            described.mean,
            described.std,
        )
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FileFormatError(
            f"{path} does not describe its network as prejudge does ({type(error).__name__})"
        ) from error
    sizes = [value for value in described.macro.values() if isinstance(value, int | float)]
    cells = prod(described.macro.get(name, 1) for name in _DEPTHS)
    if len(described.architecture) > _LONGEST or max(sizes, default=0) > _LARGEST or cells > _DEEPEST:
        raise FileFormatError(f"{path} describes a network that is too large to be one")
    return described
