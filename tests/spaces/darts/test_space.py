"""The DARTS spaces: candidates, sampling, edits, sizes, connectivity, and what they refuse."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.errors import InputError
from prejudge.spaces.base import space
from prejudge.spaces.darts.candidates import (
    DARTS7,
    DARTS8,
    EDGES,
    HNAS6,
    STACNAS_GROUPS,
    STACNAS_STAGE1,
    TENAS8,
    edge_index,
    stacnas_stage2,
)
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.space import DARTS

NAMES = ("darts", "darts-s1", "darts-s2", "darts-s3", "darts-s4")
seeds = st.integers(0, 2**32 - 1)


def of(name: str) -> DARTS:
    found = space(name)
    assert isinstance(found, DARTS)
    return found


V2 = of("darts").parse("DARTS_V2")


def changed(genotype: Genotype, old: str, new: str) -> Genotype:
    assert old in str(genotype)
    return of("darts").parse(str(genotype).replace(old, new, 1))


# -- candidates


def test_edges_are_in_the_official_order() -> None:
    assert EDGES[:6] == ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0))
    assert [edge_index(*edge) for edge in EDGES] == list(range(14))
    assert len(DARTS8) == 8
    assert DARTS8[1:] == DARTS7
    assert sorted(TENAS8) == sorted(DARTS8)


def test_candidates_are_those_of_the_original_code(golden: Path) -> None:
    spaces = json.loads((golden / "supernets" / "genotypes_from_alpha.json").read_text())["darts_pt_spaces"]
    for official, name in zip(("s1", "s2", "s3", "s4", "s5"), (*NAMES[1:], "darts"), strict=True):
        for cell in ("normal", "reduce"):
            expected = spaces[official][f"primitives_{cell}"]
            assert [list(edge) for edge in of(name).candidates[cell]] == expected
        for case in spaces[official]["cases"]:  # what their parser derives is a member
            assert str(of(name).parse(case["genotype"])) == str(of("darts").parse(case["genotype"]))


def test_stacnas_groups_are_those_of_the_original_code(golden: Path) -> None:
    found = json.loads((golden / "supernets" / "stacnas_selection.json").read_text())
    assert list(STACNAS_STAGE1) == found["stage1_ops"]
    assert {name: list(group) for name, group in STACNAS_GROUPS.items()} | {"none": ["none"]} == found["groups"]
    compared = 0
    for case in found["cases"]:
        expected, winners, decided = {}, {}, True
        for index, cell in enumerate(("normal", "reduce")):
            expected[cell] = tuple(tuple(edge) for node in case["stage2_primitives"][index] for edge in node)
            alphas = np.array([edge[:-1] for node in case["alpha1"][index] for edge in node])
            decided &= bool(((alphas == alphas.max(axis=1, keepdims=True)).sum(axis=1) == 1).all())
            winners[cell] = [STACNAS_STAGE1[i] for i in alphas.argmax(axis=1)]
        compared += decided
        if decided:  # how the original breaks ties is not specified
            assert stacnas_stage2(winners) == expected
    assert compared >= 6


def test_stacnas_winners_are_checked() -> None:
    winners = {"normal": ["skip_connect"] * 14, "reduce": ["sep_conv_5x5"] * 14}
    with pytest.raises(InputError, match="unknown StacNAS group 'sep_conv_5x5'; did you mean 'sep_conv_3x3'"):
        stacnas_stage2(winners)
    with pytest.raises(InputError, match="the reduce cell has 0 winners of stage 1, not 14"):
        stacnas_stage2({"normal": ["skip_connect"] * 14})


# -- size and sampling


@pytest.mark.parametrize("name", NAMES)
def test_size_counts_every_genotype_that_can_be_sampled(name: str) -> None:
    s = of(name)
    size = 1
    for cell in ("normal", "reduce"):
        for node in range(4):
            options = 0
            for a, b in combinations(range(node + 2), 2):
                here = [[op for op in s.candidates[cell][edge_index(node, p)] if op != "none"] for p in (a, b)]
                options += len(list(product(*here)))
            size *= options
    assert s.size == size
    assert of("darts").size == (180 * 7**8) ** 2 == 1_076_746_950_455_072_400
    assert of("darts-s2").size == of("darts-s3").size == (180 * 2**8) ** 2


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_uniform_members(name: str) -> None:
    s, rng = of(name), np.random.default_rng(0)
    draws = [s.sample(rng) for _ in range(2000)]
    assert len(set(draws)) > 1990
    assert all(s.parse(str(g)) == g for g in draws[:200])
    assert all(s.connected(g) for g in draws[:200]) == (name != "darts-s4")  # S4's noise cuts some off
    pairs: Counter[tuple[int, int]] = Counter()
    operations: Counter[str] = Counter()
    for g in draws:
        for edges in (g.normal, g.reduce):
            assert all(edges[2 * n][1] < edges[2 * n + 1][1] for n in range(4))
            pairs[edges[6][1], edges[7][1]] += 1
        operations.update(op for op, p in g.normal[:2])
    assert len(pairs) == 10
    assert all(abs(n / 4000 - 0.1) < 0.025 for n in pairs.values())
    choices = [op for edge in s.candidates["normal"][:2] for op in edge if op != "none"]
    assert "none" not in operations
    for op, times in Counter(choices).items():
        assert operations[op] / 4000 == pytest.approx(times / len(choices), abs=0.03)


def hnas_literally(rng: np.random.Generator) -> Genotype:
    """HNAS's sampling step by step: random weights, softmax, DARTS' discretization, eight names on seven columns."""
    cells = []
    for weights in rng.random((28, 7)).reshape(2, 14, 7):
        w = np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)
        edges = []
        for node in range(4):
            rows = w[edge_index(node, 0) : edge_index(node, 0) + node + 2]
            strongest = sorted(range(node + 2), key=lambda p: -rows[p][1:].max())[:2]
            edges += [(DARTS8[1 + int(np.argmax(rows[p][1:]))], p) for p in strongest]
        cells.append(tuple(edges))
    return Genotype(cells[0], (2, 3, 4, 5), cells[1], (2, 3, 4, 5))


def test_hnas_samples_have_the_distribution_of_its_code() -> None:
    rng = np.random.default_rng(1)
    ours = [of("darts").sample_hnas(rng) for _ in range(4000)]
    theirs = [hnas_literally(rng) for _ in range(4000)]
    for node in range(4):
        # the pair of (operation, ordered predecessors) of a node: marginals, and whether the strongest edge comes first
        for statistic in (
            lambda g, n=node: (g.normal[2 * n][1], g.normal[2 * n + 1][1]),
            lambda g, n=node: g.reduce[2 * n][0],
            lambda g, n=node: g.reduce[2 * n + 1][0],
            lambda g, n=node: (g.normal[2 * n][0] == g.normal[2 * n + 1][0], g.normal[2 * n][1] == 0),
        ):
            a, b = Counter(map(statistic, ours)), Counter(map(statistic, theirs))
            assert set(a) == set(b)
            for key in a:
                mean = (a[key] + b[key]) / 2
                assert abs(a[key] - b[key]) < 5 * (2 * mean) ** 0.5, (node, key)
    assert {op for g in ours for op, _ in (*g.normal, *g.reduce)} == set(HNAS6)
    assert "dil_conv_5x5" not in HNAS6
    with pytest.raises(InputError, match="darts-s1: HNAS samples the space 'darts' only"):
        of("darts-s1").sample_hnas(rng)


# -- edits


def differences(a: Genotype, b: Genotype) -> list[tuple[Any, Any]]:
    return [(x, y) for x, y in zip((*a.normal, *a.reduce), (*b.normal, *b.reduce), strict=True) if x != y]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), seeds)
def test_a_mutation_changes_one_edge_and_the_class(name: str, seed: int) -> None:
    s, rng = of(name), np.random.default_rng(seed)
    genotype = s.sample(rng)
    mutated = s.mutate(genotype, rng)
    ((old, new),) = differences(genotype, mutated)
    assert old[0] == new[0] or old[1] == new[1] or name == "darts-s1"
    assert s.canonical(mutated) != s.canonical(genotype)
    assert s.parse(mutated) == mutated
    for edges in (mutated.normal, mutated.reduce):
        assert all(edges[2 * n][1] != edges[2 * n + 1][1] for n in range(4))
    assert s.canonical(mutated) in {s.canonical(n) for n in s.neighbors(genotype)}


def test_operations_and_predecessors_mutate_equally_often() -> None:
    s, rng = of("darts"), np.random.default_rng(0)
    genotype = s.sample(rng)
    moved = sum(
        old[1] != new[1] for _ in range(600) for ((old, new),) in [differences(genotype, s.mutate(genotype, rng))]
    )
    assert 240 < moved < 360


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(NAMES), seeds)
def test_neighbors_are_all_classes_one_edit_away(name: str, seed: int) -> None:
    s = of(name)
    genotype = s.sample(np.random.default_rng(seed))
    expected = set()
    for cell, edges, _ in genotype.cells():
        for position, (op, p) in enumerate(edges):
            node, other = position // 2, edges[position ^ 1][1]
            for q, new in product(range(node + 2), (*DARTS7, "noise")):
                allowed = s.candidates[cell][edge_index(node, q)]
                one_change = (q == p) != (new == op) or (q != p and op not in allowed)
                if q != other and new in allowed and one_change:
                    fields = {c: e for c, e, _ in genotype.cells()}
                    fields[cell] = (*edges[:position], (new, q), *edges[position + 1 :])
                    edited = Genotype(fields["normal"], (2, 3, 4, 5), fields["reduce"], (2, 3, 4, 5))
                    expected.add(s.canonical(edited))
    found = [s.canonical(n) for n in s.neighbors(genotype)]
    assert len(set(found)) == len(found)
    assert set(found) == expected - {s.canonical(genotype)}


def test_isomorphic_results_are_not_offered() -> None:
    twins = "('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1)"
    normal = f"normal=[{twins}, ('skip_connect', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4]"
    s = of("darts")
    genotype = s.parse(f"Genotype({normal}, reduce=[{twins}], reduce_concat=[2, 3])")
    same = changed(genotype, "('skip_connect', 2)]", "('skip_connect', 3)]")
    assert same != genotype
    assert s.canonical(same) == s.canonical(genotype)
    assert s.canonical(genotype) not in {s.canonical(n) for n in s.neighbors(genotype)}
    rng = np.random.default_rng(0)
    assert all(s.canonical(s.mutate(genotype, rng)) != s.canonical(genotype) for _ in range(200))


def test_published_cells_of_other_sizes_can_be_edited() -> None:
    s, rng = of("darts"), np.random.default_rng(0)
    for name in ("NASNet", "AmoebaNet"):
        genotype = s.parse(name)
        for neighbor in s.neighbors(genotype):
            assert len(differences(genotype, neighbor)) == 1
            assert neighbor.normal_concat == genotype.normal_concat
            assert neighbor.reduce_concat == genotype.reduce_concat
        assert len(differences(genotype, s.mutate(genotype, rng))) == 1


def test_a_space_without_alternatives_says_so() -> None:
    s = DARTS("lonely", dict.fromkeys(("normal", "reduce"), (("skip_connect",),) * 14))
    pair = (("skip_connect", 0), ("skip_connect", 1))
    genotype = Genotype(pair, (2,), pair, (2,))
    assert s.neighbors(genotype) == []
    with pytest.raises(InputError, match="lonely: no other genotype is one edit away"):
        s.mutate(genotype, np.random.default_rng(0))


# -- connectivity, graphs, networks


def test_connected() -> None:
    s = of("darts")
    assert s.connected(V2)
    dead = [(op, 0) for op in ("none", "noise")]
    one = Genotype((*dead, ("skip_connect", 2), ("none", 1)), (2, 3), V2.reduce, (2, 3, 4, 5))  # type: ignore[arg-type]
    assert not s.connected(one)
    assert not s.connected(Genotype(V2.normal, (2, 3, 4, 5), one.normal, (2, 3)))
    alive = (*one.normal[:3], ("max_pool_3x3", 1))
    assert s.connected(Genotype(alive, (2, 3), alive, (3,)))
    assert not s.connected(Genotype(alive, (2,), alive, (3,)))  # the node that lives is not concatenated
    assert s.connected(Genotype(one.normal, (0, 2), alive, (3,)))  # an input is


def test_graphs() -> None:
    graphs = of("darts").graphs(V2)
    assert list(graphs) == ["normal", "reduce"]
    normal = graphs["normal"]
    assert normal.vertices == ("c_{k-2}", "c_{k-1}", "0", "1", "2", "3", "c_{k}")
    assert normal.edges[:2] == ((0, 2, "sep_conv_3x3"), (1, 2, "sep_conv_3x3"))
    assert normal.edges[7:] == ((2, 5, "dil_conv_3x3"), (2, 6, ""), (3, 6, ""), (4, 6, ""), (5, 6, ""))
    assert all(source < target for graph in graphs.values() for source, target, _ in graph.edges)
    amoeba = of("darts").graphs(of("darts").parse("AmoebaNet"))["reduce"]
    assert amoeba.vertices[-2:] == ("4", "c_{k}")
    assert amoeba.edges[-3:] == ((3, 7, ""), (4, 7, ""), (6, 7, ""))


def test_network_and_formula_agree() -> None:
    s = of("darts-s4")
    genotype = s.sample(np.random.default_rng(3))
    small: dict[str, Any] = {"channels": 4, "cells": 3, "num_classes": 7}
    network = s.network(genotype, **small)
    assert sum(p.numel() for p in network.parameters()) == s.params(genotype, **small)
    assert s.flops(genotype, 16, **small) > 0


def test_isomorphic_genotypes_have_one_cost() -> None:
    s, rng = of("darts"), np.random.default_rng(5)
    for _ in range(20):
        genotype = s.sample(rng)
        other = s.parse(s.canonical(genotype))
        assert s.canonical(other) == s.canonical(genotype)
        assert (s.params(other), s.flops(other)) == (s.params(genotype), s.flops(genotype))


def test_skeleton_defaults_and_checks() -> None:
    assert of("darts").default_macro == {
        **{"num_classes": 10, "channels": 36, "cells": 20, "in_channels": 3, "stem": "cifar", "form": "standard"},
        **{"auxiliary": False, "drop_path": 0.0},
    }
    assert MacroConfigDARTS().reductions == (6, 13)
    assert MacroConfigDARTS(cells=14).reductions == (4, 9)
    assert MacroConfigDARTS(cells=1).reductions == (0,)
    for wrong, message in (
        ({"cells": 0}, "darts: cells must be a positive integer, not 0"),
        ({"stem": "cifar10"}, "unknown darts stem 'cifar10'; did you mean 'cifar'"),
        ({"form": "ista"}, "unknown darts form 'ista'"),
        ({"stem": "imagenet", "channels": 15}, "the imagenet stem needs an even number of channels, not 15"),
        ({"auxiliary": 1}, "auxiliary must be True or False, not 1"),
        ({"drop_path": 1.0}, r"drop_path must be a probability in \[0, 1\), not 1.0"),
        ({"drop_path": "0.2"}, "drop_path must be a probability"),
        ({"layers": 20}, "unknown darts macro field 'layers'"),
    ):
        with pytest.raises(InputError, match=message):
            of("darts").macro(**wrong)


# -- what is read


def test_the_open_space_reads_what_it_does_not_sample() -> None:
    s = of("darts")
    assert len(s.parse("NASNet").normal) == 10
    assert s.parse("AmoebaNet").reduce_concat == (3, 4, 6)
    assert s.parse(str(V2).replace("skip_connect", "none")).normal[5] == ("none", 0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "darts-s1",
            "DARTS_V2",
            "darts-s1: the edge from c_{k-2} to node 0 of the normal cell cannot be sep_conv_3x3; its candidates are "
            "skip_connect, dil_conv_3x3",
        ),
        ("darts-s2", "DARTS_V1", "darts-s2: the edge from c_{k-2} to node 0 of the reduce cell cannot be max_pool_3x3"),
        ("darts-s4", "darts_pt_s2_1", "cannot be skip_connect; its candidates are noise, sep_conv_3x3"),
        ("darts-s3", "NASNet", "darts-s3: a cell has 4 nodes and concatenates [2, 3, 4, 5]; the normal cell has 5"),
        ("darts-s3", str(V2).replace("_concat=[2, 3, 4, 5]", "_concat=[4, 5]"), "has 4 and concatenates [4, 5]"),
        ("darts", "DARTS_V4", "unknown genotype 'DARTS_V4'"),
        ("darts", None, "cannot read one from NoneType"),
    ],
)
def test_refusals_are_named(name: str, text: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        of(name).parse(text)
    assert message in str(error.value)


def test_s3_reads_none_but_does_not_sample_it() -> None:
    s = of("darts-s3")
    genotype = s.parse(str(s.sample(np.random.default_rng(0))).replace("sep_conv_3x3", "none", 1))
    assert "none" in str(genotype)
    assert "none" not in str([s.sample(np.random.default_rng(i)) for i in range(50)])
    assert not any(str(n).count("none") > 1 for n in s.neighbors(genotype))


def test_a_space_can_be_sent_to_another_process() -> None:
    s = pickle.loads(pickle.dumps(of("darts-s1")))
    assert (s.name, s.size) == ("darts-s1", of("darts-s1").size)
    assert pickle.loads(pickle.dumps(V2)) == V2


def test_the_space_needs_no_torch() -> None:
    code = (
        "import sys, prejudge.spaces.darts.space; from prejudge.spaces.base import space; s = space('darts'); "
        "g = s.parse('DARTS_V2'); "
        "s.canonical(g), s.params(g), s.flops(g), s.neighbors(g); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
