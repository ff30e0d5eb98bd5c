"""The genotype value: its text, what it accepts, and what it says of cells that cannot be built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prejudge.errors import InputError
from prejudge.spaces.darts.genotype import OPERATIONS, Genotype, state_name

NORMAL = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("skip_connect", 0), ("dil_conv_3x3", 2)]
REDUCE = [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("max_pool_3x3", 1), ("skip_connect", 2)]


def test_text_is_the_official_one() -> None:
    assert str(Genotype(NORMAL, range(2, 4), REDUCE, range(2, 4))) == (  # type: ignore[arg-type]
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
        "normal_concat=[2, 3], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('max_pool_3x3', 1), "
        "('skip_connect', 2)], reduce_concat=[2, 3])"
    )


def test_lists_ranges_and_numpy_values_become_plain_tuples() -> None:
    plain = Genotype(tuple(NORMAL), (2, 3), tuple(REDUCE), (2, 3))
    given: Any = [[np.str_(op), np.int64(p)] for op, p in NORMAL]
    other = Genotype(given, np.arange(2, 4), [list(e) for e in REDUCE], range(2, 4))  # type: ignore[arg-type]
    assert other == plain
    assert hash(other) == hash(plain)
    assert str(other) == str(plain)
    assert {type(p) for _, p in other.normal} == {type(s) for s in other.normal_concat} == {int}
    assert {type(op) for op, _ in other.normal} == {str}


def test_order_of_edges_is_part_of_the_value() -> None:
    swapped = [NORMAL[1], NORMAL[0], *NORMAL[2:]]
    assert Genotype(NORMAL, [2, 3], REDUCE, [2, 3]) != Genotype(swapped, [2, 3], REDUCE, [2, 3])  # type: ignore[arg-type]


def test_cells_of_other_sizes_and_outputs() -> None:
    five = NORMAL + [("noise", 3), ("none", 3)] + [("sep_conv_7x7", 0), ("conv_7x1_1x7", 4)] * 2
    genotype = Genotype(five, [6, 4, 5, 0], REDUCE, [3])  # type: ignore[arg-type]
    assert [(name, len(edges), concat) for name, edges, concat in genotype.cells()] == [
        ("normal", 10, (6, 4, 5, 0)),
        ("reduce", 4, (3,)),
    ]


def test_operations_start_with_darts_eight() -> None:
    assert OPERATIONS[:8] == (
        *("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"),
        *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    )
    assert [state_name(s) for s in range(4)] == ["c_{k-2}", "c_{k-1}", "0", "1"]


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        (
            [("sep_conv_3", 0), *NORMAL[1:]],
            "edge 0 of node 0 of the normal cell: 'sep_conv_3'; did you mean",
        ),
        ([*NORMAL[:3], ("noise", 3)], "edge 1 of node 1 of the normal cell comes from state 3; node 1 is state 3"),
        ([*NORMAL[:3], ("noise", -1)], "comes from state -1"),
        ([("noise", 2), *NORMAL[1:]], "can only take states 0..1"),
        (NORMAL[:3], "the normal cell has 3 edges"),
        ([], "the normal cell has 0 edges"),
        ([*NORMAL[:3], ("noise",)], "must be (operation, predecessor), not ('noise',)"),
        ([*NORMAL[:3], "ab"], "must be (operation, predecessor), not 'ab'"),
        ([*NORMAL[:3], None], "must be (operation, predecessor), not None"),
        ([*NORMAL[:3], (0, 1)], "must be (operation, predecessor), not (0, 1)"),
        ([*NORMAL[:3], (["noise"], 1)], "must be (operation, predecessor)"),
        ([*NORMAL[:3], ("noise", 1.0)], "must be an integer, not 1.0"),
        ([*NORMAL[:3], ("noise", True)], "must be an integer, not True"),
        ([*NORMAL[:3], ("noise", "1")], "must be an integer, not '1'"),
        ("sep", "the normal cell must be a list, not str 'sep'"),
        (None, "the normal cell must be a list, not NoneType"),
    ],
)
def test_bad_edges_are_named(normal: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Genotype(normal, [2, 3], REDUCE, [2, 3])  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("normal_concat", "reduce_concat", "message"),
    [
        ([2, 4], [2, 3], "normal_concat names state 4; the normal cell has states 0..3"),
        ([2, "3"], [2, 3], "normal_concat names state '3'"),
        ([-1], [2, 3], "normal_concat names state -1"),
        ([2, 3], [3, 3], "reduce_concat names state 3 twice"),
        ([2, 3], [1, 3], "reduce_concat names state 1, an input"),
        ([2, 3], [], "reduce_concat is empty"),
        (2, [2, 3], "normal_concat must be a list, not int 2"),
        (range(2, 10**15), [2, 3], "normal_concat names state 4"),
    ],
)
def test_bad_outputs_are_named(normal_concat: Any, reduce_concat: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Genotype(NORMAL, normal_concat, REDUCE, reduce_concat)  # type: ignore[arg-type]
    assert message in str(error.value)
