"""The network of one architecture as one readable Python file that needs PyTorch only.

The file is put together from the classes that prejudge's own network is made of: it computes the same, and exported
weights and state dicts load into either.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields, is_dataclass
from pprint import pformat
from typing import Any

import torch

from prejudge._version import __version__
from prejudge.errors import InputError
from prejudge.spaces.base import Space
from prejudge.spaces.base import space as space_named
from prejudge.train.export.source import SourceCollector, import_lines

_ERRORS = {
    "InputError": 'class InputError(ValueError):\n    """The caller\'s input is wrong."""',
    "unknown": (
        "def unknown(kind: str, name: object, known: object) -> InputError:\n"
        '    return InputError(f"unknown {kind} {name!r} (known: {known})")'
    ),
}
"""Short forms of the errors that the networks raise."""

_FRAME = '''"""A network of the space {space}, for images of {classes}.

{architecture}Written by prejudge {version}; it needs only torch. Weights exported by prejudge are loaded by

    network = Network()
    network.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
"""

{imports}

{records} = SimpleNamespace  # they hold the values of ARCHITECTURE and MACRO

ARCHITECTURE = {architecture_values}
MACRO = {macro_values}
{pixels}

{definitions}


class Network({network}):
    """The network of ARCHITECTURE and MACRO, without arguments."""

    def __init__(self) -> None:
        super().__init__(ARCHITECTURE, MACRO)


if __name__ == "__main__":
    network = Network().eval()
    logits = network(torch.zeros(1, MACRO.in_channels, {side}, {side}))
    print(f"{{sum(p.numel() for p in network.parameters()):,}} parameters, logits of shape {{tuple(logits.shape)}}")
'''
_WIDTH = 100


def standalone_source(
    space: Space[Any] | str,
    architecture: Any,
    macro: Any = None,
    *,
    classes: Sequence[str] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    image_size: int = 0,
) -> str:
    """Assemble the source of a Python module that defines the network.

    Args:
        space: The search space, or its name. Its network must be a class that takes the architecture and the macro
            numbers, both dataclasses, as those of all spaces that come with prejudge are.
        architecture: The architecture, in any notation of the space.
        macro: The macro-architecture: the space's dataclass, or a mapping of those that are not the defaults.
        classes: Name of each class, for the reader.
        mean: Of each channel, likewise.
        std: Of each channel, likewise.
        image_size: Side of the images that the file tries itself out on; that of the stem's data set where left out.

    Returns:
        A module with a class ``Network`` without arguments, whose state dict has the names of prejudge's network and
        which returns the same logits; run as a program it tells its size. Its weights start as prejudge draws them.

    Raises:
        InputError: The architecture or the macro-architecture is not of the space, or the space has no such source.
    """
    where = space_named(space) if isinstance(space, str) else space
    given = asdict(macro) if is_dataclass(macro) and not isinstance(macro, type) else dict(macro or {})
    arch, numbers = where.parse(architecture), where.macro(**given)
    if not is_dataclass(arch) or not is_dataclass(numbers):
        raise InputError(
            f"no standalone source for networks of {where.name}: its architectures are not dataclasses, as those of "
            "prejudge's own spaces are"
        )
    with torch.device("meta"):
        network = type(where.network(arch, **given))
    records = sorted({type(arch).__name__, type(numbers).__name__})
    source = SourceCollector([*_ERRORS, *records])
    source.add(network.__name__, sys.modules[network.__module__])
    errors = [text for name, text in _ERRORS.items() if name in source.used or "unknown" in source.used]
    side = image_size or (224 if getattr(numbers, "stem", None) == "imagenet" else 32)
    count: int = getattr(numbers, "num_classes")  # noqa: B009  # every space's numbers have it
    return _FRAME.format(
        space=where.name,
        classes=f"{count} classes" if count > 1 else "one class",
        architecture=f"    {arch}\n\n" if len(str(arch)) <= _WIDTH else "",  # longer ones stand below
        version=__version__,
        imports="\n".join(import_lines({"import torch", "from types import SimpleNamespace", *source.imports})),
        records=" = ".join(records),
        architecture_values=_record(arch, source.attributes),
        macro_values=_record(numbers, source.attributes),
        pixels=_pixels(classes, mean, std),
        definitions="\n\n\n".join([*errors, *source.definitions]),
        network=network.__name__,
        side=side,
    )


def _record(value: Any, read: Collection[str]) -> str:
    """The call that makes a record with those fields and properties of a dataclass that the network reads."""
    names = [f.name for f in fields(value)]
    names += [name for name, member in vars(type(value)).items() if isinstance(member, property)]
    lines = []
    for name in names:
        if name in read:
            text = pformat(getattr(value, name), width=_WIDTH, compact=True)
            lines.append(f"    {name}={text},".replace("\n", "\n    "))
    return "\n".join([f"{type(value).__name__}(", *lines, ")"])


def _pixels(classes: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> str:
    """Normalization and names of the classes, as far as they are known."""
    lines = []
    if mean:
        values = ", ".join(str(tuple(map(float, numbers))) for numbers in (mean, std))
        lines += ["", "# Pixels in 0..1, minus MEAN, over STD of their channel.", f"MEAN, STD = {values}"]
    if classes:
        names = pformat([str(name) for name in classes], width=_WIDTH, compact=True)
        lines.append(f"CLASS_NAMES = {names}")
    return "\n".join(lines)
