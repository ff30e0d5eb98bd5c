"""Every notation of a genotype reads back as the same value; what is none of them is refused with one clear line."""

from __future__ import annotations

import json
import re
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.errors import InputError
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS8
from prejudge.spaces.darts.canonical import canonical_text
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.notations import from_pair, parse_genotype, to_config, to_dict, to_pair

OFFICIAL = (  # DARTS_V2, as the authors' code prints it
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
V2 = Genotype(
    normal=(
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        *(("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1)),
        *(("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)),
    ),
    reduce_concat=(2, 3, 4, 5),
)
# the same by node: two pairs each
BY_NODE = {cell: [list(edges[i : i + 2]) for i in range(0, 8, 2)] for cell, edges, _ in V2.cells()}
CONCAT = {"normal_concat": [2, 3, 4, 5], "reduce_concat": [2, 3, 4, 5]}
# NAS-Bench-301's and NASLib's forms of it, written by hand: operations counted from max_pool_3x3 = 0
PAIR = (
    ((0, 3), (1, 3), (0, 3), (1, 3), (1, 3), (0, 2), (0, 2), (2, 5)),
    ((0, 0), (1, 0), (2, 2), (1, 0), (0, 0), (2, 2), (2, 2), (1, 0)),
)
CONFIG = {
    f"NetworkSelectorDatasetInfo:darts:{key}": value
    for key, value in {
        "edge_normal_0": "sep_conv_3x3",
        "edge_normal_1": "sep_conv_3x3",
        "edge_normal_2": "sep_conv_3x3",
        "edge_normal_3": "sep_conv_3x3",
        "edge_normal_5": "skip_connect",
        "edge_normal_6": "sep_conv_3x3",
        "edge_normal_9": "skip_connect",
        "edge_normal_11": "dil_conv_3x3",
        "inputs_node_normal_3": "0_1",
        "inputs_node_normal_4": "0_1",
        "inputs_node_normal_5": "0_2",
        "edge_reduce_0": "max_pool_3x3",
        "edge_reduce_1": "max_pool_3x3",
        "edge_reduce_3": "max_pool_3x3",
        "edge_reduce_4": "skip_connect",
        "edge_reduce_5": "max_pool_3x3",
        "edge_reduce_7": "skip_connect",
        "edge_reduce_10": "max_pool_3x3",
        "edge_reduce_11": "skip_connect",
        "inputs_node_reduce_3": "1_2",
        "inputs_node_reduce_4": "0_2",
        "inputs_node_reduce_5": "1_2",
    }.items()
}
YAHPO = {key.replace(":", "_COLON_"): value for key, value in CONFIG.items()} | {
    "NetworkSelectorDatasetInfo_COLON_darts_COLON_edge_normal_4": None,
    "NetworkSelectorDatasetInfo_COLON_darts_COLON_edge_normal_7": float("nan"),
    "epoch": 97,
}
Named = namedtuple("Named", "normal normal_concat reduce reduce_concat")
EDGES = [(edges, concat) for _, edges, concat in V2.cells()]


def sorted_edges(genotype: Genotype) -> Genotype:
    """ConfigSpace forgets the order of a node's two edges and lists them by predecessor."""
    cells = {}
    for cell, edges, _ in genotype.cells():
        nodes = (sorted(edges[i : i + 2], key=lambda e: e[1]) for i in range(0, 8, 2))
        cells[cell] = tuple(edge for node in nodes for edge in node)
    return Genotype(cells["normal"], genotype.normal_concat, cells["reduce"], genotype.reduce_concat)


@pytest.mark.parametrize(
    "notation",
    [
        V2,
        OFFICIAL,
        str(V2),
        f"  {V2}\n",
        f"genotype = {OFFICIAL}",
        f"11/19 03:14:15 PM genotype = {OFFICIAL}\n11/19 03:14:15 PM epoch 50 lr 1.0e-03 (last)\n",
        f"[2021-04-30 03:41:23] {OFFICIAL}",
        OFFICIAL.replace(", ", ",\n   ").replace("'", '"'),
        re.sub(r"\w+=", "", OFFICIAL),
        OFFICIAL.replace("range(2, 6)", "list(range(2, 6))"),
        OFFICIAL.replace("range(2, 6)", "np.array([2, 3, 4, 5], dtype=int64)"),
        str(V2).replace(", 0)", ", np.int64(0))").replace("'skip_connect'", "np.str_('skip_connect')"),
        to_dict(V2),
        json.dumps(to_dict(V2)),
        json.dumps(to_dict(V2) | {"accuracy": 97.2}, indent=2),
        str(to_dict(V2)),
        SimpleNamespace(**to_dict(V2)),
        Named(EDGES[0][0], range(2, 6), EDGES[1][0], range(2, 6)),
        BY_NODE | CONCAT,
        str(BY_NODE | CONCAT),
        f"Genotype(normal={BY_NODE['normal']}, normal_concat=range(2, 6), reduce={BY_NODE['reduce']}, "
        "reduce_concat=range(2, 6))",
        {c: [tuple((op, p, 0.125) for op, p in node) for node in nodes] for c, nodes in BY_NODE.items()} | CONCAT,
        (BY_NODE["normal"], BY_NODE["reduce"]),
        [list(V2.normal), list(V2.reduce)],
        "DARTS_V2",
        " darts-v2 ",
        "DARTS",
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:30]}",
)
def test_every_notation_is_the_same_genotype(notation: Any) -> None:
    assert parse_genotype(notation) == V2


@pytest.mark.parametrize("pair", [PAIR, str(PAIR), json.dumps(PAIR), np.array(PAIR)], ids=lambda p: type(p).__name__)
def test_pairs_of_integers_say_what_they_count(pair: Any) -> None:
    assert parse_genotype(pair, "naslib") == V2
    assert space("darts").parse(pair, notation="naslib") == V2
    counted_from_none = tuple(tuple((p, op + 1) for p, op in cell) for cell in PAIR)
    assert parse_genotype(counted_from_none, "bananas") == V2
    with pytest.raises(InputError, match="'naslib', from none with notation='bananas'; say which"):
        parse_genotype(pair)
    with pytest.raises(InputError, match=r"operation index 7 in the reduce cell is outside 0\.\.6"):
        parse_genotype((PAIR[0], ((0, 7), *PAIR[1][1:])), "naslib")
    with pytest.raises(InputError, match="unknown darts notation 'nasbench'"):
        space("darts").parse(pair, notation="nasbench")


def test_golden_keys_of_naslib(golden: Path) -> None:
    for row in json.loads((golden / "tables" / "notations" / "nb301_naslib.json").read_text()):
        expected = canonical_text(parse_genotype(row["genotype"]))
        assert canonical_text(parse_genotype(row["NASLib key"], "naslib")) == expected
        assert canonical_text(parse_genotype(row["NASBench301 config"])) == expected


@pytest.mark.parametrize(
    "notation", [CONFIG, YAHPO, {"optimized_hyperparamater_config": CONFIG, "test_accuracy": 94.2}]
)
def test_configurations_of_nas_bench_301(notation: Any) -> None:
    assert parse_genotype(notation) == sorted_edges(V2)
    assert parse_genotype({k: v for k, v in CONFIG.items() if "inputs" not in k}) == sorted_edges(V2)


def test_writers_give_what_the_other_tools_read() -> None:
    assert to_config(V2) == CONFIG
    assert to_pair(V2) == PAIR
    assert to_pair(V2, DARTS8) == tuple(tuple((p, op + 1) for p, op in cell) for cell in PAIR)
    assert from_pair(to_pair(V2, DARTS8), DARTS8) == V2
    assert json.loads(json.dumps(to_dict(V2))) == to_dict(V2)


def test_names_that_autodl_gives_to_operations() -> None:
    text = str(V2).replace("sep_conv_3x3", "dua_sepc_3x3").replace("dil_conv_3x3", "dil_sepc_3x3")
    assert parse_genotype(text) == V2


def test_a_log_with_several_genotypes_means_the_last() -> None:
    first = OFFICIAL.replace("dil_conv_3x3", "dil_conv_5x5")
    assert parse_genotype(f"epoch 0\ngenotype = {first}\nepoch 1\ngenotype = {OFFICIAL}\n") == V2


def test_a_module_with_several_named_genotypes_is_ambiguous() -> None:
    with pytest.raises(InputError, match=r"holds 2 of them \(DARTS_V1, DARTS_V2\); give one"):
        parse_genotype(f"DARTS_V1 = {OFFICIAL}\nDARTS_V2 = {OFFICIAL}\n")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_round_trips(seed: int) -> None:
    from prejudge.spaces.darts.candidates import DARTS7, same_everywhere
    from prejudge.spaces.darts.space import DARTS

    genotype = DARTS("darts", same_everywhere(DARTS7)).sample(np.random.default_rng(seed))
    assert parse_genotype(str(genotype)) == genotype
    assert parse_genotype(f"best: {genotype}") == genotype
    assert parse_genotype(to_dict(genotype)) == genotype
    assert parse_genotype(to_pair(genotype), "naslib") == genotype
    assert parse_genotype(to_config(genotype)) == genotype  # sampled predecessors ascend


def test_published_genotypes_in_both_ways(golden: Path) -> None:
    for row in json.loads((golden / "supernets" / "params.json").read_text())["rows"]:
        genotype = parse_genotype(row["genotype"])
        assert to_dict(genotype) == row["genotype"]
        assert parse_genotype(f"genotype = {genotype}") == parse_genotype(str(genotype)) == genotype


def test_final_genotypes_of_stacnas(golden: Path) -> None:
    for case in json.loads((golden / "supernets" / "stacnas_selection.json").read_text())["cases"]:
        normal, reduce = case["final_genotype"]
        genotype = parse_genotype((normal, reduce))
        assert genotype.normal == tuple(tuple(edge) for node in normal for edge in node)
        assert genotype.reduce_concat == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        ("", "no Genotype(…), JSON or published name in ''"),
        ("DARTS_V3", "unknown genotype 'DARTS_V3'; did you mean 'DARTS_V2'?"),
        ("normal=[('noise', 0)]", "no Genotype(…), JSON or published name"),
        ("Genotype(normal=[('sep_conv_3x3', 0), ('sep", "the text ends inside"),
        ("Genotype(normal=[('sep_conv_3x3', 0) ('x', 1)])", "('sep_conv_3x3', 0)('x', 1)\" is not a literal"),
        ("Genotype(normal=[('sep_conv_3x3' 0)])", "neither JSON nor a Python literal"),
        ("Genotype(normal=[], normal_concat=[])", "'reduce' is missing"),
        ("Genotype(1, 2, 3, 4, 5)", "cannot read"),
        (str(V2).replace("'sep_conv_3x3', 0", "'sep_conv_3', 0"), "did you mean 'sep_conv_3x3'"),
        (
            str(V2).replace("'dil_conv_3x3', 2", "'dil_conv_3x3', 5"),
            "edge 1 of node 3 of the normal cell comes from state 5",
        ),
        (
            "Genotype(normal=__import__('os').getcwd(), normal_concat=[2], reduce=[], reduce_concat=[2])",
            "is not a literal",
        ),
        ("Genotype(normal=open('x'), normal_concat=[2], reduce=[], reduce_concat=[2])", "is not a literal"),
        ("Genotype(normal=[x for x in 'ab'], normal_concat=[2], reduce=[], reduce_concat=[2])", "is not a literal"),
        ("Genotype(normal=range(10**9), normal_concat=[2], reduce=[], reduce_concat=[2])", "is not a literal"),
        (
            "Genotype(normal=range(999999999), normal_concat=[2], reduce=[], reduce_concat=[2])",
            "must be a list, not range",
        ),
        (OFFICIAL.replace("range(2, 6)", "range(2, 999999999999)"), "normal_concat names state 6"),
        ("[" * 100_000, "neither JSON nor a Python literal"),
        ("Genotype" + "(" * 50_000 + ")" * 50_000, "neither JSON nor a Python literal"),
        ('{"normal": [], "reduce": []}', "'normal_concat' is missing"),
        ("{1: 2", "neither JSON nor a Python literal"),
        ({"normal": "sep", **CONCAT, "reduce": []}, "the normal cell must be a list, not str 'sep'"),
        ({**BY_NODE, **CONCAT, "normal": [*BY_NODE["normal"][:3], list(V2.normal[:3])]}, "node 3 of the normal cell"),
        ({**BY_NODE, **CONCAT, "normal": [*BY_NODE["normal"][:3], *V2.normal[6:]]}, "node 3 of the normal cell"),
        ((V2.normal, (0, 7)), "must be (operation, predecessor), not 0"),
        ([], "cannot read one from list"),
        (17, "cannot read one from int '17'"),
        (None, "cannot read one from NoneType"),
        (b"DARTS", "cannot read one from bytes"),
        (Path("x"), "cannot read one from PosixPath"),
        ({k: v for k, v in CONFIG.items() if not k.endswith("normal_5")}, "has 1 edges into node 2 of the normal cell"),
        (
            {**CONFIG, "NetworkSelectorDatasetInfo:darts:edge_normal_4": "noise"},
            "has 3 edges into node 1 of the normal",
        ),
        ({**CONFIG, "NetworkSelectorDatasetInfo:darts:inputs_node_reduce_4": "0_1"}, "names the inputs 0_1 of node 2"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_genotype_is_said_in_one_line(notation: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_genotype(notation)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("write", "change", "message"),
    [
        (to_pair, ("'skip_connect', 0", "'none', 0"), "none in the normal cell has no index"),
        (to_pair, ("normal_concat=[2, 3, 4, 5]", "normal_concat=[4, 5]"), "concatenates every node"),
        (to_config, ("'skip_connect', 0", "'none', 0"), "NAS-Bench-301 has no none (node 2 of the normal cell)"),
        (to_config, ("'dil_conv_3x3', 2", "'dil_conv_3x3', 0"), "node 3 of the normal cell takes one state twice"),
        (to_config, ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=[5]"), "NAS-Bench-301 concatenates every node"),
    ],
)
def test_what_another_notation_cannot_hold(write: Callable[[Genotype], Any], change: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        write(parse_genotype(str(V2).replace(*change)))
    assert message in str(error.value)


def test_nas_bench_301_has_four_nodes() -> None:
    with pytest.raises(InputError, match="NAS-Bench-301 has four nodes a cell, the normal cell has 2"):
        to_config(Genotype(V2.normal[:4], (2, 3), V2.reduce, (2, 3, 4, 5)))


@pytest.mark.parametrize(
    "text",
    [
        "Genotype(normal=__import__('pathlib').Path('executed').touch(), normal_concat=[2])",
        "Genotype(normal=[open('executed', 'w')], normal_concat=range(2, 6), reduce=[], reduce_concat=[])",
        "[__import__('os').system('touch executed')]",
        "{[1]: __import__('os')}",
        f"Genotype(normal=[('none', {'0x' + 'f' * 5000})], normal_concat=[2], reduce=[], reduce_concat=[])",
        "Genotype(" + "(" * 1000,
        "Genotype(normal=" + "-" * 5000 + "1)",
    ],
)
def test_nothing_in_a_text_is_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="genotype: ") as error:
        parse_genotype(text)
    assert len(str(error.value)) < 400
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value", [[[1, 10**5000], [2, 3]], {"normal": 10**5000}, [[[[0, 10**5000]]], []], {10**5000: 1}]
)
def test_integers_that_python_does_not_print_are_refused_in_one_short_line(value: Any) -> None:
    with pytest.raises(InputError, match="genotype: ") as error:
        parse_genotype(value)
    assert len(str(error.value)) < 300
