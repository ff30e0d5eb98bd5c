"""One NAS-Bench-201 cell and the macro-architecture around it."""

from __future__ import annotations

from dataclasses import dataclass

from prejudge.errors import InputError, quoted, unknown
from prejudge.spaces.base import require_positive

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The five operations in the official order; an edge of :class:`Cell201` is an index into it."""

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(target node, source node) of the six edges, in the order of the official text."""

CELL = "cell"
"""The only kind of cell that a supernet has."""

NONE, SKIP, CONV1, CONV3, POOL = range(5)
FORMS = ("official", "zero-cost-nas")


@dataclass(frozen=True, slots=True, repr=False)
class Cell201:
    """One NAS-Bench-201 architecture.

    Attributes:
        edges: The operation of each of the six edges, an index into :data:`OPERATIONS`, in the order of :data:`EDGES`.
    """

    edges: tuple[int, ...]

    def __repr__(self) -> str:
        return f"Cell201({str(self)!r})"

    def __str__(self) -> str:
        o = [OPERATIONS[e] for e in self.edges]
        return f"|{o[0]}~0|+|{o[1]}~0|{o[2]}~1|+|{o[3]}~0|{o[4]}~1|{o[5]}~2|"


@dataclass(frozen=True)
class MacroConfig201:
    """The macro-architecture around the cell, with the published defaults.

    Attributes:
        num_classes: Outputs of the classifier.
        channels: C, the width of the first stage; each later stage doubles it.
        cells: N, cells per stage.
        in_channels: Channels of the images.
        stages: Stages of cells, a residual reduction block between two of them.
        stem: Whether a 3x3 convolution maps the image to C channels; without it ``in_channels`` must equal C.
        form: ``"official"`` (convolutions without bias, affine batch norm) or ``"zero-cost-nas"`` (in the cells biased
            convolutions and batch norm that is neither affine nor tracking, as zero-cost-nas and HNAS score it).
    """

    num_classes: int = 10
    channels: int = 16
    cells: int = 5
    in_channels: int = 3
    stages: int = 3
    stem: bool = True
    form: str = "official"

    def __post_init__(self) -> None:
        require_positive("nasbench201", self, ("num_classes", "channels", "cells", "in_channels", "stages"))
        if self.form not in FORMS:
            raise unknown("nasbench201 form", self.form, FORMS)
        if not self.stem and self.in_channels != self.channels:
            raise InputError(
                f"nasbench201: without a stem in_channels must be channels ({quoted(self.channels)}), "
                f"not {quoted(self.in_channels)}"
            )
