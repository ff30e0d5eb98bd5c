"""NAS-Bench-101: notations, pruning, moves between cells, and counts by formula."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.errors import InputError
from prejudge.spaces.nasbench101.enumeration import SIZE, enumerate_cells
from prejudge.spaces.nasbench101.hash import hash_graph
from prejudge.spaces.nasbench101.space import (
    OPERATIONS,
    Cell101,
    MacroConfig101,
    NASBench101,
    record_text,
    vertex_channels,
)

S = NASBench101()
SMALL = NASBench101()
SMALL.__dict__["_all"] = enumerate_cells(5)  # what needs the whole space, on the 2,532 cells of at most five vertices
C3, C1, MP = OPERATIONS
INCEPTION = {
    "matrix": [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    "ops": ["input", C1, C3, C3, C3, MP, "output"],
}
INCEPTION_TEXT = "111010.00001.0001.100.01.1:conv1x1,conv3x3,conv3x3,conv3x3,maxpool3x3"
INCEPTION_HASH = "28cfc7874f6d200472e1a9dcd8650aa0"
# The inception cell with its interior vertices in another order.
RENUMBERED = "111100.00010.0001.001.01.1:conv3x3,maxpool3x3,conv3x3,conv1x1,conv3x3"


def random_cell(seed: int) -> Cell101:
    return S.sample(np.random.default_rng(seed))


cells = st.integers(0, 2**32 - 1).map(random_cell)


def official(cell: Cell101) -> tuple[list[list[int]], list[str]]:
    return [list(row) for row in cell.matrix], ["input", *(OPERATIONS[op] for op in cell.operations), "output"]


def renumbered(cell: Cell101, rng: np.random.Generator) -> Cell101:
    """The same cell with its interior vertices in a random other order, if there is one."""
    last = len(cell.matrix) - 1
    for order in rng.permutation(list(permutations(range(1, last)))).tolist():
        whole = [0, *order, last]
        matrix = np.array(cell.matrix)[np.ix_(whole, whole)]
        if not np.tril(matrix).any():
            return Cell101(tuple(map(tuple, matrix.tolist())), tuple(cell.operations[v - 1] for v in order))
    raise AssertionError("the identity is one of them")


def test_keys_of_naslib_say_whose_operations_they_count() -> None:
    rows = np.zeros((7, 7), int)
    rows[0, 1] = rows[1, 2] = rows[2, 6] = 1  # a chain of two vertices; vertices 3 to 5 are empty
    key = (*rows.flatten().tolist(), 0, 4, 2, 4, 4, 4, 1)
    for written in (key, str(key), np.array(key), str(tuple(map(np.int64, key))), tuple(map(np.int64, key))):
        assert str(S.parse(written, notation="naslib")) == "100.10.1:conv3x3,maxpool3x3"
        assert str(S.parse(written, notation="flan")) == "100.10.1:maxpool3x3,conv3x3"
        with pytest.raises(InputError, match="56 integers need notation='naslib' or 'flan'"):
            S.parse(written)
    with pytest.raises(InputError, match=r"\[9, .* are not all within 0\.\.4"):
        S.parse((*key[:49], 9, *key[50:]), notation="naslib")
    with pytest.raises(InputError, match="notation 'naslib' has 56 integers"):
        S.parse((*key[:55], 1.5), notation="naslib")


def test_golden_keys_of_naslib(golden: Path) -> None:
    for row in json.loads((golden / "tables" / "notations" / "nb101_naslib.json").read_text()):
        padded = {"matrix": row["padded matrix"], "operations": row["padded ops"]}
        cells = S.parse(row["NASLib key"], notation="naslib"), S.parse(padded), S.parse((row["matrix"], row["ops"]))
        assert {S.canonical(cell) for cell in cells} == {row["hash"]}


def test_golden_cases(golden: Path) -> None:
    known = json.loads((golden / "pure" / "nb101_hash.json").read_text())
    for case in known["cases"]:
        if not case["valid"]:
            with pytest.raises(InputError, match="no path leads from the input"):
                S.parse(case)
        elif not case["in_space"]:
            with pytest.raises(InputError, match="edges after pruning; at most 9"):
                S.parse(case)
        else:
            cell = S.parse(case)
            assert official(cell) == (case["pruned_matrix"], case["pruned_ops"])
            assert S.canonical(cell) == case["hash"]


def test_every_notation_gives_the_same_cell() -> None:
    matrix, ops = INCEPTION["matrix"], INCEPTION["ops"]
    cell = S.parse(INCEPTION)
    assert str(cell) == INCEPTION_TEXT
    assert S.canonical(cell) == INCEPTION_HASH
    record = "".join(str(entry) for row in matrix for entry in row)
    for notation in (
        INCEPTION_TEXT,
        f"  {INCEPTION_TEXT}\n",
        INCEPTION_TEXT.replace("conv3x3", "conv3x3-bn-relu"),
        {"module_adjacency": np.array(matrix), "module_operations": ops, "trainable_parameters": 2694282},
        {"matrix": np.array(matrix, bool), "ops": tuple(ops)},
        {"matrix": matrix, "operations": ops},  # zcp-test
        {"matrix": str(np.array(matrix)), "operations": str(ops)},
        str({"matrix": np.array(matrix), "ops": np.array(ops)}),
        (str(np.array(matrix, float)), ops),
        (matrix, ops),
        [np.array(matrix, np.int8), np.array(ops)],
        SimpleNamespace(matrix=np.array(matrix), ops=ops),
        SimpleNamespace(original_matrix=np.array(matrix), original_ops=ops),
        (record, ",".join(ops)),
        json.dumps({"matrix": matrix, "ops": ops}),
        repr((matrix, ops)),
        cell,
    ):
        assert S.parse(notation) == cell
    assert S.parse(record_text(record, ",".join(ops))) == cell


@pytest.mark.parametrize("text", ["{x", "['a']", "(__import__('os'), 1)", "[" * 5000])
def test_a_literal_that_is_no_cell(text: str) -> None:
    with pytest.raises(InputError, match=r"nasbench101: .*(not a cell|cannot read)"):
        S.parse(text)


def test_hash_and_index_are_read() -> None:
    cell = SMALL[0]
    assert SMALL.index(cell) == 0
    digest = SMALL.canonical(cell)
    for notation in (digest, digest.upper(), 0, "0", np.int64(0)):
        assert SMALL.parse(notation) == cell
    with pytest.raises(InputError, match=f"no cell has the hash {'0' * 32}"):
        SMALL.parse("0" * 32)


def test_input_to_output_only() -> None:
    cell = S.parse("1:")
    assert cell == Cell101(((0, 1), (0, 0)), ())
    assert str(cell) == "1:"
    assert S.parse(("0100", "input,output")) == cell
    assert S.canonical(cell) == "043721b9c7fe8c5fad811d47d83132ec"


def test_what_is_pruned_away_may_be_anything() -> None:
    matrix = np.triu(np.ones((9, 9), int), 1)
    matrix[:, 3:8] = 0  # vertices 3..7 have no source
    assert S.parse((matrix, ["input", C3, MP, *"abcde", "output"])) == S.parse("111.11.1:conv3x3,maxpool3x3")
    assert S.parse("0101.000.10.0:conv1x1,maxpool3x3,conv3x3") == S.parse("1:")


@given(cells)
def test_text_round_trip(cell: Cell101) -> None:
    assert S.parse(str(cell)) == cell == S.parse(official(cell))
    assert S.connected(cell)
    assert S.canonical(cell) == hash_graph(cell.matrix, [-1, *cell.operations, -2])
    matrix, ops = official(cell)
    record = "".join(str(entry) for row in matrix for entry in row)
    assert record_text(record, ",".join(ops)) == str(cell)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([[0, 1], [1, 0]], ["input", "output"]), "matrix[1][0] leads back to an earlier vertex"),
        (([[0, 1, 0], [0, 1, 1], [0, 0, 0]], ["input", C3, "output"]), "matrix[1][1] leads back"),
        (([[0, 2], [0, 0]], ["input", "output"]), "matrix[0][1] is 2; an entry is 0 or 1"),
        (([["0", "1"], [0, 0]], ["input", "output"]), "matrix[0][0] is '0'; an entry is 0 or 1"),
        (([[0, 1, 1], [0, 0, 1]], ["input", C3, "output"]), "not square: 2 rows, row 0 has 3 entries"),
        (([[0, 1], [0]], ["input", "output"]), "not square: 2 rows, row 1 has 1 entries"),
        (([[[0, 1], [0, 0]], [[0, 1], [0, 0]]], ["input", "output"]), "matrix[0][0] is [0, 1]; an entry is 0 or 1"),
        ((5, ["input", "output"]), "a matrix is V rows of V entries, not 5"),
        (([[0]], ["input"]), "at least two vertices"),
        (([[0, 1], [0, 0]], ["input", C3, "output"]), "2 vertices but there are 3 operations"),
        (([[0, 1], [0, 0]], None), "operations are a list of names, not None"),
        (([[0, 1], [0, 0]], [C3, "output"]), "the first operation is 'conv3x3-bn-relu', not 'input'"),
        (([[0, 1], [0, 0]], ["input", C3]), "the last operation is 'conv3x3-bn-relu', not 'output'"),
        ((np.triu(np.ones((3, 3)), 1), ["input", "conv3x3-bn-rel", "output"]), "did you mean 'conv3x3-bn-relu'"),
        (([[0, 0], [0, 0]], ["input", "output"]), "no path leads from the input (vertex 0) to the output (vertex 1)"),
        ((np.eye(8, k=1), ["input", *[C3] * 6, "output"]), "8 vertices after pruning; at most 7"),
        ((np.triu(np.ones((5, 5)), 1), ["input", *[C3] * 3, "output"]), "10 edges after pruning; at most 9"),
        (("010", "input,output"), "'010' is not an adjacency"),
        (("01x0", "input,output"), "'01x0' is not an adjacency"),
        ({"matrix": [[0, 1], [0, 0]]}, "a cell has keys 'matrix' and 'ops', not 'matrix'"),
        (SimpleNamespace(matrix=None, ops=None, original_matrix=[[0, 0], [0, 0]], original_ops=["input", "output"]),
         "no path leads from the input"),
        ("110.01.1:conv3x3", "the matrix has 4 vertices but there are 3 operations"),
        ("110.01.1:conv3x3,maxpool5x5", "unknown nasbench101 operation 'maxpool5x5'; did you mean 'maxpool3x3'"),
        ("110.0.1:conv3x3,conv3x3", "'0' in '110.0.1' should be 2 digits"),
        ("12.1:conv3x3", "'12' in '12.1' should be 2 digits"),
        (":", "'' in '' should be 1 digits"),
        ("inception", "'inception' is not a cell; give a text such as 110.01.1:conv3x3,maxpool3x3"),
        ("", "'' is not a cell"),
        ("423624", "index 423624 is outside 0..423623"),
        (-1, "index -1 is outside 0..423623"),
        (True, "cannot read a cell from bool True"),
        (None, "cannot read a cell from NoneType None"),
        (np.eye(6, k=1), "cannot read a cell from ndarray array([[0., 1., 0."),
        ((np.array([[0, 3], [0, 0]]), ["input", "output"]), "matrix[0][1] is 3; an entry is 0 or 1"),
    ],
)  # fmt: skip
def test_malformed_cells_are_named(given: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        S.parse(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("adjacency", "operations", "message"),
    [
        ("0100", "input,conv3x3-bn-relu,output", "2 vertices but 3 operations"),
        ("0010", "input,output", "leads back"),
        ("001000000", f"input,{C3},output", "not pruned"),
        ("0" * 49, "input,output", "not pruned"),
        ("01000", "input,output", "not an adjacency"),
        ("0100", "input,outputs", "should read input,…,output"),
        ("010001000", "input,conv3x3,relu,output", "unknown nasbench101 operation 'relu'"),
    ],
)
def test_malformed_records_are_named(adjacency: str, operations: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        record_text(adjacency, operations)
    assert message in str(error.value)


def test_hashing_many_cells_equals_hashing_each() -> None:
    many = [*(random_cell(seed) for seed in range(150)), S.parse("1:"), S.parse("11.1:conv3x3")]
    assert S.canonical_many(many) == [S.canonical(cell) for cell in many]
    assert S.canonical_many(iter([])) == []


def test_sampling_follows_the_official_example() -> None:
    rng = np.random.default_rng(0)
    found = [S.sample(rng) for _ in range(3000)]
    assert all(len(c.matrix) <= 7 and sum(map(sum, c.matrix)) <= 9 for c in found)
    # The same, by the definition: seven vertices, rejected until valid.
    sizes = []
    while len(sizes) < 3000:
        try:
            cell = S.parse((np.triu(rng.integers(2, size=(7, 7)), 1), ["input", *[C3] * 5, "output"]))
        except InputError:
            continue
        sizes.append(len(cell.matrix))
    for v in (4, 5, 6, 7):
        assert np.mean([len(c.matrix) == v for c in found]) == pytest.approx(np.mean(np.array(sizes) == v), abs=0.05)
    operations = np.concatenate([c.operations for c in found])
    assert all(abs((operations == op).mean() - 1 / 3) < 0.02 for op in range(3))


@given(cells, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_mutation_gives_another_valid_cell(cell: Cell101, seed: int) -> None:
    other = S.mutate(cell, np.random.default_rng(seed))
    assert S.canonical(other) != S.canonical(cell)
    assert S.parse(official(other)) == other


def test_mutation_reaches_larger_cells() -> None:
    rng = np.random.default_rng(0)
    cell = S.parse("1:")
    assert {len(S.mutate(cell, rng).matrix) for _ in range(300)} >= {3, 4, 5}
    assert S.mutate(cell, np.random.default_rng(7)) == S.mutate(cell, np.random.default_rng(7))


def edits_by_definition(cell: Cell101) -> set[str]:
    """Hashes of the neighbors, with vertices and edges as sets, and every numbering tried to write the result."""
    last = len(cell.matrix) - 1
    names: dict[Any, Any] = {"in": -1, "out": -2} | dict(enumerate(cell.operations, start=1))
    name_of = {0: "in", last: "out"} | {v: v for v in range(1, last)}
    edges = {(name_of[x], name_of[y]) for x in range(last) for y in range(last + 1) if cell.matrix[x][y]}
    results = [(names | {v: op}, edges) for v in range(1, last) for op in range(3)]
    ends = [(s, t) for s in names for t in names if s != t and s != "out" and t != "in"]
    results += [(names, edges ^ {end}) for end in ends]
    results += [(names | {"new": op}, edges | {(s, "new"), ("new", t)}) for s, t in ends for op in range(3)]
    found = set()
    for labels, arrows in results:
        kept = set(labels)
        for start, step in (("in", arrows), ("out", {(t, s) for s, t in arrows})):
            reached = {start}
            while more := {t for s, t in step if s in reached} - reached:
                reached |= more
            kept &= reached
        arrows = {(s, t) for s, t in arrows if s in kept and t in kept}
        if not {"in", "out"} <= kept or len(kept) > 7 or len(arrows) > 9:
            continue
        for inner in permutations(kept - {"in", "out"}):
            order = ["in", *inner, "out"]
            if all(order.index(s) < order.index(t) for s, t in arrows):
                matrix = [[int((s, t) in arrows) for t in order] for s in order]
                found.add(hash_graph(matrix, [labels[v] for v in order]))
                break
    return found - {hash_graph(cell.matrix, [-1, *cell.operations, -2])}


@pytest.mark.parametrize(
    "text",
    ["1:", "10.1:maxpool3x3", "111.01.1:conv3x3,conv1x1", "1100.010.11.1:conv3x3,maxpool3x3,conv3x3", INCEPTION_TEXT],
)
def test_neighbors_are_all_one_edit_cells(text: str) -> None:
    cell = S.parse(text)
    found = S.neighbors(cell)
    hashes = [S.canonical(other) for other in found]
    assert len(set(hashes)) == len(hashes)
    assert set(hashes) == edits_by_definition(cell)
    assert all(S.parse(str(other)) == other for other in found)
    assert all(len(c.matrix) <= 7 and sum(map(sum, c.matrix)) <= 9 for c in found)


@given(cells, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_neighbors_do_not_depend_on_the_numbering(cell: Cell101, seed: int) -> None:
    other = renumbered(cell, np.random.default_rng(seed))
    assert S.canonical(other) == S.canonical(cell)
    assert {S.canonical(c) for c in S.neighbors(other)} == {S.canonical(c) for c in S.neighbors(cell)}


def test_every_step_that_adds_can_be_taken_back() -> None:
    for seed in range(5):
        cell = random_cell(seed)
        size = sum(map(sum, cell.matrix))
        larger = [other for other in S.neighbors(cell) if sum(map(sum, other.matrix)) >= size]
        assert all(S.canonical(cell) in map(S.canonical, S.neighbors(other)) for other in larger[::7])


def test_renumbered_cells_have_one_hash_and_one_representative() -> None:
    cell, other = S.parse(INCEPTION), S.parse(RENUMBERED)
    assert cell != other
    assert S.canonical(cell) == S.canonical(other) == INCEPTION_HASH
    one, two = SMALL.parse("110.01.1:conv3x3,conv1x1"), SMALL.parse("110.01.1:conv1x1,conv3x3")
    assert SMALL.index(one) == SMALL.index(two)
    assert SMALL.representative(one) == SMALL.representative(two) == SMALL[SMALL.index(one)]


def test_the_order_is_that_of_the_hashes() -> None:
    assert len(S) == SIZE == 423_624
    known = SMALL._all
    listed = [SMALL[i] for i in range(len(known))]
    hashes = [SMALL.canonical(cell) for cell in listed]
    assert hashes == sorted(set(hashes))
    assert [SMALL.index(cell) for cell in listed[:50]] == list(range(50))


def test_the_cell_as_a_graph() -> None:
    graph = S.graphs(S.parse("111.01.1:conv3x3,maxpool3x3"))["cell"]
    assert graph.vertices == ("input", C3, MP, "output")
    assert graph.edges == ((0, 1, ""), (0, 2, ""), (0, 3, ""), (1, 3, ""), (2, 3, ""))


def test_channels_of_vertices() -> None:
    # golden/nb101: vertex_channels_first_cell of two cells with 16 channels
    assert vertex_channels(S.parse(INCEPTION).matrix, 16, 16) == (16, 4, 4, 4, 4, 4, 16)
    truncated = S.parse("11010.1101.001.10.1:conv3x3,conv1x1,maxpool3x3,conv3x3")
    assert vertex_channels(truncated.matrix, 16, 16) == (16, 6, 5, 5, 5, 16)
    with pytest.raises(InputError, match="4 vertices feed the output; channels must be at least as many"):
        S.params(S.parse(INCEPTION), channels=3)


def read_cells(path: Path, rows: Any) -> tuple[list[Cell101], np.ndarray]:
    with np.load(path) as file:
        vertices, bits, ops, params = (file[n][rows] for n in ("num_vertices", "adjacency_bits", "ops", "params"))
    found = []
    for v, b, o in zip(vertices.tolist(), bits.tolist(), ops.tolist(), strict=True):
        upper = iter(range(21))
        full = [[(b >> next(upper)) & 1 if y > x else 0 for y in range(7)] for x in range(7)]
        found.append(Cell101(tuple(tuple(row[:v]) for row in full[:v]), tuple(o[: v - 2])))
    return found, params


def test_parameters_equal_the_benchmarks(test_data: Path) -> None:
    rows = np.random.default_rng(1).choice(SIZE, 5000, replace=False)
    found, params = read_cells(test_data / "data" / "nas_bench_101.npz", rows)
    assert [S.params(cell) for cell in found] == params.tolist()


@pytest.mark.slow
def test_all_cells_of_the_benchmark(
    test_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = test_data / "data" / "nas_bench_101.npz"
    found, params = read_cells(path, slice(None))
    with np.load(path) as file:
        hashes = [row.tobytes().hex() for row in file["hash"]]
    assert S.canonical_many(found) == hashes
    assert [S.params(cell) for cell in found] == params.tolist()
    whole = NASBench101()
    whole.__dict__["_all"] = enumerate_cells()
    assert sum(1 for _ in whole) == len(whole.unique()) == SIZE
    for row in range(0, SIZE, 20_011):
        assert whole.index(found[row]) == row
        assert whole.canonical(whole[row]) == hashes[row]
        assert whole.parse(hashes[row]) == whole[row] == whole.representative(found[row])


def test_unknown_macro_number_and_form() -> None:
    cell = S.parse("1:")
    with pytest.raises(InputError, match="unknown nasbench101 macro field 'width'"):
        S.params(cell, width=3)
    with pytest.raises(InputError, match="cells must be a positive integer"):
        S.flops(cell, cells=0)
    with pytest.raises(InputError, match="unknown nasbench101 form 'oficial'; did you mean 'official'"):
        S.macro(form="oficial")
    assert S.default_macro["channels"] == 128
    assert S.macro(stacks=2) == MacroConfig101(stacks=2)


def test_the_space_needs_no_torch_and_no_enumeration() -> None:
    code = (
        "import sys, numpy; from prejudge.spaces.nasbench101.space import NASBench101; s = NASBench101(); "
        "c = s.sample(numpy.random.default_rng(0)); s.canonical(c), s.flops(c), s.neighbors(c), len(s), "
        "s.mutate(c, numpy.random.default_rng(0)); assert 'torch' not in sys.modules; assert '_all' not in vars(s)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "text", ["{[0]}", "{[0]: 1}", "9" * 5000, "(" * 500, f"[[0, {'0x' + 'f' * 5000}], [0, 0]]", "²"]
)
def test_literals_that_python_cannot_make_are_no_cells(text: str) -> None:
    with pytest.raises(InputError, match="nasbench101: ") as error:
        S.parse(text)
    assert len(str(error.value)) < 300
