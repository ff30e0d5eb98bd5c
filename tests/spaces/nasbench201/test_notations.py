"""NAS-Bench-201: the notations of packages, search codes and tuners; six integers only where their meaning is said."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from prejudge.errors import InputError
from prejudge.spaces import space

S = space("nasbench201")
CELL = S[11]
TEXT = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"
NODES = (
    (("nor_conv_3x3", 0),),
    (("nor_conv_3x3", 0), ("avg_pool_3x3", 1)),
    (("none", 0), ("nor_conv_3x3", 1), ("avg_pool_3x3", 2)),
)
BY_EDGE = {(t, s): op for t, node in enumerate(NODES, start=1) for op, s in node}
NNI = {f"{s}_{t}": op.removeprefix("nor_") for (t, s), op in BY_EDGE.items()}
MATRIX = [[0, 0, 0, 0], [3, 0, 0, 0], [3, 4, 0, 0], [0, 3, 4, 0]]


@pytest.mark.parametrize(
    "written",
    [
        TEXT,
        f"Structure(4 nodes with {TEXT})",
        f"TopologyStructure(4 nodes with {TEXT})",
        f"[2021-04-30 03:41:23] epoch 1 {S[5]}\n[2021-04-30 03:51:23] the best: Structure(4 nodes with {TEXT}) 91.2%",
        f"'{TEXT}'",
        NODES,
        tuple(tuple(reversed(node)) for node in NODES),
        SimpleNamespace(nodes=list(NODES)),
        MATRIX,
        np.array(MATRIX, float),
        {"name": "infer.tiny", "C": 16, "N": 5, "arch_str": TEXT, "num_classes": 100},
        {"i": 11, "arch": TEXT, "logmeasures": {}},
        {f"{t}<-{s}": op for (t, s), op in BY_EDGE.items()},
        {f"edge_{s}_{t}": op for (t, s), op in BY_EDGE.items()},
        NNI,
        {**NNI, "epochs": 12},
        {f"hp_x{i}": op for i, op in enumerate(BY_EDGE.values())},
        list(BY_EDGE.values()),
        np.array(list(BY_EDGE.values())),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:30]}",
)
def test_every_notation_is_the_same_cell_also_as_a_text(written: Any) -> None:
    assert S.parse(written) == CELL
    if not isinstance(written, str | SimpleNamespace):
        assert S.parse(repr(written)) == CELL
        plain = written.tolist() if isinstance(written, np.ndarray) else written
        assert S.parse(json.dumps(plain)) == CELL


def test_golden_notations(golden: Path) -> None:
    named = {"NASLib tuple": "naslib", "RoBoT digits": "official", "naszilla standard encoding": "naszilla"}
    for row in json.loads((golden / "tables" / "notations" / "nb201.json").read_text()):
        number, text = row.pop("naszilla get_num"), row.pop("unique_str")
        assert S.canonical(S[row["index"]]) != text or number >= 0  # a number and a class are other things than a cell
        for form, value in row.items():
            assert S.parse(value, notation=named.get(form)) == S[row["index"]], form


def test_integers_are_read_in_the_notation_that_is_named(test_data: Path) -> None:
    with gzip.open(test_data / "data" / "suite_zero_nb201_cifar10.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::7]:
        cell = S.parse(row["arch_str"])
        key = tuple(map(int, row["naslib"]))
        forms = (
            key,
            str(key),
            row["naslib"],
            np.array(key),
            np.array(key, float),
            tuple(map(np.int64, key)),
            repr(list(map(np.int64, key))),
        )
        for written in (*forms, ", ".join(row["naslib"]), str(np.array(key)), list(row["naslib"])):
            assert S.parse(written, notation="naslib") == cell


def test_suite_zeros_synflow_ranks_as_its_authors_say(test_data: Path) -> None:
    """.778 on the cells that the keys mean; read as official indices they would be other cells, and it .530."""
    with gzip.open(test_data / "data" / "suite_zero_nb201_cifar10.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    with gzip.open(test_data / "data" / "nas_bench_201.csv.gz", "rt") as file:
        accuracy = {row["arch_str"]: float(row["cifar10_test_200ep"]) for row in csv.DictReader(file)}
    synflow = [float(row["synflow"]) for row in rows]
    found = {n: [S.parse(row["naslib"], notation=n) for row in rows] for n in S.notations}
    rho = {n: spearmanr(synflow, [accuracy[str(cell)] for cell in cells])[0] for n, cells in found.items()}
    assert rho["naslib"] == pytest.approx(0.778, abs=5e-4)
    assert rho["official"] == pytest.approx(0.530, abs=5e-4)
    assert sum(a != b for a, b in zip(found["naslib"], found["official"], strict=True)) == 9440


@pytest.mark.parametrize(
    "integers",
    [
        (4, 0, 3, 1, 4, 3), [0] * 6, np.arange(6) % 5, "(4, 0, 3, 1, 4, 3)", "[4,0,3,1,4,3]", "4 0 3 1 4 3", "403143",
        "012340", list("403143"), tuple(map(np.int64, (4, 0, 3, 1, 4, 3))), "(np.int64(4), 0, 3, 1, 4, 3)",
    ],
    ids=str,
)  # fmt: skip
def test_integers_alone_are_refused_with_their_readings(integers: object) -> None:
    with pytest.raises(InputError, match=r"with notation='official' and .* with notation='naslib'; say which"):
        S.parse(integers)
    assert len({S.parse(integers, notation=n) for n in S.notations}) == 3
    with pytest.raises(InputError, match="unknown nasbench201 notation 'nas'; did you mean 'naslib'"):
        S.parse(integers, notation="nas")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("64:64:64:64:64", "of the space nats-size"),
        ({"name": "infer.shape.tiny", "channels": "8:8:8:8:8"}, "of the space nats-size"),
        ("(0)@nor_conv_1x1+(0)@avg_pool_3x3", "names a class of cells"),
        (f"Structure(5 nodes with {TEXT}+|none~0|none~1|none~2|none~3|)", "4 node groups"),
        (NODES[:2], "three nodes with edges"),
        ((*NODES[:2], (*NODES[2][:2], ("none", 1))), "node 3 needs one edge from each of the nodes 0..2"),
        ((*NODES[:2], ("none", 0, 1)), "an edge is (operation, source)"),
        ({key: op for key, op in NNI.items() if key != "1_2"}, "5 of six edges are named"),
        ({**NNI, "2_1": "none"}, "'2_1' is not an edge"),
        ({**NNI, "edge_0_1": "none"}, "from node 0 to node 1 is there twice"),
        ({**NNI, "0_1": 3}, "has a meaning with a notation only"),
        ({**NNI, "0_1": "conv_7x7"}, "unknown nasbench201 operation 'conv_7x7'"),
        ({"hp_x6": "none"}, "'hp_x6' is not an edge"),
        ({}, "0 of six edges"),
        ([[0, 1, 0, 0], *MATRIX[1:]], "matrix[0][1] is 1"),
        ([True] * 6, "True in"),
        ([0.5] * 6, "0.5 in"),
        (b"none", "cannot read a cell from bytes"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_cell_is_refused_with_the_offender(written: Any, message: str) -> None:
    for given in (written,) if isinstance(written, str | bytes) else (written, repr(written)):
        with pytest.raises(InputError) as error:
            S.parse(given)
        assert message in str(error.value)


def test_an_index_has_no_notation() -> None:
    assert S.parse({**dict.fromkeys(NNI, 3)}, notation="naslib") == S.parse(["nor_conv_1x1"] * 6)
    assert S.parse("000085") == S[85]  # no six operations
    for index in (85, "85", "12340"):
        with pytest.raises(InputError, match="is an index; notation='naslib' is for six integers"):
            S.parse(index, notation="naslib")
