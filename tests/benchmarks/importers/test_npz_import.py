"""NPZ files into a table: cells of NAS-Bench-101 as arrays, or texts and columns."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.benchmarks import Metric, import_csv, open_table
from prejudge.benchmarks.importers.npz import import_npz
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces import space

NB101 = space("nasbench101")
NB201 = space("nasbench201")


def cells(count: int) -> list[Any]:
    rng, found = np.random.default_rng(0), {}
    while len(found) < count:
        arch = NB101.sample(rng)
        found[NB101.canonical(arch)] = arch
    return [found[key] for key in sorted(found)]


def arrays_of(archs: list[Any], **more: Any) -> dict[str, Any]:
    """The layout that NAS-Bench-101's cells have as arrays."""
    count = len(archs)
    places = [(i, j) for i in range(7) for j in range(i + 1, 7)]
    bits, ops = np.zeros(count, np.uint32), np.full((count, 5), 255, np.uint8)
    for n, arch in enumerate(archs):
        size = len(arch.matrix)
        bits[n] = sum(1 << k for k, (i, j) in enumerate(places) if j < size and arch.matrix[i][j])
        ops[n, : size - 2] = arch.operations
    digests = np.array([list(bytes.fromhex(NB101.canonical(a))) for a in archs], dtype=np.uint8)
    vertices = np.array([len(a.matrix) for a in archs], dtype=np.uint8)
    accuracy = np.random.default_rng(1).uniform(0.8, 0.95, count).astype(np.float32)
    return {"hash": digests, "num_vertices": vertices, "adjacency_bits": bits, "ops": ops,
            "params": np.arange(count) + 1000, "test_acc_108": accuracy, **more}  # fmt: skip


