"""The layout of a DARTS network, and its exact number of parameters and multiply-adds by formula; no torch.

The layout and the table of separable convolutions are what the network modules are built from too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prejudge.spaces.darts.genotype import Genotype
    from prejudge.spaces.darts.macro import MacroConfigDARTS


@dataclass(frozen=True, slots=True)
class Separable:
    """A depthwise-separable operation: ReLU, depthwise k x k, 1x1 and batch norm, ``repeats`` times in a row."""

    kernel: int
    dilation: int
    repeats: int


SEPARABLE = {
    "sep_conv_3x3": Separable(3, 1, 2),
    "sep_conv_5x5": Separable(5, 1, 2),
    "sep_conv_7x7": Separable(7, 1, 2),
    "dil_conv_3x3": Separable(3, 2, 1),
    "dil_conv_5x5": Separable(5, 2, 1),
}
POOLS = ("max_pool_3x3", "avg_pool_3x3")

FORM_NORMS: dict[str, dict[str, bool]] = {
    "standard": {},
    "stacnas": {"pool_norm": True},
    "stacnas-zero": {"pool_norm": True},
    "ista-onestage": {"pool_norm": True, "skip_norm": True},
}
"""For each form of the final network, the batch norms that it has beyond the standard ones."""


def keeps_zero(form: str) -> bool:
    """Whether each operation of a final network has a learned share that it won from ``none`` (StacNAS's option)."""
    return form == "stacnas-zero"


AUXILIARY_CHANNELS = (128, 768)
"""Outputs of the two convolutions (1x1, then 2x2) of the auxiliary head."""


@dataclass(frozen=True, slots=True)
class CellPlace:
    """Where a cell stands in the network.

    Attributes:
        c_prev_prev: Channels of the first input, the output of the cell before the previous one.
        c_prev: Channels of the second input, the previous cell's output.
        channels: C, the width of every state inside the cell.
        c_out: Channels of the output, C for every state that it concatenates.
        reduction: Whether the cell halves the side.
        after_reduction: Whether the first input is twice as large as the second, so that preprocessing halves it.
    """

    c_prev_prev: int
    c_prev: int
    channels: int
    c_out: int
    reduction: bool
    after_reduction: bool


def cell_places(macro: MacroConfigDARTS, normal_states: int = 4, reduce_states: int = 4) -> list[CellPlace]:
    """The cells of a network in order; C doubles at every reduction.

    Args:
        macro: The macro-architecture.
        normal_states: Number of states that a normal cell concatenates.
        reduce_states: Number of states that a reduction cell concatenates.
    """
    c = macro.channels
    imagenet = macro.stem == "imagenet"
    c_prev_prev = c_prev = c if imagenet else 3 * c
    after_reduction = imagenet  # the second half of that stem is a reduction
    places = []
    for index in range(macro.cells):
        reduction = index in macro.reductions
        c = 2 * c if reduction else c
        c_out = c * (reduce_states if reduction else normal_states)
        places.append(CellPlace(c_prev_prev, c_prev, c, c_out, reduction, after_reduction))
        c_prev_prev, c_prev = c_prev, c_out
        after_reduction = reduction
    return places


@dataclass(frozen=True, slots=True)
class _Layer:
    """Some bias-free convolutions of one output size, and the affine batch norms on them."""

    weights: int
    positions: int
    norms: int = 0

    @property
    def params(self) -> int:
        return self.weights + 2 * self.norms

    @property
    def macs(self) -> int:
        return self.weights * self.positions


def _half(side: int) -> int:
    return (side + 1) // 2


def _operation(
    name: str, c: int, side: int, stride: int, *, pool_norm: bool = False, skip_norm: bool = False
) -> Iterator[_Layer]:
    out = _half(side) if stride == 2 else side
    if name in SEPARABLE:
        kind = SEPARABLE[name]
        yield _Layer(kind.repeats * (kind.kernel**2 * c + c * c), out * out, kind.repeats * c)
    elif name == "conv_7x1_1x7":
        yield _Layer(7 * c * c, side * out)
        yield _Layer(7 * c * c, out * out, c)
    elif name == "skip_connect" and stride == 2:
        yield _Layer(c * c, out * out, c)
    elif (name in POOLS and pool_norm) or (name == "skip_connect" and skip_norm):
        yield _Layer(0, 0, c)


def _stem(macro: MacroConfigDARTS, side: int) -> tuple[list[_Layer], int]:
    """The stem's layers, and the side of the second input of the first cell."""
    c, images = macro.channels, macro.in_channels
    if macro.stem == "cifar":
        return [_Layer(9 * images * 3 * c, side * side, 3 * c)], side
    thin, half, quarter, eighth = c // 2, _half(side), _half(_half(side)), _half(_half(_half(side)))
    return [
        _Layer(9 * images * thin, half * half, thin),
        _Layer(9 * thin * c, quarter * quarter, c),
        _Layer(9 * c * c, eighth * eighth, c),
    ], eighth


def _places(genotype: Genotype, macro: MacroConfigDARTS) -> list[CellPlace]:
    return cell_places(macro, len(genotype.normal_concat), len(genotype.reduce_concat))


def _layers(genotype: Genotype, macro: MacroConfigDARTS, image_size: int) -> Iterator[_Layer]:
    """Every convolution and batch norm of the network but for the auxiliary head's."""
    layers, side = _stem(macro, image_size)
    yield from layers
    norms = FORM_NORMS[macro.form]
    for place in _places(genotype, macro):
        c = place.channels
        yield _Layer((place.c_prev_prev + place.c_prev) * c, side * side, 2 * c)
        out = _half(side) if place.reduction else side
        for name, source in genotype.reduce if place.reduction else genotype.normal:
            # Only the cell's two inputs still have the larger side.
            stride = 2 if place.reduction and source < 2 else 1
            yield from _operation(name, c, side if source < 2 else out, stride, **norms)
        side = out


def count_params(genotype: Genotype, macro: MacroConfigDARTS) -> int:
    """Exact number of parameters of the network, batch norms included; the auxiliary head's only if it has one.

    Published sizes leave the head out: it is not there at test time.
    """
    places = _places(genotype, macro)
    total = sum(layer.params for layer in _layers(genotype, macro, 1))
    if keeps_zero(macro.form):
        total += sum(2 * len(genotype.reduce if place.reduction else genotype.normal) for place in places)
    if macro.auxiliary:
        narrow, wide = AUXILIARY_CHANNELS
        c = places[macro.reductions[-1]].c_out
        total += c * narrow + 2 * narrow + 4 * narrow * wide + (wide + 1) * macro.num_classes
        total += 2 * wide if macro.stem == "cifar" else 0
    return total + (places[-1].c_out + 1) * macro.num_classes


def count_flops(genotype: Genotype, macro: MacroConfigDARTS, image_size: int) -> int:
    """Multiply-adds of one square image at test time: convolutions and the classifier, without the auxiliary head.

    Args:
        genotype: The two cells.
        macro: The macro-architecture.
        image_size: Side of the image in pixels; an odd side is halved upwards.
    """
    layers = sum(layer.macs for layer in _layers(genotype, macro, image_size))
    return layers + _places(genotype, macro)[-1].c_out * macro.num_classes
