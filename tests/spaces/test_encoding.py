"""Architectures as decisions: what is encoded comes back, and what cannot be is refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.errors import InputError
from prejudge.spaces import space, space_names
from prejudge.spaces.nasbench101.cell import cell_of

NAMES = [name for name in space_names() if name != "timm"]  # whose architectures have names, and no edits
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_samples_and_their_mutants_come_back(name: str, seed: int) -> None:
    where, rng = space(name), np.random.default_rng(seed)
    arch = where.sample(rng)
    decisions = where.encode(arch)
    assert len(decisions) == len(where.choices)
    assert all(type(d) is int and 0 <= d < n for d, n in zip(decisions, where.choices, strict=True))
    assert where.decode(decisions) == arch
    mutant = where.mutate(arch, rng)
    again = where.decode(where.encode(mutant))
    assert again is not None
    assert where.canonical(again) == where.canonical(mutant)


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_any_decisions_make_a_member_or_nothing(name: str, seed: int) -> None:
    where = space(name)
    arch = where.decode(np.random.default_rng(seed).integers(where.choices).tolist())
    if arch is None:
        assert name == "nasbench101"
        return
    assert where.parse(str(arch)) == arch
    assert where.decode(where.encode(arch)) == arch


@pytest.mark.parametrize("name", NAMES)
def test_choices_count_the_space(name: str) -> None:
    where = space(name)
    product_of_choices = int(np.prod(np.array(where.choices, dtype=object)))
    if name == "nasbench101":
        assert where.choices == (2,) * 21 + (3,) * 5
    else:
        assert product_of_choices == where.size


def test_nasbench201_decisions_are_the_operations_of_the_edges() -> None:
    where = space("nasbench201")
    found = {where.decode(d) for d in product(range(5), repeat=6)}
    assert len(found) == 15625
    assert where.encode(where.parse([0, 1, 2, 3, 4, 0], notation="official")) == (0, 1, 2, 3, 4, 0)


def test_nasbench101_decisions_are_the_upper_triangle_row_by_row() -> None:
    where = space("nasbench101")
    rng = np.random.default_rng(0)
    for _ in range(300):
        decisions = rng.integers(where.choices).tolist()
        matrix = np.zeros((7, 7), int)
        matrix[np.triu_indices(7, 1)] = decisions[:21]
        assert where.decode(decisions) == cell_of(matrix.tolist(), decisions[21:])
    direct = where.parse("1:")
    assert where.encode(direct) == (0, 0, 0, 0, 0, 1) + (0,) * 20
    assert where.decode((0,) * 26) is None  # no path
    assert where.decode((1,) * 21 + (0,) * 5) is None  # 21 edges


def test_darts_takes_the_edges_of_a_node_in_any_order() -> None:
    where = space("darts")
    text = str(where.sample(np.random.default_rng(3)))
    genotype = where.parse(text)
    swapped = where.parse(
        {
            "normal": [*genotype.normal[1::-1], *genotype.normal[2:]],  # type: ignore[attr-defined]
            "normal_concat": genotype.normal_concat,  # type: ignore[attr-defined]
            "reduce": genotype.reduce,  # type: ignore[attr-defined]
            "reduce_concat": genotype.reduce_concat,  # type: ignore[attr-defined]
        }
    )
    assert swapped != genotype
    assert where.encode(swapped) == where.encode(genotype)


def test_darts_refuses_genotypes_that_are_never_sampled() -> None:
    where = space("darts")
    first = str(where.decode((0,) * 24))
    assert "('max_pool_3x3', 0), ('max_pool_3x3', 1)" in first
    twice = where.parse(first.replace("('max_pool_3x3', 1)", "('max_pool_3x3', 0)", 1))
    with pytest.raises(InputError, match=r"node 0 of the normal cell.*cannot be encoded: it needs two predecessors"):
        where.encode(twice)
    with pytest.raises(InputError, match="none"):
        where.encode(where.parse(first.replace("('max_pool_3x3', 1)", "('none', 1)", 1)))
    with pytest.raises(InputError, match=r"a cell has 4 nodes"):
        where.encode(where.parse("NASNet"))
