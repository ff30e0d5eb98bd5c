"""The canonical text against brute force over all renumberings."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from itertools import combinations_with_replacement, permutations, product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.spaces.darts.canonical import canonical_cell, canonical_text
from prejudge.spaces.darts.genotype import Edge, Genotype
from prejudge.spaces.darts.notations import parse_genotype

OPS = ("skip_connect", "sep_conv_3x3")  # few, so that cells coincide often
Cell = tuple[tuple[Edge, ...], tuple[int, ...]]


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    count = draw(st.integers(1, 5))
    edges = [(draw(st.sampled_from(OPS)), draw(st.integers(0, node + 1))) for node in range(count) for _ in range(2)]
    concat = draw(st.lists(st.integers(2, count + 1), min_size=1, unique=True))
    return tuple(edges), tuple(concat)


def renumberings(cell: Cell) -> list[Any]:
    """The cell under every renumbering that keeps predecessors below their nodes, as comparable values."""
    edges, concat = cell
    count = len(edges) // 2
    found = []
    for order in permutations(range(count)):
        number = {0: 0, 1: 1} | {node + 2: place + 2 for place, node in enumerate(order)}
        nodes = [sorted((number[p], op) for op, p in edges[2 * n : 2 * n + 2]) for n in order]
        if all(p < place + 2 for place, node in enumerate(nodes) for p, _ in node):
            found.append((nodes, sorted(number[s] for s in concat)))
    return found


def least(cell: Cell) -> str:
    return str(min(renumberings(cell)))


def shuffled(cell: Cell, seed: int) -> Cell:
    rng = random.Random(seed)
    nodes, concat = rng.choice(renumberings(cell))
    rng.shuffle(concat)
    return tuple((op, p) for node in nodes for p, op in rng.sample(node, 2)), tuple(concat)


@settings(max_examples=300, deadline=None)
@given(cells(), st.integers(0, 2**32 - 1))
def test_renumbered_cells_have_one_key(cell: Cell, seed: int) -> None:
    assert canonical_cell(*shuffled(cell, seed)) == canonical_cell(*cell)


@settings(max_examples=300, deadline=None)
@given(cells(), cells())
def test_keys_are_equal_only_for_isomorphic_cells(a: Cell, b: Cell) -> None:
    assert (canonical_cell(*a) == canonical_cell(*b)) == (least(a) == least(b))


def test_all_cells_of_three_nodes_fall_into_the_same_classes_as_by_brute_force() -> None:
    choices = [
        list(combinations_with_replacement([(op, p) for p in range(node + 2) for op in OPS], 2)) for node in range(3)
    ]
    by_key, by_force = defaultdict(set), defaultdict(set)
    for index, nodes in enumerate(product(*choices)):
        cell = (tuple(edge for node in nodes for edge in node), (3, 4))
        by_key[canonical_cell(*cell)].add(index)
        by_force[least(cell)].add(index)
    assert set(map(frozenset, by_key.values())) == set(map(frozenset, by_force.values()))
    assert len(by_key) < index + 1  # some cells of the enumeration are isomorphic


@settings(max_examples=100, deadline=None)
@given(cells(), cells())
def test_the_text_is_a_genotype_of_its_own_class(normal: Cell, reduce: Cell) -> None:
    text = canonical_text(Genotype(*normal, *reduce))
    assert canonical_text(parse_genotype(text)) == text
    assert str(parse_genotype(text)) == text
    assert canonical_cell(*normal) in renumbered_as_edges(normal)


def renumbered_as_edges(cell: Cell) -> list[Cell]:
    return [(tuple((op, p) for n in nodes for p, op in n), tuple(c)) for nodes, c in ordered_by_number(cell)]


def ordered_by_number(cell: Cell) -> list[Any]:
    order = {op: i for i, op in enumerate(("skip_connect", "sep_conv_3x3"))}  # as in OPERATIONS
    return [([sorted(n, key=lambda e: (e[0], order[e[1]])) for n in nodes], c) for nodes, c in renumberings(cell)]


def test_unlike_cells_have_unlike_keys() -> None:
    edges = (("skip_connect", 0), ("skip_connect", 1), ("sep_conv_3x3", 0), ("skip_connect", 1))
    key = canonical_cell(edges, (2, 3))
    assert canonical_cell(edges, (2,)) != key  # another output
    assert canonical_cell((*edges[:2], ("sep_conv_3x3", 1), ("skip_connect", 0)), (2, 3)) != key  # inputs swapped
    assert canonical_cell((*edges[:2], ("sep_conv_3x3", 0), ("skip_connect", 2)), (2, 3)) != key  # another source
    assert canonical_cell((*edges[2:], *edges[:2]), (3, 2)) == key


def test_equal_nodes_are_not_tried_in_every_order() -> None:
    edges = (("skip_connect", 0), ("skip_connect", 1)) * 14
    started = time.perf_counter()
    assert canonical_cell(edges, tuple(range(2, 16)))[0] == edges
    assert time.perf_counter() - started < 1  # 14! orders would take years
