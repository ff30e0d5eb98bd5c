"""The weighting of DARTS-PT: edges that are decided count as decided, the others by their architecture parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from prejudge.search.supernet.arch_parameters import ArchParameters
from prejudge.search.supernet.darts_pt.projection import UNDECIDED, EdgeProjection, Removal
from prejudge.spaces.nn.supernet import Mixture


class ProjectedParameters(ArchParameters):
    """Another weighting, with one operation or none on the edges that a projection has decided.

    A decided edge has weight 1 on its operation and runs no other; through it no gradient reaches the architecture
    parameters, as in the original.

    Args:
        arch_parameters: Owns the architecture parameters.
        projection: The decisions; those that it makes later count at once.
    """

    def __init__(self, arch_parameters: ArchParameters, projection: EdgeProjection) -> None:
        super().__init__(arch_parameters.candidates)
        self.undecided = arch_parameters
        self.projection = projection

    def weights(self) -> dict[str, Tensor]:
        return {kind: self._rows(kind, matrix) for kind, matrix in self.undecided.weights().items()}

    def mixture(self) -> Mixture:
        return self.mixture_of(self.undecided.weights())

    def mixture_of(self, weights: Mapping[str, Tensor]) -> Mixture:
        """The mixture in which edges that are not decided have these weights."""
        mixture = super().mixture_of(weights)
        return {
            kind: tuple(
                terms if choice == UNDECIDED else ((choice, 1.0),) if choice >= 0 else ()
                for terms, choice in zip(mixture[kind], self.projection.choices[kind], strict=True)
            )
            for kind in mixture
        }

    def _rows(self, kind: str, matrix: Tensor) -> Tensor:
        choices = torch.tensor(self.projection.choices[kind], device=matrix.device)[:, None]
        chosen = torch.arange(matrix.shape[1], device=matrix.device) == choices
        return torch.where(choices == UNDECIDED, matrix, chosen.to(matrix.dtype))


def without(mixture: Mixture, removal: Removal) -> Mixture:
    """A mixture that lacks an operation, or all of an edge; what stays keeps its weight."""
    edges = list(mixture[removal.kind])
    edges[removal.edge] = tuple(
        term for term in edges[removal.edge] if removal.position is not None and term[0] != removal.position
    )
    return {**mixture, removal.kind: tuple(edges)}
