"""The table file and its queries."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from prejudge.benchmarks.table.index import TableIndex
from prejudge.benchmarks.table.table import Metric, RepresentativeWarning, open_table, write_table
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.spaces import space
from prejudge.spaces.nasbench201.cell import OPERATIONS

SIZE = 15625
TEST = Metric("cifar10", "test", 200)
FIRST = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"


def _accuracies(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1000, 10000, SIZE) / 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    columns = {
        TEST: _accuracies(),
        Metric("cifar10", "test", 200, 777): _accuracies(1),
        Metric("cifar10", "valid", 12): _accuracies(2),
        Metric("imagenet16", "test", 200): np.random.default_rng(3).random(SIZE) * 100,  # too many values for codes
    }
    columns[TEST][5] = np.nan
    curves = {TEST: np.round(np.random.default_rng(4).random((SIZE, 3)), 2) * 100}
    return write_table(
        tmp_path / "made.h5",
        "nasbench201",
        columns,
        extra={"params": np.arange(SIZE), "params_cifar10": np.arange(SIZE) * 2.0},
        units={"params": "1"},
        provenance={"source": "made up"},
        curves=curves,
        aliases={"imagenet16-120": "imagenet16"},
    )


def test_values_come_back_exactly(path: Path) -> None:
    table = open_table(path)
    expected = _accuracies()
    expected[5] = np.nan
    np.testing.assert_array_equal(table.column(dataset="cifar10", split="test", epochs=200), expected)
    np.testing.assert_array_equal(table.column("imagenet16_test_200ep"), np.random.default_rng(3).random(SIZE) * 100)
    np.testing.assert_array_equal(table.extra("params"), np.arange(SIZE))
    np.testing.assert_array_equal(table.extra("params", dataset="cifar10"), np.arange(SIZE) * 2)
    np.testing.assert_array_equal(table.extra("params", dataset="imagenet16"), np.arange(SIZE))
    np.testing.assert_array_equal(
        table.curve(7, TEST), np.round(np.random.default_rng(4).random((SIZE, 3)), 2)[7] * 100
    )


def test_a_frame_has_a_row_for_each_architecture_and_a_column_for_each_metric(path: Path) -> None:
    table = open_table(path)
    frame = table.frame()
    assert list(frame.columns) == [str(metric) for metric in table.metrics()]
    assert (frame.shape, frame.index.name, frame.index[0]) == ((SIZE, 4), "architecture", FIRST)
    assert np.isnan(frame.loc[str(space("nasbench201")[5]), "cifar10_test_200ep"])
    np.testing.assert_array_equal(frame["cifar10_test_200ep"], table.column(TEST))
    assert list(table.frame(["imagenet16-120_test_200ep", TEST]).columns) == ["imagenet16_test_200ep", str(TEST)]
    assert repr(table) == "<table made: 15,625 architectures of nasbench201, 4 metrics of cifar10, imagenet16>"
    with pytest.raises(InputError, match="has no epochs 12"):
        table.frame(["cifar10_test_12ep"])


def test_architecture_text_and_index_ask_for_the_same(path: Path) -> None:
    table = open_table(path)
    cell = space("nasbench201").parse(FIRST)
    names = [OPERATIONS[edge] for edge in cell.edges]
    for arch in (FIRST, cell, 0, np.int64(0), names, tuple(names)):
        for _ in range(2):  # looked up, then remembered
            value = table.query(arch, dataset="cifar10", split="test", epochs=200)
            assert type(value) is float
            assert value == _accuracies()[0]
    assert table.query(cell, TEST) == table.query(cell, "cifar10_test_200ep") == _accuracies()[0]
    assert table.query(cell, dataset="cifar10", split="test", epochs=200, seed=777) == _accuracies(1)[0]
    assert table.query(0, dataset="imagenet16-120", split="test", epochs=200) == table.query(0, "imagenet16_test_200ep")


def test_integers_are_asked_for_with_their_notation(path: Path) -> None:
    table = open_table(path)
    key, other = (4, 3, 3, 0, 0, 0), (2, 2, 1, 4, 2, 4)  # of NASLib, index 0 and 11
    for asked in (key, list(key), np.array(key), str(key), "433000"):
        with pytest.raises(InputError, match=r"notation='official' and .* notation='naslib'; say which"):
            table.query(asked, TEST)
        for _ in range(2):
            assert table.query(asked, TEST, notation="naslib") == _accuracies()[0]
    for many in ([key, other], np.array([key, other]), [str(key), "221424"]):
        np.testing.assert_array_equal(table.query_many(many, TEST, notation="naslib"), _accuracies()[[0, 11]])
    np.testing.assert_array_equal(table.curve(key, TEST, notation="naslib"), table.curve(0, TEST))
    config = {"arch_str": FIRST}
    nested = ([["avg_pool_3x3", 0]], [["nor_conv_1x1", 0], ["skip_connect", 1]],
              [["nor_conv_1x1", 0], ["skip_connect", 1], ["skip_connect", 2]])  # fmt: skip
    for form in (config, nested, f"Structure(4 nodes with {FIRST})"):
        assert table.query(form, TEST) == table.query_many([form], TEST)[0] == _accuracies()[0]


def test_many_at_once(path: Path) -> None:
    table = open_table(path)
    asked = np.array([[3, 5], [0, SIZE - 1]])
    np.testing.assert_array_equal(table.query_many(asked, TEST), table.column(TEST)[asked])
    texts = [str(table.architectures[i]) for i in (3, 5, 0)]
    np.testing.assert_array_equal(table.query_many(texts, TEST), table.column(TEST)[[3, 5, 0]])
    np.testing.assert_array_equal(table.query_many(np.array(texts), TEST), table.column(TEST)[[3, 5, 0]])
    cells = [[OPERATIONS[edge] for edge in table.architectures[i].edges] for i in (3, 5)]
    np.testing.assert_array_equal(table.query_many(cells, TEST), table.column(TEST)[[3, 5]])
    for wrong in (-1, SIZE):
        with pytest.raises(InputError, match=f"index {wrong} is outside"):
            table.query_many(np.array([0, wrong]), TEST)


def test_a_returned_array_is_the_callers_own(path: Path) -> None:
    table = open_table(path)
    table.column(TEST)[:] = 0
    table.query_many(np.arange(3), TEST)[:] = 0
    assert table.query(0, TEST) == _accuracies()[0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dataset": "svhn", "split": "test", "epochs": 200}, "no dataset 'svhn' .it has cifar10, imagenet16"),
        (
            {"dataset": "cifar10", "split": "train", "epochs": 200},
            "'train' for dataset cifar10 .it has test, valid",
        ),
        (
            {"dataset": "cifar10", "split": "test", "epochs": 12},
            "no epochs 12 for dataset cifar10, split test .it",
        ),
        ({"dataset": "cifar10", "split": "test", "epochs": 200, "seed": 1}, "no seed 1 .*it has mean, 777"),
        ({"dataset": "cifar10", "split": "test"}, "say which epochs .it has 200"),
        ({}, "say which dataset .it has cifar10, imagenet16"),
        ({"dataset": ["cifar10"], "split": "test", "epochs": 200}, "no dataset"),
        ({"metric": "cifar10"}, "cannot read metric"),
        ({"metric": "cifar10_test_20ep"}, "it has 200"),
    ],
)
def test_what_is_not_there_names_what_is(path: Path, asked: dict, message: str) -> None:
    table = open_table(path)
    for ask in (lambda: table.query(FIRST, **asked), lambda: table.column(**asked)):
        with pytest.raises(InputError, match=message) as error:
            ask()
        assert "\n" not in str(error.value)


def test_an_untrained_or_malformed_architecture_is_an_error(path: Path) -> None:
    table = open_table(path)
    with pytest.raises(InputError, match="15624 of 15625"):
        table.query(5, TEST)
    with pytest.raises(InputError, match="node groups"):
        table.query("|none~0|", TEST)
    with pytest.raises(InputError, match="params, params_cifar10"):
        table.extra("latency")
    with pytest.raises(InputError, match=r"no learning curve with split 'valid' .*it has test"):
        table.curve(0, "cifar10_valid_12ep")


def test_per_class_table_answers_for_members_and_says_so(tmp_path: Path) -> None:
    where = space("nasbench201")
    trained = np.array(sorted(where.index(a) for a in where.unique()))
    values = np.full(SIZE, np.nan)
    values[trained] = _accuracies()[: len(trained)]
    metric = Metric("digits", "test", 12)
    table = open_table(write_table(tmp_path / "t.h5", "nasbench201", {metric: values}, per_class=True))
    member = next(a for a in where if where.representative(a) != a)
    first = where.representative(member)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = table.query(first, metric)
    with pytest.warns(RepresentativeWarning, match="representative"):
        assert table.query(member, metric) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert table.query(str(member), metric) == expected
        np.testing.assert_array_equal(table.query_many(np.array([where.index(member)]), metric), [expected])
    assert table.answers_for(member) == first
    assert table.answers_for(str(first)) == first
    assert np.isfinite(table.column(metric)).sum() == 6466
    shared = table.column(metric, expand=True)
    assert np.isfinite(shared).all()
    assert shared[where.index(member)] == expected
    fresh = open_table(table.path)
    with pytest.warns(RepresentativeWarning):
        fresh.query_many(np.arange(SIZE), metric)
    values[where.index(member)] = 50
    with pytest.raises(InputError, match="representatives only"):
        write_table(tmp_path / "u.h5", "nasbench201", {metric: values}, per_class=True)
    assert not (tmp_path / "u.h5").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"shape \(3,\), but \(15625\) is needed"),
        (np.full(SIZE, 0.94), "multiply fractions by 100"),
        (np.full(SIZE, 101.0), "from 0 to 100"),
        (np.full(SIZE, np.inf), "infinite at index 0"),
        (np.full(SIZE, np.nan), "no column has any value"),
        (np.full(SIZE, "a"), "numbers are needed"),
    ],
)
def test_impossible_columns_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_table(tmp_path / "t.h5", "nasbench201", {TEST: values})
    assert list(tmp_path.iterdir()) == []


def test_bad_metrics_are_refused(tmp_path: Path) -> None:
    impossible = [
        ("cifar10", "test", 0), ("cifar10", "test", "12"), ("", "test", 12), ("c", "test", 1, -1), ("c", "test", 1, "a")
    ]  # fmt: skip
    for arguments in impossible:
        with pytest.raises(InputError):
            Metric(*arguments)
    with pytest.raises(InputError, match="at least one column"):
        write_table(tmp_path / "t.h5", "nasbench201", {})
    for text in ("cifar10_test_200ep", "cifar10-valid_test_12ep_seed777", "a_b_valid_1ep"):
        assert str(Metric.parse(text)) == text


def test_missing_foreign_truncated_and_damaged_files(tmp_path: Path, path: Path) -> None:
    with pytest.raises(MissingDataError, match="no benchmark table"):
        open_table(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("hello")
    with pytest.raises(FileFormatError, match="not an HDF5 file"):
        open_table(text)
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["x"] = 1
    with pytest.raises(FileFormatError, match="not a prejudge benchmark table"):
        open_table(foreign)
    whole = path.read_bytes()
    cut = tmp_path / "cut.h5"
    for size in (100, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(FileFormatError):
            open_table(cut)
    newer = tmp_path / "newer.h5"
    newer.write_bytes(whole)
    with h5py.File(newer, "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(FileFormatError, match="upgrade prejudge"):
        open_table(newer)
    with h5py.File(path, "r") as file:
        start = file["columns/0/codes"].id.get_chunk_info(0).byte_offset
    flipped = bytearray(whole)
    flipped[start + 20] ^= 0xFF
    cut.write_bytes(bytes(flipped))
    with pytest.raises(FileFormatError, match="columns/0 cannot be read"):
        open_table(cut).column(TEST)


def test_a_replaced_file_is_not_mixed_in(path: Path) -> None:
    table = open_table(path)
    table.column(TEST)
    write_table(path, "nasbench201", {TEST: _accuracies(9)})
    assert table.query(0, TEST) == _accuracies()[0]
    with pytest.raises(FileFormatError, match="open it again"):
        table.column("imagenet16_test_200ep")
    assert open_table(path).query(0, TEST) == _accuracies(9)[0]


def test_a_failed_write_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PrejudgeError, match=r"cannot write .*disk is full"):
        write_table(path, "nasbench201", {TEST: _accuracies(9)})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_same_content_same_file(tmp_path: Path) -> None:
    one = write_table(tmp_path / "a.h5", "nasbench201", {TEST: _accuracies()}, name="t")
    two = write_table(tmp_path / "b.h5", "nasbench201", {TEST: _accuracies()}, name="t")
    assert one.read_bytes() == two.read_bytes()


def test_info_and_pickle(path: Path) -> None:
    table = open_table(path)
    info = table.info()
    assert info["metrics"]["cifar10_test_200ep"] == SIZE - 1
    assert info["units"]["accuracy"] == "per cent"
    assert info["provenance"] == {"source": "made up"}
    assert pickle.loads(pickle.dumps(table)).query(0, TEST) == table.query(0, TEST)


def test_a_query_never_imports_torch(path: Path) -> None:
    code = (
        "import sys; from prejudge.benchmarks import open_table; "
        f"print(open_table({str(path)!r}).query(0, 'cifar10_test_200ep')); assert 'torch' not in sys.modules; "
        "assert 'pandas' not in sys.modules; assert 'scipy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == _accuracies()[0]


def test_an_index_that_nests_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nests too deeply"):
        TableIndex.from_json("[" * 100_000)
