"""One text for all genotypes that describe the same two cells.

**What is called equal.** Two genotypes have one key if and only if, in each of the two cells, some renumbering of the
intermediate nodes turns one into the other: edges into edges with their operations (their order within a node does not
matter, since a node is a sum) and concatenated states into concatenated states (their order does not matter either: it
permutes the output's channels). The inputs keep their numbers. Isomorphic genotypes have networks that compute the same
function up to that permutation; they differ in the order of their modules, and so in the weights that a seed draws.

What is *not* called equal: cells that differ in a node that reaches nothing, in the source of a ``none`` edge, or by a
detour through skip connections. These differ in parameters, cost or trained accuracy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from prejudge.spaces.darts.genotype import OPERATIONS, Edge, Genotype

_RADIX = 16  # more than there are operations: a state and an operation in one integer that sorts by the state first
_NUMBER = {name: number for number, name in enumerate(OPERATIONS)}


def canonical_text(genotype: Genotype) -> str:
    """The key of a genotype: the official text of the first of all renumberings of its nodes."""
    parts = []
    for cell, edges, concat in genotype.cells():
        canonical_edges, canonical_concat = canonical_cell(edges, concat)
        parts.append(f"{cell}={list(canonical_edges)}, {cell}_concat={list(canonical_concat)}")
    return f"Genotype({', '.join(parts)})"


@lru_cache(maxsize=4096)
def canonical_cell(edges: tuple[Edge, ...], concat: tuple[int, ...]) -> tuple[tuple[Edge, ...], tuple[int, ...]]:
    """The first renumbering of a cell: the least list of sorted (predecessor, operation) pairs, then of concat.

    Nodes are placed one after another. Of all nodes whose predecessors are placed, the one with the least pairs comes
    next; where several tie, each choice is followed up, and later positions decide.

    Args:
        edges: (operation, predecessor), two per node.
        concat: The concatenated states.

    Returns:
        The renumbered edges, sorted within each node, and concat, ascending.
    """
    count = len(edges) // 2
    sources = [(p, _NUMBER[op]) for op, p in edges]
    pending = _first_of_twins(sources, concat)
    unplaced = -1
    placements = [(0, 1, *(unplaced,) * count)]  # new number of each state
    order: list[tuple[int, int]] = []
    for position in range(2, count + 2):
        best: tuple[int, int] | None = None
        following: list[tuple[int, ...]] = []
        for numbers in placements:
            for node in range(count):
                if numbers[node + 2] != unplaced or any(numbers[twin + 2] == unplaced for twin in pending[node]):
                    continue
                (p, a), (q, b) = sources[2 * node], sources[2 * node + 1]
                first, second = numbers[p], numbers[q]
                if first == unplaced or second == unplaced:
                    continue
                first, second = first * _RADIX + a, second * _RADIX + b
                pair = (first, second) if first <= second else (second, first)
                if best is None or pair < best:
                    best, following = pair, []
                if pair == best:
                    following.append((*numbers[: node + 2], position, *numbers[node + 3 :]))
        assert best is not None  # the earliest unplaced node has only placed predecessors
        order.append(best)
        placements = following
    states = min(tuple(sorted(numbers[s] for s in concat)) for numbers in placements)
    return tuple((OPERATIONS[code % _RADIX], code // _RADIX) for pair in order for code in pair), states


def _first_of_twins(sources: Sequence[tuple[int, int]], concat: Sequence[int]) -> list[list[int]]:
    """For each node its earlier twins, which must be placed first.

    Twins have the same edges in and out and are both concatenated or both not; swapping them changes nothing, so one
    order of them is enough (without this, n equal nodes would be tried in n! orders).
    """
    uses: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for edge, (state, operation) in enumerate(sources):
        uses[state].append((edge // 2, operation))
    seen: defaultdict[object, list[int]] = defaultdict(list)
    earlier = []
    for node in range(len(sources) // 2):
        into = tuple(sorted(sources[2 * node : 2 * node + 2]))
        twins = seen[into, tuple(sorted(uses[node + 2])), node + 2 in concat]
        earlier.append(list(twins))
        twins.append(node)
    return earlier
