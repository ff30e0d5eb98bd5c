"""Latency and energy from a CSV file, joined to a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prejudge.benchmarks import Metric, benchmark, open_table, write_table
from prejudge.benchmarks.importers.hardware import join_hardware
from prejudge.errors import InputError, MissingDataError
from prejudge.spaces import space

A = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
B = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
TEST = Metric("cifar10", "test", 200)
GOOD = f"arch,edgegpu_latency,edgegpu_energy,joules_per_image,color\n{B},5.5,24.1,0.2,red\n{A},4.25,,0.1,\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    values = np.linspace(10, 90, 15625)
    return write_table(
        tmp_path / "t.h5", "nasbench201", {TEST: values}, extra={"params": values}, units={"params": "n"}
    )


def _csv(folder: Path, text: str) -> Path:
    path = folder / "hw.csv"
    path.write_text(text)
    return path


def test_columns_become_extras_and_nothing_else_changes(tmp_path: Path, table: Path) -> None:
    before = open_table(table)
    out = join_hardware(before, _csv(tmp_path, GOOD), tmp_path / "u.h5", units={"joules_per_image": "joules"})
    after = open_table(out)
    row = space("nasbench201").index(space("nasbench201").parse(B))
    assert after.extra("edgegpu_latency")[row] == 5.5
    assert after.extra("edgegpu_latency")[0] == 4.25
    assert after.extra("edgegpu_energy")[row] == 24.1
    assert np.isnan(after.extra("edgegpu_energy")[0])
    assert np.isfinite(after.extra("edgegpu_latency")).sum() == 2
    units = after.index.units
    assert (units["edgegpu_latency"], units["edgegpu_energy"], units["joules_per_image"], units["params"]) == (
        "milliseconds", "millijoules", "joules", "n",
    )  # fmt: skip
    assert "hw.csv" in str(after.index.provenance)
    np.testing.assert_array_equal(after.column(TEST), before.column(TEST))
    np.testing.assert_array_equal(after.extra("params"), before.extra("params"))
    assert after.index.digest != before.index.digest
    assert before.extras == ("params",)  # the original was left alone


def test_rows_may_be_named_by_naslibs_tuples(tmp_path: Path, table: Path) -> None:
    source = _csv(tmp_path, 'net,edgegpu_latency\n"(4, 3, 3, 0, 0, 0)",4.25\n')
    with pytest.raises(InputError, match="--column NAME"):
        join_hardware(open_table(table), source)
    with pytest.raises(InputError, match="say which"):
        join_hardware(open_table(table), source, column="net")
    joined = open_table(join_hardware(open_table(table), source, column="net", notation="naslib"))
    assert np.flatnonzero(joined.extra("edgegpu_latency") == 4.25).tolist() == [0]


def test_a_table_is_extended_in_place_once(tmp_path: Path, table: Path) -> None:
    source = _csv(tmp_path, GOOD)
    assert join_hardware(open_table(table), source) == table
    assert "edgegpu_energy" in open_table(table).extras
    with pytest.raises(InputError, match="has an extra 'edgegpu_latency' already"):
        join_hardware(open_table(table), source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edgegpu_latency\n1\n", "no column arch_str"),
        (f"arch,color\n{A},red\n", "no column to join: none is named after latency, energy"),
        (f"arch,x_latency\n{A},fast\n", "line 2: x_latency is 'fast', which is not a number"),
        (f"arch,x_latency\n{A},1\n{A},2\n", "line 3: .* was in line 2 already"),
        ("arch,x_latency\n|none~0|,1\n", "line 2: nasbench201"),
        ("arch,x_latency\n", "no rows"),
    ],
)
def test_bad_files_change_nothing(tmp_path: Path, table: Path, text: str, message: str) -> None:
    before = table.read_bytes()
    with pytest.raises(InputError, match=message):
        join_hardware(open_table(table), _csv(tmp_path, text))
    assert table.read_bytes() == before


def test_a_table_that_comes_along_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="comes with prejudge"):
        join_hardware(benchmark("digits"), _csv(tmp_path, GOOD))
    joined = open_table(join_hardware(benchmark("digits"), _csv(tmp_path, GOOD), tmp_path / "mine.h5"))
    assert joined.extra("edgegpu_latency")[0] == 4.25
    assert joined.per_class


def test_a_unit_of_no_column_and_no_file(tmp_path: Path, table: Path) -> None:
    with pytest.raises(InputError, match=r"unknown column .*did you mean 'edgegpu_energy'"):
        join_hardware(open_table(table), _csv(tmp_path, GOOD), units={"edgegpu_energi": "J"})
    with pytest.raises(MissingDataError, match="no CSV file"):
        join_hardware(open_table(table), tmp_path / "none.csv")