def save(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def test_cells_of_nasbench101(tmp_path: Path) -> None:
    archs = cells(30)
    arrays = arrays_of(archs, valid_acc_12=np.full(30, 0.5), comment=np.array("x"))
    written = import_npz(save(tmp_path / "nb101.npz", arrays), tmp_path / "t.h5")
    table = open_table(written.path)
    assert (written.already_there, table.space) == (False, "nasbench101")
    assert {str(m) for m in table.metrics()} == {"cifar10_test_108ep", "cifar10_valid_12ep"}
    for arch, accuracy, params in zip(archs, arrays["test_acc_108"].tolist(), arrays["params"], strict=True):
        assert table.query(arch, "cifar10_test_108ep") == accuracy * 100
        assert table.query(NB101.canonical(arch), "cifar10_test_108ep") == accuracy * 100
        assert table.extra("params")[table.architectures.index(arch)] == params
    assert table.query(archs[0], "cifar10_valid_12ep") == 50
    assert table.index.provenance["arrays left out"] == "comment"
    assert import_npz(tmp_path / "nb101.npz", tmp_path / "t.h5").already_there


def test_the_real_file(tmp_path: Path, test_data: Path) -> None:
    """Every twentieth cell of it: accuracies and parameters are found under their hash and their cell."""
    with np.load(test_data / "data" / "nas_bench_101.npz") as file:
        arrays = {name: file[name][::20] for name in file.files}
    table = open_table(import_npz(save(tmp_path / "nb101.npz", arrays), tmp_path / "t.h5").path)
    assert len(table.architectures) == 21_182
    for row in range(0, 21_182, 500):
        key = arrays["hash"][row].tobytes().hex()
        assert table.query(key, "cifar10_test_108ep") == float(arrays["test_acc_108"][row]) * 100
        assert NB101.canonical(table.architectures[row]) == key
        assert NB101.params(table.architectures[row]) == arrays["params"][row] == table.extra("params")[row]


@pytest.mark.parametrize(
    ("name", "row", "value", "reason"),
    [
        ("num_vertices", 3, 8, "row 3: 8 vertices; a cell has 2 to 7"),
        ("adjacency_bits", 3, 1 << 21, "row 3: adjacency bits 0x200000 name an edge beyond vertex"),
        ("adjacency_bits", 3, 0, "row 3: nasbench101: "),
        ("test_acc_108", 3, 94.3, "row 3: test_acc_108 is 94.3; an accuracy here is a fraction, from 0 to 1"),
        ("test_acc_108", 3, np.inf, "row 3: test_acc_108 is inf; "),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, name: str, row: int, value: Any, reason: str) -> None:
    arrays = arrays_of(cells(6))
    arrays[name][row] = value
    with pytest.raises(InputError) as caught:
        import_npz(save(tmp_path / "f.npz", arrays), tmp_path / "t.h5")
    assert f"f.npz, {reason}" in str(caught.value)


def test_a_wrong_operation_and_a_wrong_hash_are_named(tmp_path: Path) -> None:
    arrays = arrays_of(cells(6))
    arrays["ops"][:, 0] = 7
    with pytest.raises(InputError, match="operation 7; there are 0, 1 and 2"):
        import_npz(save(tmp_path / "f.npz", arrays), tmp_path / "t.h5")
    arrays = arrays_of(cells(6))
    arrays["hash"][2, 0] ^= 1
    with pytest.raises(FileFormatError, match=r"is called [0-9a-f]{32}, but its hash is"):
        import_npz(save(tmp_path / "f.npz", arrays), tmp_path / "t.h5")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ops", np.zeros((6, 4), np.uint8), r"ops must be integers of shape \(6, 5\), not uint8 of \(6, 4\)"),
        ("num_vertices", np.zeros(6), r"num_vertices must be integers of shape \(6,\), not float64"),
        ("test_acc_108", np.zeros(5), r"test_acc_108 must be 6 numbers, not float64 of shape \(5,\)"),
        ("params", np.array(["a"] * 6), "params must be 6 numbers, not <U1"),
    ],
)
def test_a_wrong_shape_is_named(tmp_path: Path, name: str, value: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        import_npz(save(tmp_path / "f.npz", {**arrays_of(cells(6)), name: value}), tmp_path / "t.h5")


def listed(count: int = 5) -> dict[str, Any]:
    return {
        "architectures": np.array([str(NB201[i * 100]) for i in range(count)]),
        "cifar10_test_200ep": np.linspace(80, 94, count),
        "cifar10_test_200ep_seed777": np.linspace(81, 93, count),
        "cifar10_train_200ep_loss": np.linspace(0.1, 200, count),
        "params_cifar10": np.arange(count) + 10,
        "mflops_cifar10": np.arange(count) + 0.5,
        "n_seeds_cifar10": np.full(count, 3),
        "notes": np.zeros((2, 2)),
    }


def test_texts_and_columns(tmp_path: Path) -> None:
    arrays = listed()
    table = open_table(import_npz(save(tmp_path / "f.npz", arrays), tmp_path / "t.h5", "nasbench201").path)
    for i in range(5):
        assert table.query(NB201[i * 100], "cifar10_test_200ep") == arrays["cifar10_test_200ep"][i]
        ask = {"dataset": "cifar10", "epochs": 200}
        assert table.query(i * 100, **ask, split="test", seed=777) == arrays["cifar10_test_200ep_seed777"][i]
        assert table.query(i * 100, **ask, split="train", quantity="loss") == arrays["cifar10_train_200ep_loss"][i]
    assert np.isfinite(table.column("cifar10_test_200ep")).sum() == 5
    assert table.extra("flops_cifar10")[100] == 1_500_000
    assert set(table.extras) == {"params_cifar10", "flops_cifar10", "n_seeds_cifar10"}
    assert table.index.provenance["arrays left out"] == "notes"


def test_it_equals_the_csv_file(tmp_path: Path) -> None:
    arrays = {k: v for k, v in listed().items() if k != "notes"}
    lines = [",".join(["arch_str", *list(arrays)[1:]])]
    lines += [
        ",".join(map(repr, row)).replace("'", "") for row in zip(*(a.tolist() for a in arrays.values()), strict=True)
    ]
    (tmp_path / "f.csv").write_text("\n".join(lines))
    of_csv = open_table(import_csv(tmp_path / "f.csv", tmp_path / "t.h5"))
    of_npz = open_table(import_npz(save(tmp_path / "f.npz", arrays), tmp_path / "u.h5").path)
    assert of_csv.metrics() == of_npz.metrics()
    assert of_csv.index.units == of_npz.index.units
    for metric in of_csv.metrics():
        np.testing.assert_array_equal(of_csv.column(metric), of_npz.column(metric))
    for name in of_csv.extras:
        np.testing.assert_array_equal(of_csv.extra(name), of_npz.extra(name))


def test_texts_of_a_space_that_lists_its_architectures(tmp_path: Path) -> None:
    darts = space("darts")
    rng = np.random.default_rng(0)
    archs = [darts.sample(rng) for _ in range(4)]
    arrays = {"arch": np.array([str(a) for a in archs]).astype(bytes), "cifar10_test_100ep": np.arange(90.0, 94)}
    table = open_table(import_npz(save(tmp_path / "f.npz", arrays), tmp_path / "t.h5", "darts").path)
    assert [table.query(a, Metric("cifar10", "test", 100)) for a in archs] == [90, 91, 92, 93]


def test_what_is_wrong_with_a_list_is_named(tmp_path: Path) -> None:
    def message(**more: Any) -> str:
        arrays = {k: v for k, v in {**listed(), **more}.items() if v is not None}
        with pytest.raises(InputError) as caught:
            import_npz(save(tmp_path / "f.npz", arrays), tmp_path / "t.h5")
        return str(caught.value)

    texts = listed()["architectures"]
    assert "f.npz has no array 'architectures' (it has cifar10_test" in message(architectures=None)
    assert "architectures must be a list of texts, not int64 of shape (5,)" in message(architectures=np.arange(5))
    assert "f.npz, row 1 of architectures: " in message(architectures=np.array([texts[0], "conv", *texts[2:]]))
    assert "row 4 of architectures: the architecture was in row 0" in message(architectures=texts[[0, 1, 2, 3, 0]])
    assert "cifar10_test_200ep must be 5 numbers, not float64 of shape (4,)" in message(cifar10_test_200ep=np.ones(4))
    assert "row 0: cifar10_test_200ep is 101; an accuracy here is per cent" in message(
        cifar10_test_200ep=np.full(5, 101.0)
    )
    assert "multiply fractions by 100" in message(
        cifar10_test_200ep=np.ones(5), cifar10_test_200ep_seed777=np.zeros(5), cifar10_train_200ep_loss=np.ones(5)
    )
    nothing = {"cifar10_test_200ep": None, "cifar10_test_200ep_seed777": None, "cifar10_train_200ep_loss": None}
    assert "has no accuracies: no array reads {dataset}_{split}_{epochs}ep" in message(**nothing)


def test_pickles_are_refused_and_foreign_files_told(tmp_path: Path) -> None:
    (tmp_path / "p.npz").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "t.npz").write_text("architectures, accuracy\n")
    (tmp_path / "e.npz").touch()
    np.save(tmp_path / "a.npy", np.zeros(3))
    save(tmp_path / "o.npz", {"architectures": np.array(["a", None], dtype=object)})
    good = save(tmp_path / "g.npz", listed()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(good[:-200])
    flipped = bytearray(good)
    flipped[1500] ^= 1
    (tmp_path / "f.npz").write_bytes(flipped)
    reasons = {
        "p.npz": "holds pickled objects, which may run code and are not read",
        "o.npz": "holds pickled objects",
        "t.npz": "is not an .npz file",
        "e.npz": "is not an .npz file, or it is truncated",
        "a.npy": "is a single array, not an .npz file",
        "cut.npz": "is not an .npz file, or it is truncated",
        "f.npz": "is damaged",
    }
    for name, reason in reasons.items():
        with pytest.raises(FileFormatError) as caught:
            import_npz(tmp_path / name, tmp_path / "t.h5")
        assert f"{name} " in str(caught.value)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(MissingDataError, match=r"does not exist; it must be an \.npz file"):
        import_npz(tmp_path / "missing.npz", tmp_path / "t.h5")
