"""The DARTS spaces: ``darts`` and RobustDARTS's ``darts-s1`` to ``darts-s4``; an architecture is a genotype.

``darts`` (Liu et al., ICLR 2019, arXiv:1806.09055) reads any genotype, the cells of NASNet and AmoebaNet included, and
samples as NAS-Bench-301 does: four nodes, two distinct predecessors each, the seven operations other than ``none``.
S1 to S4 (Zela et al., ICLR 2020, arXiv:1909.09656) restrict the operations of each edge and read only such genotypes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import combinations, permutations
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from prejudge.errors import InputError, unknown
from prejudge.spaces.base import Space, register_space
from prejudge.spaces.cell_graph import CellGraph
from prejudge.spaces.darts.candidates import (
    DARTS7,
    HNAS6,
    NODES,
    S1,
    S2,
    S3,
    S4,
    Candidates,
    edge_index,
    same_everywhere,
)
from prejudge.spaces.darts.canonical import canonical_text
from prejudge.spaces.darts.genotype import CELLS, Edge, Genotype, state_name
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.notations import NOTATIONS, parse_genotype

if TYPE_CHECKING:
    import numpy as np
    import torch

    from prejudge.spaces.nn.supernet import Supernet

SILENT = ("none", "noise")
"""Operations whose output does not depend on their input."""

_CONCAT = tuple(range(2, 2 + NODES))
_PAIRS = tuple(tuple(combinations(range(node + 2), 2)) for node in range(NODES))
_ORDERED_PAIRS = tuple(tuple(permutations(range(node + 2), 2)) for node in range(NODES))

_Edit = tuple[str, int, Edge]  # cell, position of the edge, what it becomes


class DARTS(Space[Genotype]):
    """A space of genotypes.

    Args:
        name: What the space is called.
        candidates: The operations that each edge may choose from; for ``darts`` seven, to which DARTS' own supernet
            adds ``none`` (:data:`~prejudge.spaces.darts.candidates.DARTS8`). ``none`` may be read where it is among
            them, but is never sampled: a supernet weighs it against the others, and no genotype is derived with it.
        members_only: Whether :meth:`parse` refuses genotypes with other operations, nodes or outputs.
    """

    macro_type: ClassVar[type] = MacroConfigDARTS
    notations: ClassVar[tuple[str, ...]] = tuple(NOTATIONS)

    def __init__(self, name: str, candidates: Candidates, *, members_only: bool = True):
        self.name = name
        self.candidates = candidates
        self.members_only = members_only
        self._choices = {
            cell: tuple(tuple(dict.fromkeys(op for op in edge if op != "none")) for edge in candidates[cell])
            for cell in CELLS
        }

    @property
    def size(self) -> int:
        """Number of genotypes that :meth:`sample` can give: two distinct predecessors per node, no ``none``.

        Isomorphic genotypes count each. 1,076,746,950,455,072,400 (1.1e18) for ``darts``.
        """
        nodes = [
            sum(prod(len(self._choices[cell][edge_index(node, p)]) for p in pair) for pair in _PAIRS[node])
            for cell in CELLS
            for node in range(NODES)
        ]
        return prod(nodes)

    def parse(self, text: Any, *, notation: str | None = None) -> Genotype:
        """Read a genotype in any notation of :mod:`prejudge.spaces.darts.notations`, published names included.

        Args:
            text: A text, a mapping, a pair of cells, or a :class:`Genotype`.
            notation: ``"naslib"`` or ``"bananas"``, which a pair of integer lists needs.

        Raises:
            InputError: It cannot be read, its cells cannot be built, or it lies outside a space of members only.
        """
        self.check_notation(notation)
        genotype = parse_genotype(text, notation)
        if self.members_only:
            self._require_member(genotype)
        return genotype

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Two uniform distinct predecessors for every node, and a uniform operation on each of its edges."""
        return _draw(rng, _PAIRS, self._choices)

    def sample_hnas(self, rng: np.random.Generator) -> Genotype:
        """A genotype as HNAS's pool has them (Shu et al., NeurIPS 2022): ``dil_conv_5x5`` never occurs.

        Its code discretizes uniform random weights of eight operations of which only seven exist. Weights of a row are
        exchangeable, and rows are independent, so the operation of each edge is uniform over the six that remain, and
        the ordered pair of predecessors uniform too; that is what is drawn here.

        Raises:
            InputError: This is not the space ``darts``.
        """
        if self.name != "darts":
            raise InputError(f"{self.name}: HNAS samples the space 'darts' only")
        return _draw(rng, _ORDERED_PAIRS, same_everywhere(HNAS6))

    def mutate(self, arch: Genotype, rng: np.random.Generator) -> Genotype:
        """Another operation on one edge, or another predecessor, each half of the time; never an isomorphic genotype.

        A new predecessor is not the node's other one. The edge keeps its operation unless the space forbids it there,
        and then takes any that the space allows.

        Raises:
            InputError: The space has nothing else to offer.
        """
        kinds = [edits for edits in self._edits(arch) if edits]
        key = self.canonical(arch)
        while kinds:
            kind = kinds[int(rng.integers(len(kinds)))]
            mutated = _edited(arch, kind.pop(int(rng.integers(len(kind)))))
            if self.canonical(mutated) != key:
                return mutated
            kinds = [edits for edits in kinds if edits]
        raise InputError(f"{self.name}: no other genotype is one edit away from {arch}")

    def neighbors(self, arch: Genotype) -> list[Genotype]:
        """All results of :meth:`mutate`, one of each isomorphism class."""
        found = {self.canonical(arch): arch}
        for kind in self._edits(arch):
            for edit in kind:
                edited = _edited(arch, edit)
                found.setdefault(self.canonical(edited), edited)
        return list(found.values())[1:]

    def canonical(self, arch: Genotype) -> str:
        """The official text of the first renumbering of the nodes: equal for isomorphic genotypes, and only for them.

        :mod:`prejudge.spaces.darts.canonical` says what is called equal. In S1, where the edges have different
        candidates, the renumbered genotype need not be a member of the space.
        """
        return canonical_text(arch)

    def connected(self, arch: Genotype) -> bool:
        """Whether in each cell some path leads from an input to the output, by operations other than none and noise."""
        for _, edges, concat in arch.cells():
            reached = [True, True]
            for node in range(len(edges) // 2):
                pair = edges[2 * node : 2 * node + 2]
                reached.append(any(operation not in SILENT and reached[p] for operation, p in pair))
            if not any(reached[state] for state in concat):
                return False
        return True

    def network(self, arch: Genotype, **macro: Any) -> torch.nn.Module:
        from prejudge.spaces.darts.network import NetworkDARTS

        return NetworkDARTS(self.parse(arch), self.macro(**macro))

    def supernet(self, *, candidates: Sequence[str] | Candidates | None = None, **macro: Any) -> Supernet:
        """The weight-sharing network: all candidates on each of the 14 edges of both cells.

        Args:
            candidates: Operations of every edge, or of each edge by cell type, in the order of their positions; by
                default the space's own (in ``darts`` without ``none``).
            macro: Fields of :class:`~prejudge.spaces.darts.supernet.SupernetMacroConfigDARTS`.

        Returns:
            A module from images ``(N, in_channels, H, W)`` and a mixture to logits ``(N, num_classes)``; its kinds of
            cells are ``"normal"`` and ``"reduce"``.

        Raises:
            InputError: A field of the macro-architecture or a candidate is unknown or out of range.
        """
        from prejudge.spaces.darts.supernet import SupernetDARTS, SupernetMacroConfigDARTS

        if candidates is None:
            candidates = self.candidates
        elif not isinstance(candidates, Mapping):
            candidates = same_everywhere(candidates)
        known = {field.name for field in fields(SupernetMacroConfigDARTS)}
        for name in macro:
            if name not in known:
                raise unknown(f"{self.name} supernet macro field", name, known)
        return SupernetDARTS(candidates, SupernetMacroConfigDARTS(**macro))

    def params(self, arch: Genotype, **macro: Any) -> int:
        """Exact number of parameters by formula; the auxiliary head counts only if the macro has it."""
        from prejudge.spaces.darts.counts import count_params

        return count_params(self.parse(arch), self.macro(**macro))

    def flops(self, arch: Genotype, image_size: int = 32, **macro: Any) -> int:
        from prejudge.spaces.darts.counts import count_flops

        return count_flops(self.parse(arch), self.macro(**macro), image_size)

    def graphs(self, arch: Genotype) -> dict[str, CellGraph]:
        """The ``normal`` and the ``reduce`` cell: two inputs, the nodes, the output; concatenation has no label."""
        graphs = {}
        for cell, edges, concat in arch.cells():
            output = 2 + len(edges) // 2
            drawn = [(source, 2 + position // 2, operation) for position, (operation, source) in enumerate(edges)]
            graphs[cell] = CellGraph(
                (*map(state_name, range(output)), "c_{k}"), (*drawn, *((state, output, "") for state in concat))
            )
        return graphs

    @property
    def choices(self) -> tuple[int, ...]:
        """Three decisions for each node of the normal, then of the reduction cell.

        Which two predecessors (pairs in lexicographic order), the operation on the lower one's edge, and on the
        other's: a position among what may be sampled there, so that in S1 its meaning depends on the predecessor.
        """
        found: list[int] = []
        for cell in CELLS:
            for node, pairs in enumerate(_PAIRS):
                operations = max(len(self._operations(cell, node, p)) for p in range(node + 2))
                found += (len(pairs), operations, operations)
        return tuple(found)

    def encode(self, arch: Genotype) -> tuple[int, ...]:
        """The decisions of a genotype that :meth:`sample` can give; the order of a node's edges is not kept.

        Raises:
            InputError: It has other nodes or outputs, an operation that is never sampled, or a node with one
                predecessor.
        """
        self._require_member(arch)
        found: list[int] = []
        for cell, edges, _ in arch.cells():
            for node, pairs in enumerate(_PAIRS):
                ordered = sorted(edges[2 * node : 2 * node + 2], key=lambda edge: edge[1])
                pair = (ordered[0][1], ordered[1][1])
                allowed = [self._operations(cell, node, p) for p in pair]
                if pair not in pairs or any(op not in known for (op, _), known in zip(ordered, allowed, strict=True)):
                    raise InputError(
                        f"{self.name}: node {node} of the {cell} cell, {edges[2 * node : 2 * node + 2]}, cannot be "
                        "encoded: it needs two predecessors and operations other than none"
                    )
                found.append(pairs.index(pair))
                found += [known.index(op) for (op, _), known in zip(ordered, allowed, strict=True)]
        return tuple(found)

    def decode(self, decisions: Sequence[int]) -> Genotype | None:
        """The genotype; None where an edge has fewer operations than the decision's number."""
        left = iter(decisions)
        cells = []
        for cell in CELLS:
            edges: list[Edge] = []
            for node, pairs in enumerate(_PAIRS):
                for predecessor, choice in zip(pairs[next(left)], (next(left), next(left)), strict=True):
                    operations = self._operations(cell, node, predecessor)
                    if choice >= len(operations):
                        return None
                    edges.append((operations[choice], int(predecessor)))
            cells.append(tuple(edges))
        return Genotype(cells[0], _CONCAT, cells[1], _CONCAT)

    def _operations(self, cell: str, node: int, predecessor: int) -> tuple[str, ...]:
        """The operations to sample on edges; cells of more nodes are only in ``darts``, where edges do not differ."""
        index = edge_index(node, predecessor) if node < NODES else 0
        return self._choices[cell][index]

    def _edits(self, arch: Genotype) -> tuple[list[_Edit], list[_Edit]]:
        """All changes of one operation, and all changes of one predecessor."""
        operations: list[_Edit] = []
        predecessors: list[_Edit] = []
        for cell, edges, _ in arch.cells():
            for position, (old, source) in enumerate(edges):
                node = position // 2
                taken = (source, edges[position ^ 1][1])
                operations += [
                    (cell, position, (op, source)) for op in self._operations(cell, node, source) if op != old
                ]
                for other in range(node + 2):
                    if other not in taken:
                        allowed = self._operations(cell, node, other)
                        kept = (old,) if old in allowed or not self.members_only else allowed
                        predecessors += [(cell, position, (op, other)) for op in kept]
        return operations, predecessors

    def _require_member(self, genotype: Genotype) -> None:
        for cell, edges, concat in genotype.cells():
            if len(edges) != 2 * NODES or sorted(concat) != list(_CONCAT):
                raise InputError(
                    f"{self.name}: a cell has {NODES} nodes and concatenates {list(_CONCAT)}; the {cell} cell has "
                    f"{len(edges) // 2} and concatenates {list(concat)}"
                )
            for position, (operation, source) in enumerate(edges):
                allowed = self.candidates[cell][edge_index(position // 2, source)]
                if operation not in allowed:
                    raise InputError(
                        f"{self.name}: the edge from {state_name(source)} to node {position // 2} of the {cell} cell "
                        f"cannot be {operation}; its candidates are {', '.join(dict.fromkeys(allowed))}"
                    )


def _draw(
    rng: np.random.Generator,
    pairs: Sequence[Sequence[tuple[int, ...]]],
    choices: Mapping[str, Sequence[Sequence[str]]],
) -> Genotype:
    uniform = iter(rng.random(len(CELLS) * NODES * 3).tolist())
    cells = []
    for cell in CELLS:
        edges: list[Edge] = []
        for node in range(NODES):
            for predecessor in pairs[node][int(next(uniform) * len(pairs[node]))]:
                operations = choices[cell][edge_index(node, predecessor)]
                edges.append((operations[int(next(uniform) * len(operations))], predecessor))
        cells.append(tuple(edges))
    return Genotype(cells[0], _CONCAT, cells[1], _CONCAT)


def _edited(genotype: Genotype, edit: _Edit) -> Genotype:
    name, position, edge = edit
    cells = {cell: edges for cell, edges, _ in genotype.cells()}
    cells[name] = (*cells[name][:position], edge, *cells[name][position + 1 :])
    return Genotype(cells["normal"], genotype.normal_concat, cells["reduce"], genotype.reduce_concat)


register_space("darts")(lambda: DARTS("darts", same_everywhere(DARTS7), members_only=False))
register_space("darts-s1")(lambda: DARTS("darts-s1", S1))
register_space("darts-s2")(lambda: DARTS("darts-s2", S2))
register_space("darts-s3")(lambda: DARTS("darts-s3", S3))
register_space("darts-s4")(lambda: DARTS("darts-s4", S4))
