"""The weight-sharing network of the DARTS spaces: cells of four nodes and 14 mixed edges.

One network serves the published searches; :class:`SupernetMacroConfigDARTS` holds what differs between them. Modules
are registered in the order of the original codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.spaces.base import require_positive
from prejudge.spaces.darts.candidates import EDGES, NODES
from prejudge.spaces.darts.counts import CellPlace
from prejudge.spaces.darts.discretization import strongest_edges
from prejudge.spaces.darts.genotype import CELLS, Genotype
from prejudge.spaces.darts.network import AuxiliaryHead
from prejudge.spaces.darts.operations import operation, preprocess
from prejudge.spaces.nn.batch_norm import exact_batch_norms
from prejudge.spaces.nn.mixed_operations import CellState, WeightedSum, applied
from prejudge.spaces.nn.operations import conv_bn
from prejudge.spaces.nn.supernet import MixedEdge, Mixture, Supernet, Terms


@dataclass(frozen=True)
class SupernetMacroConfigDARTS:
    """The macro-architecture of a supernet, with the defaults of DARTS' search on CIFAR-10.

    TE-NAS scores ``SupernetMacroConfigDARTS(channels=1, cells=2, reductions=(1,), stem_multiplier=1, affine=True,
    pool_norm=False, last_activation=True)``.

    Attributes:
        num_classes: Outputs of the classifier.
        channels: C, the width of the first cells' nodes; each reduction cell doubles it.
        cells: L, all cells.
        in_channels: Channels of the images.
        reductions: Positions of the reduction cells; by default ``L // 3`` and ``2 L // 3``.
        stem_multiplier: The stem, a 3x3 convolution with batch norm, has C times this channels; 0 for no stem.
        affine: Whether the batch norms inside the cells have parameters.
        pool_norm: Whether a batch norm follows the poolings.
        skip_norm: Whether a batch norm follows the identity (ISTA-NAS one-stage).
        last_activation: Whether batch norm and ReLU precede the global pooling (TE-NAS).
        auxiliary: Whether there is an auxiliary classifier after cell ``2 L // 3``, which runs only when it is asked
            for (ISTA-NAS one-stage).
    """

    num_classes: int = 10
    channels: int = 16
    cells: int = 8
    in_channels: int = 3
    reductions: tuple[int, ...] | None = None
    stem_multiplier: int = 3
    affine: bool = False
    pool_norm: bool = True
    skip_norm: bool = False
    last_activation: bool = False
    auxiliary: bool = False

    def __post_init__(self) -> None:
        require_positive("darts supernet", self, ("num_classes", "channels", "cells", "in_channels"))
        if not isinstance(self.stem_multiplier, int) or self.stem_multiplier < 0:
            raise InputError(f"darts supernet: stem_multiplier must be 0 or positive, not {self.stem_multiplier!r}")
        chosen = (self.cells // 3, 2 * self.cells // 3) if self.reductions is None else self.reductions
        object.__setattr__(self, "reductions", tuple(sorted(set(chosen))))
        if any(not 0 <= position < self.cells for position in chosen):
            raise InputError(f"darts supernet: the reductions {tuple(chosen)} must be among the {self.cells} cells")

    def places(self) -> Iterator[CellPlace]:
        """The cells in order."""
        c = self.channels
        before_previous = previous = self.stem_multiplier * c or self.in_channels
        after_reduction = False
        for index in range(self.cells):
            reduction = index in self.reductions  # type: ignore[operator]  # __post_init__ has filled it
            c = 2 * c if reduction else c
            yield CellPlace(before_previous, previous, c, NODES * c, reduction, after_reduction)
            before_previous, previous, after_reduction = previous, NODES * c, reduction


class MixedCellDARTS(nn.Module):
    """One cell: each node is the sum of the mixed edges from the states before it; the output joins the nodes.

    Args:
        candidates: Operations of each of the 14 edges.
        place: Channels, and whether the cell reduces.
        macro: Which batch norms there are.
    """

    def __init__(self, candidates: Sequence[Sequence[str]], place: CellPlace, macro: SupernetMacroConfigDARTS):
        super().__init__()
        c, affine = place.channels, macro.affine
        self.reduction = place.reduction
        self.preprocess0 = preprocess(place.c_prev_prev, c, halve=place.after_reduction, affine=affine)
        self.preprocess1 = preprocess(place.c_prev, c, halve=False, affine=affine)
        norms = {"affine": affine, "pool_norm": macro.pool_norm, "skip_norm": macro.skip_norm}
        strides = [2 if place.reduction and source < 2 else 1 for _, source in EDGES]
        self._ops = nn.ModuleList(
            MixedEdge(operation(name, c, stride, **norms) for name in names)
            for names, stride in zip(candidates, strides, strict=True)
        )

    def forward(self, s0: Tensor, s1: Tensor, terms: Sequence[Terms]) -> Tensor:
        """The output ``(N, 4 C, H, W)``, from those of the last cell but one and of the last cell.

        A node without any term is zero.
        """
        states = [CellState(applied(self.preprocess0, s0)), CellState(applied(self.preprocess1, s1))]
        # A node that nothing enters still needs its shape, which is that of the others.
        side = [(n + 1) // 2 for n in s1.shape[2:]] if self.reduction else s1.shape[2:]
        entering = WeightedSum()
        for (node, source), edge, on_edge in zip(EDGES, self._ops, terms, strict=True):
            edge(states[source], on_edge, entering)
            if source == node + 1:
                total, x = entering.total(), states[1].tensor
                states.append(CellState(x.new_zeros(*x.shape[:2], *side) if total is None else total))
                entering = WeightedSum()
        return torch.cat([state.tensor for state in states[2:]], dim=1)


class SupernetDARTS(Supernet):
    """Images ``(N, in_channels, H, W)`` and a mixture of a normal and a reduction cell to logits.

    Args:
        candidates: Operations of each of the 14 edges, by cell type.
        macro: The macro-architecture.

    Attributes:
        macro: The macro-architecture.
        kinds: Under which key of a mixture each cell looks up its terms: its type.

    Raises:
        InputError: The candidates are not 14 lists of known names for both cell types.
    """

    def __init__(self, candidates: Mapping[str, Sequence[Sequence[str]]], macro: SupernetMacroConfigDARTS):
        super().__init__(candidates)
        if {kind: len(edges) for kind, edges in self.candidates.items()} != dict.fromkeys(CELLS, len(EDGES)):
            raise InputError(f"darts: a supernet needs {len(EDGES)} lists of candidates for each of {', '.join(CELLS)}")
        self.macro = macro
        c = macro.stem_multiplier * macro.channels
        self.stem = conv_bn(macro.in_channels, c) if c else nn.Identity()
        places = list(macro.places())
        self.kinds = ["reduce" if place.reduction else "normal" for place in places]
        self.cells = nn.ModuleList(
            MixedCellDARTS(self.candidates[kind], place, macro) for kind, place in zip(self.kinds, places, strict=True)
        )
        self.auxiliary_after = 2 * macro.cells // 3
        self.auxiliary_head = (
            AuxiliaryHead(places[self.auxiliary_after].c_out, macro.num_classes, "cifar") if macro.auxiliary else None
        )
        width = places[-1].c_out
        self.lastact = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU()) if macro.last_activation else nn.Identity()
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, macro.num_classes)
        exact_batch_norms(self)

    def discretize(self, values: Mapping[str, np.ndarray]) -> Genotype:
        """The genotype of the strongest edges, see :func:`~prejudge.spaces.darts.discretization.strongest_edges`."""
        return strongest_edges(values, self.candidates)

    def operation_at(self, cell: int, edge: int, position: int) -> nn.Module:
        """One candidate of an edge of a cell."""
        return self.get_submodule(f"cells.{cell}._ops.{edge}._ops.{position}")

    def forward(self, x: Tensor, mixture: Mixture, auxiliary: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The logits; with ``auxiliary``, the pair of the logits and the auxiliary head's, in any mode.

        Raises:
            InputError: ``auxiliary`` is set, but the network was built without that head.
        """
        if auxiliary and self.auxiliary_head is None:
            raise InputError("darts: this supernet has no auxiliary head; build it with auxiliary=True")
        auxiliary_logits = None
        s0 = s1 = self.stem(self.arranged(x))
        for index, (cell, kind) in enumerate(zip(self.cells, self.kinds, strict=True)):
            s0, s1 = s1, cell(s0, s1, mixture[kind])
            if auxiliary and self.auxiliary_head is not None and index == self.auxiliary_after:
                auxiliary_logits = self.auxiliary_head(s1)
        logits = self.classifier(self.global_pooling(self.lastact(s1)).flatten(1))
        return logits if auxiliary_logits is None else (logits, auxiliary_logits)
