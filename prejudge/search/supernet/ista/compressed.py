"""ISTA-NAS's architecture parameters: each node's sparse choice of operations, recovered from a few numbers.

Yang et al., *ISTA-NAS: Efficient and Consistent Neural Architecture Search by Sparse Coding*, NeurIPS 2020,
arXiv:2010.06176; conventions of the authors' code (iboing/ISTA-NAS, 226e49f).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from prejudge.errors import InputError, unknown
from prejudge.search.supernet.arch_parameters import SPREAD, ArchParameters, Candidates
from prejudge.search.supernet.ista.sparse_solvers import Solver
from prejudge.spaces.darts.candidates import EDGES
from prejudge.spaces.darts.genotype import CELLS, Edge, Genotype
from prejudge.spaces.nn.supernet import Mixture, weighted

NODES = 4

KEPT = 2
"""Operations of a node of a genotype."""

Place = tuple[int, int]
"""(edge, position among the edge's candidates)"""


@dataclass(frozen=True)
class SparseRecovery:
    """The changes that a recovery made.

    Attributes:
        distance: By node, the Euclidean distance of the new z from the one before: 0 for frozen nodes, infinite at the
            first recovery. It is that of the new z even where that was not accepted.
        genotype: What the new vectors stand for, accepted or not.
        accepted: Whether they have replaced the old ones.
    """

    distance: Mapping[str, float]
    genotype: Genotype
    accepted: bool


class CompressedParameters(ArchParameters):
    """Sparse weights of each node's candidates, which are learnt in a compressed space.

    The ``n`` candidates of a node, those of its first incoming edge first, have a sparse vector z ``(n,)``. What is
    learnt is ``b ≈ A z``, ``(m,)``, with a fixed random matrix A. From time to time :meth:`recover` finds z from b:
    the minimizer of ``0.5 ||A z - b||² + penalty ||z||₁``. In between, only the ``sparseness`` candidates with the
    largest ``|z|``, the set S, take part; each counts ``w_j = z_j + A_jᵀ (b - A_S z_S)``, which may be negative. Only
    ``A_jᵀ b`` is differentiated: the gradient of b is ``A_S`` times that of ``w_S``. Both of a node's operations may be
    on one edge.

    Nodes are called ``normal_0`` … ``normal_3``, ``reduce_0`` … ``reduce_3``. The matrices and the sparse vectors stay
    in float64 on the host wherever the module is moved: the recovery needs that precision, and not every device has it.

    Args:
        candidates: Operations of the 14 edges, by cell type; ``none`` cannot be among them.
        seed: Of the matrices, uniform in [0, 1): NumPy's ``RandomState(seed)`` draws them node by node, that of the
            normal cell first. The published searches used 2 (two-stage) and 5 (one-stage).
        generator: Draws the parameters b, N(0, 0.001²); torch's own where left out.
        dimensions: m, the length of b.
        sparseness: How many candidates of a node take part.
        penalty: Weight of the 1-norm.

    Attributes:
        b: The parameters, by node.
        nodes: The nodes' names.
        frozen: Which nodes' choices are final, ``(8,)``.

    Raises:
        InputError: The candidates are not those of a DARTS cell, hold ``none``, or are fewer than ``sparseness``; or a
            number is not positive.
    """

    frozen: Tensor

    def __init__(
        self,
        candidates: Candidates,
        seed: int,
        generator: torch.Generator | None = None,
        *,
        dimensions: int = 7,
        sparseness: int = 2,
        penalty: float = 1e-5,
    ) -> None:
        super().__init__(candidates)
        if min(dimensions, sparseness, penalty) <= 0:
            raise InputError(
                f"ISTA-NAS: dimensions, sparseness and penalty must be positive, not {dimensions}, {sparseness} and "
                f"{penalty}"
            )
        self._places = _places(self.candidates, sparseness)
        self.nodes = tuple(self._places)
        self.dimensions, self.sparseness, self.penalty = dimensions, sparseness, penalty
        rng = np.random.RandomState(seed)  # the original's generator
        drawn = [f"{cell}_{node}" for node in range(NODES) for cell in CELLS]
        matrices = {name: rng.rand(dimensions, len(self._places[name])) for name in drawn}
        for name, places in self._places.items():
            self.register_buffer(f"matrix_{name}", torch.from_numpy(matrices[name]))
            self.register_buffer(f"z_{name}", torch.full((len(places),), torch.nan, dtype=torch.float64))
        self.register_buffer("frozen", torch.zeros(len(self.nodes), dtype=torch.bool))
        self._on_host = tuple(self._buffers)
        self.b = nn.ParameterDict(
            {name: nn.Parameter(SPREAD * torch.randn(dimensions, generator=generator)) for name in self.nodes}
        )
        # What the forward pass needs of A and z, in the parameters' format and on their device.
        self.register_buffer("_columns", torch.zeros(len(self.nodes), dimensions, sparseness), persistent=False)
        self.register_buffer("_offsets", torch.zeros(len(self.nodes), sparseness), persistent=False)
        self.register_buffer("_index", torch.zeros(len(self.nodes) * sparseness, dtype=torch.int64), persistent=False)
        self._widest = max(len(names) for edges in self.candidates.values() for names in edges)
        self._selected: dict[str, tuple[Place, ...]] = {}
        self.register_load_state_dict_post_hook(_follow_loaded_state)  # type: ignore[no-untyped-call]

    def matrix(self, node: str) -> np.ndarray:
        """A of a node, ``(m, n)`` float64."""
        return self._exact("matrix", node).numpy().copy()

    def z(self, node: str) -> np.ndarray:
        """The recovered vector of a node, ``(n,)`` float64, not cut down to its largest entries; NaN before."""
        return self._exact("z", node).numpy().copy()

    def is_frozen(self, node: str) -> bool:
        """Whether a node's choice is final."""
        return bool(self.frozen[self._number(node)])

    def selected(self, node: str) -> tuple[Place, ...]:
        """The operations of a node that run, the one with the largest ``|z|`` last.

        Raises:
            InputError: Nothing has been recovered yet.
        """
        self._number(node)
        if not self._selected:
            raise InputError("ISTA-NAS: no operations are chosen before the first recovery; call recover(solver)")
        return self._selected[node]

    def weights(self) -> dict[str, Tensor]:
        w = self._weights()
        dense = w.new_zeros(len(CELLS) * len(EDGES) * self._widest).scatter(0, self._index, w.flatten())
        return dict(zip(CELLS, dense.view(len(CELLS), len(EDGES), self._widest).unbind(), strict=True))

    def selected_weights(self) -> dict[str, Tensor]:
        """The weights of the operations that run, ``(sparseness,)`` by node, in the order of :meth:`selected`."""
        return dict(zip(self.nodes, self._weights().unbind(), strict=True))

    def mixture_of(self, weights: Mapping[str, Tensor]) -> Mixture:
        """The mixture in which the selected operations take part with these weights, and no others run."""
        active: dict[str, list[list[int]]] = {cell: [[] for _ in edges] for cell, edges in self.candidates.items()}
        for name in self.nodes:
            for edge, position in sorted(self.selected(name)):
                active[_cell(name)][edge].append(position)
        return weighted({cell: matrix.unbind() for cell, matrix in weights.items()}, active)

    def recover(self, solver: Solver, accept: Callable[[Genotype], bool] | None = None) -> SparseRecovery:
        """Find z of all nodes that are not frozen from their b.

        Args:
            solver: One of :func:`~prejudge.search.supernet.ista.sparse_solvers.solver`.
            accept: Whether the new vectors may replace the old ones, given what all nodes together then stand for; they
                always do where left out. One-stage searches refuse networks that are too large.
        """
        free = [name for name in self.nodes if not self.is_frozen(name)]
        targets = [self.b[name].detach().cpu().double().numpy() for name in free]
        found = dict(zip(free, solver([self.matrix(name) for name in free], targets, self.penalty), strict=True))
        proposed = {name: found.get(name, self.z(name)) for name in self.nodes}
        distance = {name: float(np.linalg.norm(z - self.z(name))) for name, z in proposed.items()}
        genotype = self._genotype(proposed)
        accepted = accept is None or accept(genotype)
        if accepted:
            for name, z in proposed.items():
                self._exact("z", name).copy_(torch.from_numpy(z))
            self._select()
        return SparseRecovery({name: np.inf if np.isnan(d) else d for name, d in distance.items()}, genotype, accepted)

    def freeze(self, nodes: Iterable[str]) -> None:
        """Make the choice of some nodes final: their z is not recovered again and their b is not learnt any more."""
        for name in nodes:
            self.frozen[self._number(name)] = True
        self._stop_frozen()

    def genotype(self) -> Genotype:
        """The genotype of z: of each node the second largest and then the largest entry, as the original writes them.

        These are the operations that run where ``sparseness`` is 2.

        Raises:
            InputError: Nothing has been recovered yet.
        """
        self.selected(self.nodes[0])
        return self._genotype({name: self.z(name) for name in self.nodes})

    def _weights(self) -> Tensor:
        """Those of all nodes' operations that run, ``(nodes, sparseness)``."""
        self.selected(self.nodes[0])
        b = torch.stack([self.b[name] for name in self.nodes])
        # A product by hand: autocast would round a matrix product to half precision.
        return (self._columns * b[:, :, None]).sum(1) + self._offsets

    def _genotype(self, vectors: Mapping[str, np.ndarray]) -> Genotype:
        cells: dict[str, list[Edge]] = {cell: [] for cell in CELLS}
        for name, z in vectors.items():
            for k in largest(z, KEPT):
                edge, position = self._places[name][k]
                cells[_cell(name)].append((self.candidates[_cell(name)][edge][position], EDGES[edge][1]))
        concat = tuple(range(2, 2 + NODES))
        return Genotype(tuple(cells["normal"]), concat, tuple(cells["reduce"]), concat)

    def _select(self) -> None:
        """Follow z: what runs, and the constants of its weights."""
        columns, offsets, index = [], [], []
        for name, places in self._places.items():
            chosen = largest(self.z(name), self.sparseness)
            matrix, z = self.matrix(name)[:, chosen], self.z(name)[chosen]
            columns.append(matrix)
            offsets.append(z - matrix.T @ (matrix @ z))
            self._selected[name] = tuple(places[k] for k in chosen)
            first = CELLS.index(_cell(name)) * len(EDGES)
            index += [(first + edge) * self._widest + position for edge, position in self._selected[name]]
        like = self.b[self.nodes[0]]
        self._columns = torch.from_numpy(np.stack(columns)).to(like.dtype).to(like.device)
        self._offsets = torch.from_numpy(np.stack(offsets)).to(like.dtype).to(like.device)
        self._index = torch.tensor(index, device=like.device)

    def _stop_frozen(self) -> None:
        for name, frozen in zip(self.nodes, self.frozen.tolist(), strict=True):
            self.b[name].requires_grad_(not frozen)
            if frozen:
                self.b[name].grad = None  # an optimizer would go on with a gradient that stays: momentum, weight decay

    def _exact(self, what: str, node: str) -> Tensor:
        self._number(node)
        return self.get_buffer(f"{what}_{node}")

    def _number(self, node: str) -> int:
        if node not in self.nodes:
            raise unknown("node", node, self.nodes)
        return self.nodes.index(node)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> CompressedParameters:
        """Move and convert everything but what stays in float64 on the host."""
        kept = {name: self._buffers.pop(name) for name in self._on_host}
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers.update(kept)
        return self


def largest(z: np.ndarray, count: int) -> list[int]:
    """Positions of the entries of ``z``, ``(n,)``, with the largest magnitudes, ascending; of equals the later win."""
    return [int(k) for k in np.argsort(np.abs(z), kind="stable")[-count:]]


def _places(candidates: Mapping[str, tuple[tuple[str, ...], ...]], sparseness: int) -> dict[str, tuple[Place, ...]]:
    """By node, where each entry of its vector is: edge by edge, candidate by candidate."""
    if {cell: len(edges) for cell, edges in candidates.items()} != dict.fromkeys(CELLS, len(EDGES)):
        raise InputError(f"ISTA-NAS needs {len(EDGES)} lists of candidates for each of {', '.join(CELLS)}")
    found = {}
    for cell in CELLS:
        edges = candidates[cell]
        for node in range(NODES):
            name = f"{cell}_{node}"
            into = [edge for edge, (target, _) in enumerate(EDGES) if target == node]
            found[name] = tuple((edge, position) for edge in into for position in range(len(edges[edge])))
            if any("none" in edges[edge] for edge in into):
                raise InputError(f"ISTA-NAS: node {name} has 'none' among its candidates; leave it out")
            if len(found[name]) < sparseness:
                raise InputError(f"ISTA-NAS: node {name} has {len(found[name])} candidates, fewer than {sparseness}")
    return found


def _cell(node: str) -> str:
    return node.rpartition("_")[0]


def _follow_loaded_state(module: CompressedParameters, _: object) -> None:
    """After a checkpoint is loaded: the choice, its constants and what is frozen follow what was loaded."""
    if all(np.isfinite(module.z(name)).all() for name in module.nodes):
        module._select()
    else:
        module._selected = {}
    module._stop_frozen()
