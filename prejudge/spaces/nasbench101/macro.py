"""The macro-architecture around a NAS-Bench-101 cell, and the channels inside one."""

from __future__ import annotations

from dataclasses import dataclass

from prejudge.errors import InputError, unknown
from prejudge.spaces.base import require_positive
from prejudge.spaces.nasbench101.cell import Matrix

FORMS = ("official", "zero-cost-nas")


@dataclass(frozen=True)
class MacroConfig101:
    """The macro-architecture around the cell, with the published defaults.

    Attributes:
        num_classes: Outputs of the classifier.
        channels: Of the stem and of the cells of the first stack; each later stack doubles them.
        stacks: Stacks of cells, max pooling between two of them.
        cells: Cells per stack.
        in_channels: Channels of the images.
        form: Which original the weights and batch norm follow; modules and parameters are the same. ``"official"``:
            batch-norm momentum 0.003 (TensorFlow's 0.997), convolutions truncated normal of variance 1/fan-in,
            classifier Glorot-uniform. ``"zero-cost-nas"``: batch-norm momentum 0.1, convolutions normal of variance
            2/fan-out, classifier normal of deviation 0.01, as zero-cost-nas and HNAS score it.
    """

    num_classes: int = 10
    channels: int = 128
    stacks: int = 3
    cells: int = 3
    in_channels: int = 3
    form: str = "official"

    def __post_init__(self) -> None:
        require_positive("nasbench101", self, ("num_classes", "channels", "stacks", "cells", "in_channels"))
        if self.form not in FORMS:
            raise unknown("nasbench101 form", self.form, FORMS)


def vertex_channels(matrix: Matrix, c_in: int, c_out: int) -> tuple[int, ...]:
    """Channels of each vertex of a cell (the official ``compute_vertex_channels``).

    The vertices that feed the output share its channels, the first ones taking the remainder; any other interior
    vertex has as many as the widest vertex that it feeds.

    Raises:
        InputError: ``c_out`` is less than the number of vertices that feed the output.
    """
    last = len(matrix) - 1
    channels = [c_in] + [0] * (last - 1) + [c_out]
    feeding = [v for v in range(1, last) if matrix[v][last]]
    if len(feeding) > c_out:
        raise InputError(f"nasbench101: {len(feeding)} vertices feed the output; channels must be at least as many")
    for place, v in enumerate(feeding):
        channels[v] = c_out // len(feeding) + (place < c_out % len(feeding))
    for v in reversed(range(1, last)):
        if not matrix[v][last]:
            channels[v] = max(channels[target] for target in range(v + 1, last) if matrix[v][target])
    return tuple(channels)
