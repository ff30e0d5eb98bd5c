"""One architecture of the size space, its notations, and the macro-architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prejudge.errors import InputError, quoted
from prejudge.formats.literals import read_value
from prejudge.spaces.base import require_positive

WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64)
"""The numbers of channels that each of the five stages may have."""

STAGES = 5
GENOTYPE = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
"""The cell of every network."""

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(target node, source node) of the edges of :data:`GENOTYPE`, in its order."""

SKIPPED = (3, 0)
"""The edge that is no convolution."""

_CHANNELS = re.compile(r"(?<![\d:])\d+(?::\d+){4}(?![\d:])")
_LAYER = re.compile(r"layer-(\d)")
_LITERAL = ("{", "[", "(", "array(", "np.", "numpy.")


@dataclass(frozen=True, slots=True, repr=False)
class StageWidths:
    """One architecture of NATS-Bench's size space.

    Attributes:
        channels: Of the five stages: first cell (and stem), reduction, cell, reduction, cell; each one of
            :data:`WIDTHS`.
    """

    channels: tuple[int, ...]

    def __repr__(self) -> str:
        return f"StageWidths({str(self)!r})"

    def __str__(self) -> str:
        return ":".join(map(str, self.channels))


@dataclass(frozen=True)
class MacroConfigSize:
    """What the widths leave open.

    Attributes:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the images.
    """

    num_classes: int = 10
    in_channels: int = 3

    def __post_init__(self) -> None:
        require_positive("nats-size", self, ("num_classes", "in_channels"))


def read_widths(value: Any) -> StageWidths:
    """Read an architecture in any notation but its index.

    Args:
        value: ``"8:8:8:16:32"``, also in a line of a log, where the last one counts; five numbers; the configuration of
            nats_bench (``{"name": "infer.shape.tiny", "channels": …}``); AutoDL-Projects' ``{"layer-0": 8, …}``. Each
            of these may be a text of JSON or Python.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, bytes):
        raise InputError(f"nats-size: cannot read widths from {type(value).__name__} {quoted(value)}")
    widths = [int(w) if isinstance(w, str) and w.isdecimal() and len(w) <= 2 else w for w in value]
    if len(widths) != STAGES:
        raise InputError(f"nats-size: {quoted(widths)} has {len(widths)} widths; five are needed: 8:8:8:16:32")
    for width in widths:
        if not isinstance(width, int | np.integer) or width not in WIDTHS:
            raise InputError(f"nats-size: {quoted(width)} is not a width; give {', '.join(map(str, WIDTHS))}")
    return StageWidths(tuple(map(int, widths)))


def _from_text(text: str) -> StageWidths:
    stripped = text.strip().strip("\"'")
    if stripped.startswith(_LITERAL):
        try:
            value = read_value(stripped)
        except ValueError as error:
            if not _CHANNELS.search(stripped):  # a line of a log may start with a bracket, too
                raise InputError(f"nats-size: {error}") from None
        else:
            if not isinstance(value, str):
                return read_widths(value)
    if "~" in stripped:
        raise InputError(f"nats-size: {quoted(text)} is a cell of the space nasbench201; here all networks have one")
    found = _CHANNELS.findall(stripped)
    if not found:
        raise InputError(f"nats-size: {quoted(text)} names no five widths; give them as 8:8:8:16:32")
    return read_widths(found[-1].split(":"))


def _from_mapping(given: Mapping[Any, Any]) -> StageWidths:
    if "channels" in given:
        genotype = str(given.get("genotype", GENOTYPE))
        if GENOTYPE not in genotype:
            raise InputError(f"nats-size: the cell is always {GENOTYPE}, not {quoted(genotype)}")
        return read_widths(given["channels"])
    layers = {key: width for key, width in given.items() if isinstance(key, str) and _LAYER.fullmatch(key)}
    if sorted(layers) != [f"layer-{i}" for i in range(STAGES)]:
        raise InputError(f"nats-size: widths are 'channels', or 'layer-0' to 'layer-4', not {quoted(dict(given))}")
    return read_widths([layers[f"layer-{i}"] for i in range(STAGES)])
