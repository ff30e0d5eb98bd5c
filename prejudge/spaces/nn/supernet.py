"""Weight-sharing networks: every edge of a cell holds all its candidate operations and sums some of them, weighted.

What all searches on supernets share. A supernet knows no architecture parameters: it is told, call by call, which
operations to run and how much each one counts, so that softmax, sparse, projected and pruned weightings all use one
network. A forward hook on an operation sees that operation's own output.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.spaces.architecture import Architecture
from prejudge.spaces.nn.mixed_operations import CellState, WeightedSum, is_zero, run

Terms = Sequence[tuple[int, float | Tensor]]
"""The operations that run on one edge: (position among the edge's candidates, weight)."""

Mixture = Mapping[str, Sequence[Terms]]
"""The terms of every edge, by the kind of cell."""

Active = Mapping[str, Sequence[Sequence[int]]]
"""By the kind of cell and edge, the positions of the candidates that take part."""


class MixedEdge(nn.Module):
    """All candidate operations of one edge.

    Args:
        operations: The modules, in the order of the candidates' names.
    """

    def __init__(self, operations: Iterable[nn.Module]):
        super().__init__()
        self._ops = nn.ModuleList(operations)

    def forward(self, state: CellState, terms: Terms, node: WeightedSum) -> None:
        """Add some operations on a state, weighted, to the node that the edge enters."""
        chosen = [(self._ops[position], weight) for position, weight in terms]
        # An edge of zeros alone still ties its weights to the output: their gradient is 0, not missing.
        for operation, weight in [pair for pair in chosen if not is_zero(pair[0])] or chosen:
            run(operation, state, weight, node)


class Supernet(nn.Module):
    """Base of the weight-sharing networks: images ``(N, C, H, W)`` and a :data:`Mixture` to logits.

    A subclass builds its modules and defines ``forward(x, mixture)`` and :meth:`discretize`. Its cells look up their
    edges' terms by kind: all cells of one kind share them.

    Attributes:
        candidates: Names of the operations that every edge holds, by the kind of cell, in the order of the positions
            that a mixture speaks of; edges may differ.
    """

    def __init__(self, candidates: Mapping[str, Sequence[Sequence[str]]]):
        super().__init__()
        self.candidates = {kind: tuple(tuple(edge) for edge in edges) for kind, edges in candidates.items()}

    @staticmethod
    def arranged(x: Tensor) -> Tensor:
        """Images in the memory format that suits small convolutions best, which all that follows takes over."""
        return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x

    @abstractmethod
    def discretize(self, values: Mapping[str, np.ndarray]) -> Architecture:
        """The architecture of the strongest operations.

        Args:
            values: By the kind of cell a value of every candidate of every edge, ``(edges, widest)``; the larger wins,
                and of equals the one that comes first.
        """

    def check(self, mixture: Mixture) -> None:
        """Raise :class:`InputError` unless a mixture has terms for exactly this supernet's edges and candidates.

        The forward pass does not check: it may run thousands of times with one mixture after the other.
        """
        for kind, edges in self.candidates.items():
            terms = mixture.get(kind)
            if terms is None or len(terms) != len(edges):
                found = "none" if terms is None else len(terms)
                raise InputError(f"supernet: the {kind} cell has {len(edges)} edges; the mixture has {found}")
            for edge, (names, on_edge) in enumerate(zip(edges, terms, strict=True)):
                for position, _ in on_edge:
                    if not 0 <= position < len(names):
                        raise InputError(
                            f"supernet: edge {edge} of the {kind} cell has {len(names)} candidates, none at {position}"
                        )


class Weighted(nn.Module):
    """A supernet with a fixed mixture: a module from images to logits, for whatever takes an ordinary network.

    Args:
        supernet: The network; its weights are shared, not copied.
        mixture: What runs on each edge.
    """

    def __init__(self, supernet: Supernet, mixture: Mixture):
        super().__init__()
        supernet.check(mixture)
        self.supernet = supernet
        self.mixture = mixture

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.supernet(x, self.mixture)
        return result


def uniform(active: Active) -> Mixture:
    """All active operations of an edge with equal weights, which is the softmax of equal architecture parameters."""
    return {
        kind: tuple(tuple((position, 1 / len(edge)) for position in edge) for edge in edges)
        for kind, edges in active.items()
    }


def weighted(vectors: Mapping[str, Sequence[Tensor]], active: Active | None = None) -> Mixture:
    """The mixture of some weight vectors, through which gradients reach them.

    Args:
        vectors: Of every edge the weights of all its candidates, ``(candidates,)`` each; a matrix ``(edges,
            candidates)`` will do.
        active: The positions that take part; all where left out. It decides what is executed, so that no weight has to
            be read back from a device.
    """
    if active is None:
        active = {kind: [range(len(vector)) for vector in edges] for kind, edges in vectors.items()}
    return {
        kind: tuple(
            tuple((position, vector[position]) for position in positions)
            for vector, positions in zip(edges, active[kind], strict=True)
        )
        for kind, edges in vectors.items()
    }
