"""The weight-sharing network of NAS-Bench-201: the benchmark's macro-architecture with all operations on every edge.

Modules are registered in the order of the original codes (Dong & Yang's search cells, which TE-NAS and DARTS-PT use).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.spaces.nasbench201.cell import CELL, EDGES, OPERATIONS, Cell201, MacroConfig201
from prejudge.spaces.nasbench201.network import operation
from prejudge.spaces.nn.batch_norm import exact_batch_norms
from prejudge.spaces.nn.mixed_operations import CellState, WeightedSum
from prejudge.spaces.nn.operations import conv_bn
from prejudge.spaces.nn.reduction import Reduction
from prejudge.spaces.nn.supernet import MixedEdge, Mixture, Supernet, Terms


def strongest_operations(values: np.ndarray, candidates: Sequence[Sequence[str]]) -> Cell201:
    """The cell with the strongest operation on every edge; of equals the first.

    Args:
        values: ``(6, widest)``.
        candidates: Operations of every edge.
    """
    chosen = (
        OPERATIONS.index(names[int(np.argmax(row[: len(names)]))])
        for row, names in zip(values, candidates, strict=True)
    )
    return Cell201(tuple(chosen))


class MixedCell201(nn.Module):
    """One cell: each node is the sum of the mixed edges from the nodes before it."""

    def __init__(self, candidates: Sequence[Sequence[str]], channels: int, *, affine: bool):
        super().__init__()
        self.edges = nn.ModuleList(
            MixedEdge(operation(OPERATIONS.index(op), channels, affine=affine) for op in names) for names in candidates
        )

    def forward(self, x: Tensor, terms: Sequence[Terms]) -> Tensor:
        """The output node ``(N, C, H, W)``; a node without any term is zero."""
        nodes = [CellState(x)]
        entering = WeightedSum()
        for (target, source), edge, on_edge in zip(EDGES, self.edges, terms, strict=True):
            edge(nodes[source], on_edge, entering)
            if source == target - 1:
                total = entering.total()
                nodes.append(CellState(torch.zeros_like(x) if total is None else total))
                entering = WeightedSum()
        return nodes[3].tensor


class Supernet201(Supernet):
    """Images ``(N, in_channels, H, W)`` and a mixture of one cell of six edges to logits ``(N, num_classes)``.

    Args:
        macro: The macro-architecture; the official form.
        candidates: Operations of every edge, by default all five on each.
        affine: Whether the batch norms inside the cells have parameters (TE-NAS) or not (gradient-based searches).

    Raises:
        InputError: The form is not the official one, or the candidates are not six lists of known names.
    """

    def __init__(
        self, macro: MacroConfig201, candidates: Mapping[str, Sequence[Sequence[str]]] | None, *, affine: bool
    ):
        super().__init__(candidates or {CELL: (OPERATIONS,) * len(EDGES)})
        if macro.form != "official":
            raise InputError(f"nasbench201: a supernet has the official form, not {macro.form!r}")
        if list(self.candidates) != [CELL] or len(self.candidates[CELL]) != len(EDGES):
            raise InputError(f"nasbench201: the candidates of a supernet are six lists under {CELL!r}")
        for name in {name for edge in self.candidates[CELL] for name in edge} - set(OPERATIONS):
            raise InputError(f"nasbench201: {name!r} is not an operation (known: {', '.join(OPERATIONS)})")
        c = macro.channels
        self.stem = conv_bn(macro.in_channels, c) if macro.stem else nn.Identity()
        widths = [c << stage for stage in range(macro.stages)]
        blocks: list[nn.Module] = []
        for width, following in pairwise((*widths, 0)):
            blocks += [MixedCell201(self.candidates[CELL], width, affine=affine) for _ in range(macro.cells)]
            if following:
                blocks.append(Reduction(width, following, shortcut_first=macro.form != "official"))
        self.cells = nn.ModuleList(blocks)
        self.lastact = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], macro.num_classes)
        exact_batch_norms(self)

    def discretize(self, values: Mapping[str, np.ndarray]) -> Cell201:
        """The cell with the strongest operation on every edge, ``none`` included."""
        return strongest_operations(values[CELL], self.candidates[CELL])

    def forward(self, x: Tensor, mixture: Mixture) -> Tensor:
        x = self.stem(self.arranged(x))
        for block in self.cells:
            x = block(x, mixture[CELL]) if isinstance(block, MixedCell201) else block(x)
        result: Tensor = self.classifier(self.pool(self.lastact(x)).flatten(1))
        return result
