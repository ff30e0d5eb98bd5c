"""Tables of spaces that cannot be enumerated at once: they bring the list of their architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prejudge.benchmarks import Metric, correlate, import_csv, open_table, write_table
from prejudge.benchmarks.table.rows import ListedRows, NotListed, RowNumbers, row_key
from prejudge.errors import FileFormatError, InputError
from prejudge.spaces import space

S = space("nasbench101")
TEST = Metric("cifar10", "test", 108)
CELLS = ["10.1:conv3x3", "10.1:conv1x1", "10.1:maxpool3x3", "11.1:conv3x3", "1:", "110.01.1:conv3x3,conv1x1"]
VALUES = [90.0, 85.0, 70.0, 92.0, 60.0, 93.0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_table(
        tmp_path / "t.h5", "nasbench101", {TEST: np.array(VALUES)}, architectures=CELLS,
        extra={"params": np.arange(6.0)}, curves={TEST: np.arange(12.0).reshape(6, 2)},
    )  # fmt: skip


def test_rows_are_found_by_every_notation(path: Path) -> None:
    table = open_table(path)
    for text, value in zip(CELLS, VALUES, strict=True):
        cell = S.parse(text)
        for notation in (cell, text, S.canonical(cell)):
            assert table.query(notation, TEST) == value
    # An isomorphic cell (the two interior vertices swapped) is the same architecture.
    swapped = S.parse({"matrix": [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]],
                       "ops": ["input", "conv3x3-bn-relu", "conv1x1-bn-relu", "output"]})  # fmt: skip
    other = S.parse({"matrix": [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]],
                     "ops": ["input", "conv1x1-bn-relu", "conv3x3-bn-relu", "output"]})  # fmt: skip
    assert S.canonical(swapped) == S.canonical(other)
    one = write_table(path.parent / "one.h5", "nasbench101", {TEST: np.array([50.0])}, architectures=[swapped])
    assert open_table(one).query(other, TEST) == 50


def test_rows_ascend_by_hash_and_all_arrays_follow(path: Path) -> None:
    table = open_table(path)
    hashes = [S.canonical(a) for a in table.architectures]
    assert hashes == sorted(hashes)
    of = dict(zip((str(S.parse(c)) for c in CELLS), range(6), strict=True))
    order = [of[str(a)] for a in table.architectures]
    np.testing.assert_array_equal(table.column(TEST), np.array(VALUES)[order])
    np.testing.assert_array_equal(table.extra("params"), order)
    np.testing.assert_array_equal(table.curve(CELLS[3], TEST), [6, 7])
    np.testing.assert_array_equal(table.query_many(np.arange(6), TEST), table.column(TEST))
    np.testing.assert_array_equal(table.query_many(CELLS, TEST), VALUES)
    assert table.info()["architectures"] == 6
    assert table.answers_for(CELLS[0]) == S.parse(CELLS[0])


def test_a_frame_is_indexed_by_the_architectures_texts(path: Path) -> None:
    table = open_table(path)
    frame = table.frame()
    assert list(frame.index) == [str(arch) for arch in table.architectures]
    np.testing.assert_array_equal(frame["cifar10_test_108ep"], table.column(TEST))


def test_an_architecture_that_is_not_listed(path: Path) -> None:
    table = open_table(path)
    with pytest.raises(NotListed, match="none of the 6 architectures listed"):
        table.query("11.1:conv1x1", TEST)
    with pytest.raises(InputError, match="row 6 is outside"):
        table.architectures[6]


def test_what_write_table_refuses(tmp_path: Path) -> None:
    column = {TEST: np.array([90.0, 91.0])}
    with pytest.raises(InputError, match="nasbench101 needs `architectures`"):
        write_table(tmp_path / "t.h5", "nasbench101", column)
    with pytest.raises(InputError, match="two rows have the same architecture"):
        write_table(tmp_path / "t.h5", "nasbench101", column, architectures=[CELLS[0], CELLS[0]])
    with pytest.raises(InputError, match="1 keys for 2 architectures"):
        write_table(tmp_path / "t.h5", "nasbench101", column, architectures=CELLS[:2], keys=["0" * 32])
    with pytest.raises(InputError, match=r"shape \(2,\), but \(3\)"):
        write_table(tmp_path / "t.h5", "nasbench101", column, architectures=CELLS[:3])
    with pytest.raises(InputError, match="leave `architectures` out"):
        write_table(tmp_path / "t.h5", "nasbench201", column, architectures=[0, 1])
    with pytest.raises(InputError, match="no classes"):
        write_table(tmp_path / "t.h5", "nasbench101", column, architectures=CELLS[:2], per_class=True)
    assert list(tmp_path.iterdir()) == []


def test_the_same_array_is_stored_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 100, (2, 15625))
    names = [Metric("a", "test", 1), Metric("b", "test", 1)]
    shared = write_table(tmp_path / "a.h5", "nasbench201", dict.fromkeys(names, first))
    apart = write_table(tmp_path / "b.h5", "nasbench201", dict(zip(names, (first, second), strict=True)))
    assert shared.stat().st_size < 0.6 * apart.stat().st_size
    np.testing.assert_array_equal(open_table(shared).column("b_test_1ep"), first)


def test_other_quantities_have_units_and_no_limits(tmp_path: Path) -> None:
    loss, seconds = (Metric("cifar10", s, 108, quantity=q) for s, q in (("test", "loss"), ("train", "seconds")))
    columns = {TEST: np.array([90.0]), loss: np.array([1234.5]), seconds: np.array([1e4])}
    table = open_table(write_table(tmp_path / "t.h5", "nasbench101", columns, architectures=CELLS[:1],
                                   units={"loss": "nats", "seconds": "seconds"}))  # fmt: skip
    assert table.query(CELLS[0], dataset="cifar10", split="test", epochs=108, quantity="loss") == 1234.5
    assert table.query(CELLS[0], quantity="seconds", epochs=108, split="train", dataset="cifar10") == 1e4
    assert table.query(CELLS[0], "cifar10_test_108ep_loss") == 1234.5
    assert table.index.units == {"accuracy": "per cent", "loss": "nats", "seconds": "seconds"}
    with pytest.raises(InputError, match=r"has no quantity 'seconds' for .*it has accuracy, loss"):
        table.query(CELLS[0], "cifar10_test_108ep_seconds")


def test_correlation_leaves_out_what_the_table_does_not_list(path: Path) -> None:
    texts = [*CELLS, "11.1:conv1x1"]
    scores = pd.DataFrame({"mine": [*VALUES, 1e9]}, index=texts)
    found = correlate(scores, open_table(path), resamples=50)
    row = found[(found["proxy"] == "mine") & (found["stratum"] == "all")].iloc[0]
    assert row["n"] == 6
    assert row["spearman"] == pytest.approx(1)
    assert any("1 scored architectures are not in table" in note for note in found.attrs["warnings"])


def test_scores_are_found_under_another_numbering_of_the_vertices(tmp_path: Path) -> None:
    names = ("conv3x3", "conv1x1", "maxpool3x3")
    chains = [f"100.10.1:{first},{second}" for first in names for second in names]  # they have one numbering each
    listed, scored = ([*chains, f"110.01.1:{branches}"] for branches in ("conv3x3,maxpool3x3", "maxpool3x3,conv3x3"))
    path = write_table(tmp_path / "t.h5", "nasbench101", {TEST: np.arange(50.0, 60.0)}, architectures=listed)
    scores = pd.DataFrame({"snip": np.arange(10.0)}, index=scored)
    found = correlate(scores, open_table(path), resamples=5)
    assert found.query("stratum == 'all' and proxy == 'snip'")[["n", "spearman"]].to_numpy().tolist() == [[10, 1]]
    twice = pd.concat([scores, pd.DataFrame({"snip": [1.0]}, index=listed[-1:])])
    with pytest.raises(InputError, match="has 2 rows; average"):
        correlate(twice, open_table(path))


def test_csv_of_a_listed_space(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    lines = "".join(f'"{c}",{v}\n' for c, v in zip(CELLS, VALUES, strict=True))
    source.write_text("arch,cifar10_test_108ep\n" + lines)
    table = open_table(import_csv(source, tmp_path / "t.h5", "nasbench101"))
    assert table.query(CELLS[5], TEST) == 93
    source.write_text("arch,cifar10_test_108ep\n" + lines + f'"{CELLS[1]}",3\n')
    with pytest.raises(InputError, match=r"line 8: .* was in line 3 already"):
        import_csv(source, tmp_path / "t.h5", "nasbench101")


def test_numbering_rows() -> None:
    rows = RowNumbers(S)
    assert [rows.row(S.parse(c)) for c in (CELLS[0], CELLS[1], CELLS[0])] == [0, 1, 0]
    assert (len(rows), rows.architectures) == (2, [S.parse(c) for c in CELLS[:2]])
    assert rows.keys == [S.canonical(S.parse(c)) for c in CELLS[:2]]
    own = RowNumbers(space("nasbench201"))
    assert (own.row(space("nasbench201")[7]), len(own), own.architectures, own.keys) == (7, 15625, None, None)


def test_keys() -> None:
    assert row_key("00000000000000ff" + "0" * 16) == 255
    assert row_key("any text") != row_key("another text")
    assert 0 <= row_key("any text") < 2**64


def test_a_damaged_list_is_an_error(path: Path) -> None:
    rows = open_table(path).architectures
    assert isinstance(rows, ListedRows)
    import h5py

    with h5py.File(path, "r+") as file:
        del file["architectures/texts"]
    with pytest.raises(FileFormatError, match="architectures/texts cannot be read"):
        open_table(path).architectures[0]
