"""Architecture parameters, and the weights of a supernet's candidate operations that follow from them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from prejudge.spaces.nn.supernet import Mixture, weighted

Candidates = Mapping[str, Sequence[Sequence[str]]]
"""Names of the operations of every edge, by the kind of cell."""

SPREAD = 1e-3
"""Standard deviation of the architecture parameters at the start, in DARTS and all that follows it."""


class ArchParameters(nn.Module):
    """The architecture parameters of a supernet, which are its ``parameters()``, and the mixture that they make.

    Attributes:
        candidates: Names of the operations of every edge, by the kind of cell.
    """

    def __init__(self, candidates: Candidates) -> None:
        super().__init__()
        self.candidates = {kind: tuple(tuple(edge) for edge in edges) for kind, edges in candidates.items()}

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """The weight of every candidate, ``(edges, widest)`` by the kind of cell; 0 beyond an edge's candidates."""

    def mixture(self) -> Mixture:
        """The mixture of the current parameters, in which it is differentiable."""
        return self.mixture_of(self.weights())

    def record(self) -> dict[str, list[list[float]]]:
        """The weights as plain values, for the records: ``edges`` lists of ``widest`` numbers by the kind of cell."""
        return {kind: matrix.tolist() for kind, matrix in self.weights().items()}

    def mixture_of(self, weights: Mapping[str, Tensor]) -> Mixture:
        """The mixture in which all candidates take part with these weights."""
        everything = {kind: [range(len(edge)) for edge in edges] for kind, edges in self.candidates.items()}
        return weighted({kind: list(matrix.unbind()) for kind, matrix in weights.items()}, everything)


class SoftmaxParameters(ArchParameters):
    """One parameter α for each candidate; an edge's weights are their softmax (Liu et al., ICLR 2019).

    Args:
        candidates: Names of the operations of every edge, by the kind of cell.
        generator: Draws the parameters, N(0, :data:`SPREAD`²); torch's own where left out.

    Attributes:
        alphas: By the kind of cell, ``(edges, widest)``; what lies beyond an edge's candidates has no meaning.
    """

    def __init__(self, candidates: Candidates, generator: torch.Generator | None = None) -> None:
        super().__init__(candidates)
        self.alphas = nn.ParameterDict()
        for kind, edges in self.candidates.items():
            shape = (len(edges), max(map(len, edges)))
            self.alphas[kind] = nn.Parameter(SPREAD * torch.randn(shape, generator=generator))
            absent = torch.tensor([[column >= len(edge) for column in range(shape[1])] for edge in edges])
            self.register_buffer(f"absent_{kind}", absent, persistent=False)

    def weights(self) -> dict[str, Tensor]:
        return {
            kind: alpha.masked_fill(self.get_buffer(f"absent_{kind}"), -torch.inf).softmax(dim=1)
            for kind, alpha in self.alphas.items()
        }

    def record(self) -> dict[str, list[list[float]]]:
        """The parameters, from which the weights follow."""
        return {kind: alpha.tolist() for kind, alpha in self.alphas.items()}


def entropy(weights: Mapping[str, Tensor]) -> float:
    """Mean over edges of the entropy of their weights, as a share of the largest that is possible: 0 decided, 1 equal.

    Args:
        weights: As :meth:`ArchParameters.weights` gives them; rows that do not sum to 1 are taken as shares.
    """
    found = []
    for matrix in weights.values():
        magnitudes = matrix.detach().float().abs()
        shares = magnitudes / magnitudes.sum(1, keepdim=True).clamp_min(1e-12)
        found.append(torch.special.entr(shares).sum(1) / math.log(max(2, matrix.shape[1])))
    return float(torch.cat(found).mean())


def share_of(operation: str, weights: Mapping[str, Tensor], candidates: Candidates) -> float:
    """Share of the edges on which one operation counts most: of ``skip_connect``, a sign of collapse.

    Edges on which nothing counts are left out.
    """
    hits = edges = 0
    for kind, matrix in weights.items():
        for names, row in zip(candidates[kind], matrix.detach().tolist(), strict=True):
            if not any(row):
                continue
            edges += 1
            hits += names[max(range(len(names)), key=row.__getitem__)] == operation
    return hits / max(1, edges)
