"""NAS-Bench-201: texts, the official order, classes, and counts by formula."""

from __future__ import annotations

import csv
import gzip
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prejudge.errors import InputError
from prejudge.spaces import Cell201, NASBench201, space

S = space("nasbench201")
assert isinstance(S, NASBench201)
cells = st.tuples(*[st.integers(0, 4)] * 6).map(Cell201)


def digest(texts: Any) -> str:
    return hashlib.sha256("\n".join(map(str, texts)).encode()).hexdigest()


def test_the_order_is_the_official_one() -> None:
    # sha256 of the order of the official files and three of its rows (golden/pure/nb201_strings.json)
    assert digest(S) == "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"
    assert (
        str(S[0]) == "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert str(S[9]) == "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    assert len(S) == 15625
    assert [S.index(S[i]) for i in (0, 9, 15624)] == [0, 9, 15624]


def test_regenerating_the_order_leaves_pythons_random_state_alone() -> None:
    import random

    random.seed(1)
    expected = random.random()
    random.seed(1)
    list(NASBench201())
    assert random.random() == expected


def test_classes_and_connectivity_have_the_known_sizes() -> None:
    assert len(S.unique()) == 6466
    assert len({S.canonical(cell) for cell in S}) == 6466
    assert sum(S.connected(cell) for cell in S) == 15284
    mixed: dict[str, set[int]] = {}
    for cell in S:
        mixed.setdefault(S.canonical(cell), set()).add(S.params(cell))
    assert sum(len(counts) > 1 for counts in mixed.values()) == 578


def test_canonical_text_is_the_official_one() -> None:
    assert S.canonical(S[0]) == "(0)@avg_pool_3x3+(0)@avg_pool_3x3+(0)@nor_conv_1x1+(0)@nor_conv_1x1"
    assert S.canonical(S[1]) == ("((0)@nor_conv_3x3)@avg_pool_3x3+(0)@nor_conv_3x3+((0)@nor_conv_3x3)@nor_conv_3x3+0")


def test_golden_rows(golden: Path) -> None:
    import json

    rows = json.loads((golden / "pure" / "nb201_strings.json").read_text())["rows"]
    for row in rows:
        cell = S.parse(row["arch"])
        assert S.index(cell) == row["index"]
        assert list(cell.edges) == row["op_indices"]
        assert S.canonical(cell) == row["unique_str_zero"]
        assert S.parse(row["ops"]) == cell


def test_formulas_equal_the_benchmarks_columns(test_data: Path) -> None:
    sets = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet16": (120, 16)}
    with gzip.open(test_data / "data" / "nas_bench_201.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            cell = S.parse(row["arch_str"])
            assert S.index(cell) == int(row["index"])
            for name, (classes, side) in sets.items():
                assert S.params(cell, num_classes=classes) == int(row[f"params_{name}"])
                flops = S.flops(cell, side, num_classes=classes)
                assert flops / 1e6 == pytest.approx(float(row[f"mflops_{name}"]), abs=1e-9)


@given(cells)
def test_text_round_trip(cell: Cell201) -> None:
    assert S.parse(str(cell)) == cell == S.parse(S.index(cell)) == S.parse(list(cell.edges), notation="official")
    assert S.canonical(S.representative(cell)) == S.canonical(cell)
    assert S.index(S.representative(cell)) <= S.index(cell)


@given(cells, st.integers(0, 2**32 - 1))
def test_mutation_changes_one_edge(cell: Cell201, seed: int) -> None:
    other = S.mutate(cell, np.random.default_rng(seed))
    assert sum(a != b for a, b in zip(cell.edges, other.edges, strict=True)) == 1
    assert other in S.neighbors(cell)


def test_neighbors_are_the_24_one_edit_cells() -> None:
    found = S.neighbors(S[5])
    assert len(set(found)) == 24
    assert S[5] not in found


def test_sampling_is_uniform_over_operations() -> None:
    rng = np.random.default_rng(0)
    edges = np.array([S.sample(rng).edges for _ in range(4000)])
    assert all(abs((edges == op).mean() - 0.2) < 0.01 for op in range(5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|nor_conv_3x3~0|", "1 node groups"),
        ("|nor_conv_3x3~0|+|none~0|+|none~0|none~1|none~2|", "node 2"),
        ("|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|", "unknown nasbench201 operation 'nor_conv_5x5'"),
        ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "should read OPERATION~0"),
        ("|none|+|none~0|none~1|+|none~0|none~1|none~2|", "should read OPERATION~0"),
        ("15625", "outside 0..15624"),
        (-1, "outside 0..15624"),
        ([1, 2, 3], "six edges"),
        ([1, 2, 3, 4, 5, 6], "not an operation"),
        (None, "cannot read a cell from NoneType"),
        ("", "1 node groups"),
    ],
)
def test_malformed_architectures_are_named(text: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        S.parse(text)
    assert message in str(error.value)


def test_unknown_space_and_macro_number() -> None:
    with pytest.raises(InputError, match="did you mean 'nasbench201'"):
        space("nasbench202")
    with pytest.raises(InputError, match="unknown nasbench201 macro field 'width'"):
        S.params(S[0], width=3)
    with pytest.raises(InputError, match="positive integer"):
        S.params(S[0], cells=0)
    with pytest.raises(InputError, match="unknown nasbench201 form"):
        S.params(S[0], form="oficial")
    with pytest.raises(InputError, match="without a stem"):
        S.params(S[0], stem=False)


def test_the_space_needs_no_torch() -> None:
    code = (
        "import sys; from prejudge.spaces import space; s = space('nasbench201'); "
        "s.canonical(s[3]), s.flops(s[3]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "given", ["²", "9" * 5000, pytest.param(10**5000, id="huge"), ["none"] * 5 + [10**5000], "x" * 10**6, [10**5000]]
)
def test_whatever_is_no_cell_is_refused_in_one_short_line(given: Any) -> None:
    with pytest.raises(InputError, match="nasbench201: ") as error:
        S.parse(given)
    assert len(str(error.value)) < 300


def test_a_macro_number_may_be_called_anything() -> None:
    with pytest.raises(InputError, match="unknown nasbench201 macro field 'self'"):
        S.macro(**{"self": 1})
