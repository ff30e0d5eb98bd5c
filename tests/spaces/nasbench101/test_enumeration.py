"""The official hash of NAS-Bench-101, one cell and many at a time, and the enumeration of the space."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations, permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.spaces.nasbench101 import enumeration
from prejudge.spaces.nasbench101.enumeration import Enumeration, distinct_matrices, enumerate_cells, matrix_of
from prejudge.spaces.nasbench101.hash import _md5_of_rows, hash_graph, hash_graphs


def generated(max_vertices: int, max_edges: int) -> dict[str, tuple[list[list[int]], tuple[int, ...]]]:
    """The official generator, slow and obvious: first cell of each hash."""
    found: dict[str, tuple[list[list[int]], tuple[int, ...]]] = {}
    for v in range(2, max_vertices + 1):
        for bits in range(2 ** (v * (v - 1) // 2)):
            matrix = [[(bits >> (x + y * (y - 1) // 2)) & 1 if x < y else 0 for y in range(v)] for x in range(v)]
            if sum(map(sum, matrix)) > max_edges:
                continue
            if not all(map(any, matrix[:-1])) or not all(any(row[y] for row in matrix) for y in range(1, v)):
                continue
            for ops in product(range(3), repeat=v - 2):
                found.setdefault(hash_graph(matrix, (-1, *ops, -2)), (matrix, ops))
    return found


@given(st.integers(1, 5), st.integers(0, 400), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_md5_of_many_rows_is_md5(rows: int, length: int, seed: int) -> None:
    texts = np.random.default_rng(seed).integers(256, size=(rows, length), dtype=np.uint8)
    cut = length // 3
    found = _md5_of_rows(texts[:, :cut], texts[:, cut:])
    assert [row.tobytes() for row in found] == [hashlib.md5(row.tobytes()).digest() for row in texts]


def test_more_rows_than_are_hashed_at_a_time() -> None:
    texts = np.arange(20_000, dtype="<u4").view(np.uint8).reshape(-1, 4)
    found = _md5_of_rows(texts)
    assert [found[i].tobytes() for i in (0, 8191, 8192, 19_999)] == [
        hashlib.md5(texts[i].tobytes()).digest() for i in (0, 8191, 8192, 19_999)
    ]


def test_hash_of_the_step_by_step_example() -> None:
    # golden/pure/nb101_hash.json
    matrix = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert hash_graph(matrix, [-1, 0, 1, -2]) == "1af995a92568cf42af2c2668f72834ea"
    # NumPy's integers print as np.int64(0): they must not change the hash
    assert hash_graph(np.array(matrix), np.array([-1, 0, 1, -2])) == "1af995a92568cf42af2c2668f72834ea"  # type: ignore[arg-type]
    assert hash_graph([[0, 1], [0, 0]], [-1, -2]) == "043721b9c7fe8c5fad811d47d83132ec"


@pytest.mark.parametrize("vertices", [2, 3, 5, 7])
def test_hashing_many_cells_equals_hashing_one(vertices: int) -> None:
    rng = np.random.default_rng(vertices)
    matrices = np.triu(rng.integers(2, size=(300, vertices, vertices)), 1)  # some with unconnected vertices
    labels = np.hstack([np.full((300, 1), -1), rng.integers(3, size=(300, vertices - 2)), np.full((300, 1), -2)])
    found = hash_graphs(matrices, labels)
    assert [row.tobytes().hex() for row in found] == [
        hash_graph(m, label) for m, label in zip(matrices.tolist(), labels.tolist(), strict=True)
    ]


@given(st.permutations(range(1, 6)), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_hash_does_not_depend_on_the_numbering(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.triu(rng.integers(2, size=(7, 7)), 1)
    labels = np.array([-1, *rng.integers(3, size=5), -2])
    whole = [0, *order, 6]
    assert hash_graph(matrix[np.ix_(whole, whole)].tolist(), labels[whole].tolist()) == hash_graph(
        matrix.tolist(), labels.tolist()
    )


@pytest.mark.parametrize(("vertices", "edges"), [(2, 9), (3, 9), (4, 9), (5, 9), (5, 6)])
def test_small_spaces_equal_the_official_generator(vertices: int, edges: int) -> None:
    found = enumerate_cells(vertices, edges)
    expected = generated(vertices, edges)
    hashes = [found.hash(i) for i in range(len(found))]
    assert hashes == sorted(expected)
    for i, digest in enumerate(hashes):
        matrix, operations = expected[digest]
        cell = found.cell(i)
        assert [list(row) for row in cell.matrix] == matrix  # the very cell that the generator keeps
        assert cell.operations == operations
        assert found.find(digest) == i
    assert found.find("0" * 32) is None
    assert found.find("f" * 32) is None


def test_small_spaces_have_the_golden_sizes(golden: Path) -> None:
    known = json.loads((golden / "pure" / "nb101_hash.json").read_text())
    for vertices in ("2", "3", "4", "5"):
        assert len(enumerate_cells(int(vertices))) == known["enumeration_counts"][vertices]["unique_upto"]
    assert known["published_total_7v"] == enumeration.SIZE
    for row in known["bits"]:
        assert [list(r) for r in matrix_of(row["v"], row["bits"])] == row["matrix"]


@pytest.mark.parametrize("vertices", [2, 3, 4, 5])
def test_one_matrix_of_each_class(vertices: int) -> None:
    def renumberings(bits: int) -> set[tuple[tuple[int, ...], ...]]:
        matrix = matrix_of(vertices, bits)
        orders = [(0, *inner, vertices - 1) for inner in permutations(range(1, vertices - 1))]
        return {tuple(tuple(matrix[x][y] for y in order) for x in order) for order in orders}

    chosen = distinct_matrices(vertices).tolist()
    classes = [renumberings(bits) for bits in chosen]
    assert all(not a & b for i, a in enumerate(classes) for b in classes[:i])
    full = {tuple(map(tuple, m)) for m, _ in generated(vertices, 9).values() if len(m) == vertices}
    assert full <= set().union(*classes)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, list[int]]:
    """A kept file of the cells of at most four vertices, and the list that grows with each enumeration."""
    cells, calls = enumerate_cells(4), []

    def counted() -> Enumeration:
        calls.append(1)
        return cells

    path = tmp_path / "cache" / "nasbench101.npz"
    monkeypatch.setattr(enumeration, "SIZE", len(cells))
    monkeypatch.setattr(enumeration, "_DIGEST", cells.checksum)
    monkeypatch.setattr(enumeration, "enumerate_cells", counted)
    monkeypatch.setattr(enumeration, "kept_file", lambda: path)
    return path, calls


def test_the_enumeration_is_computed_once_and_kept(small: tuple[Path, list[int]]) -> None:
    path, calls = small
    first, second = enumeration.load_enumeration(), enumeration.load_enumeration()
    assert len(calls) == 1
    assert first.checksum == second.checksum
    assert [p.name for p in path.parent.iterdir()] == ["nasbench101.npz"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign", "array", "other type", "folder"])
def test_a_damaged_or_foreign_file_is_computed_again(small: tuple[Path, list[int]], damage: str) -> None:
    path, calls = small
    enumeration.load_enumeration()
    content = bytearray(path.read_bytes())
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        arrays["edges"][5] ^= 1  # a whole file with one wrong cell
        np.savez(path, **arrays)
    elif damage == "foreign":
        np.savez(path, x=np.zeros(3))
    elif damage == "array":
        with path.open("wb") as out:
            np.save(out, np.zeros(3))
    elif damage == "other type":
        np.savez(path, **(arrays | {"vertices": arrays["vertices"].astype(float)}))
    else:
        path.unlink()
        path.mkdir()
    again = enumeration.load_enumeration()
    assert len(calls) == 2
    assert again.checksum == enumeration._DIGEST
    if damage != "folder":
        enumeration.load_enumeration()
        assert len(calls) == 2  # it was replaced


def test_an_unwritable_folder_costs_only_the_computation(
    small: tuple[Path, list[int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, calls = small
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(enumeration, "kept_file", lambda: tmp_path / "file" / "nasbench101.npz")
    assert len(enumeration.load_enumeration()) == enumeration.SIZE
    assert len(enumeration.load_enumeration()) == enumeration.SIZE
    assert len(calls) == 2


def test_a_full_disk_leaves_nothing_behind(small: tuple[Path, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = small

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert len(enumeration.load_enumeration()) == enumeration.SIZE
    assert list(path.parent.iterdir()) == []


def test_the_file_lies_in_the_users_cache_folder() -> None:
    from platformdirs import user_cache_path

    assert enumeration.kept_file().parent == user_cache_path("prejudge", appauthor=False)


def test_hashes_of_real_cells(test_data: Path) -> None:
    with np.load(test_data / "data" / "nas_bench_101.npz") as file:
        rows = np.random.default_rng(0).choice(enumeration.SIZE, 4000, replace=False)
        compare_hashes(*(file[name][rows] for name in ("hash", "num_vertices", "adjacency_bits", "ops")))


def compare_hashes(hashes: np.ndarray, vertices: np.ndarray, bits: np.ndarray, ops: np.ndarray) -> None:
    matrices = np.zeros((len(bits), 7, 7), np.uint8)
    for k, pair in enumerate(combinations(range(7), 2)):
        matrices[:, *pair] = (bits >> k) & 1
    for v in range(2, 8):
        rows = np.flatnonzero(vertices == v)
        labels = np.full((len(rows), v), -1, np.int8)
        labels[:, 1:-1], labels[:, -1] = ops[rows, : v - 2], -2
        np.testing.assert_array_equal(hash_graphs(matrices[rows, :v, :v], labels), hashes[rows])


@pytest.mark.slow
def test_the_whole_space(test_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = enumerate_cells()
    assert found.checksum == enumeration._DIGEST
    with np.load(test_data / "data" / "nas_bench_101.npz") as file:
        data = [file[name] for name in ("hash", "num_vertices", "adjacency_bits", "ops")]
    np.testing.assert_array_equal(found.digests, data[0])
    np.testing.assert_array_equal(found.vertices, data[1])
    compare_hashes(*data)
    assert all(found.find(found.hash(i)) == i for i in range(0, len(found), 1000))
    monkeypatch.setattr(enumeration, "kept_file", lambda: tmp_path / "nasbench101.npz")
    enumeration._keep(tmp_path / "nasbench101.npz", found)
    monkeypatch.delattr(enumeration, "enumerate_cells")
    assert enumeration.load_enumeration().checksum == found.checksum
