from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from prejudge.cache import Protocol, ScoreCache
from prejudge.errors import InputError


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_comes_back_exactly(filled: Path, tmp_path: Path, suffix: str) -> None:
    cache = ScoreCache(filled, "r")
    written = cache.export(tmp_path / f"scores.{suffix}")
    read = pd.read_csv(written, float_precision="round_trip") if suffix == "csv" else pd.read_parquet(written)
    read = read.set_index("architecture")
    pd.testing.assert_frame_equal(
        read, cache.frame(), check_exact=True, check_index_type=False, check_dtype=suffix == "csv"
    )


def test_long_form_keeps_failures(filled: Path, tmp_path: Path, protocol: Protocol) -> None:
    read = pd.read_csv(ScoreCache(filled, "r").export(tmp_path / "long.csv", long=True))
    assert len(read) == 60 and list(read.proxy.unique()) == ["snip", "params"]
    assert (read[read.status == "failed"].reason == "no path").all() and (read.status == "failed").sum() == 3


def test_repeats_and_format_by_name(filled: Path, tmp_path: Path) -> None:
    cache = ScoreCache(filled, "r")
    written = cache.export(tmp_path / "counts.txt", None, "count", format="csv")
    assert pd.read_csv(written)["snip"].sum() == 27


def test_bad_requests(filled: Path, tmp_path: Path, other_protocol: Protocol) -> None:
    with ScoreCache(filled) as cache:
        with pytest.raises(InputError, match=r"unknown export format 'xlsx' \(known: csv, parquet\)"):
            cache.export(tmp_path / "scores.xlsx")
        cache.put(other_protocol, "a", {"snip": 1.0})
        with pytest.raises(InputError, match="never pooled"):
            cache.export(tmp_path / "scores.csv")
        cache.export(tmp_path / "scores.csv", other_protocol)
    assert (tmp_path / "scores.csv").read_text() == "architecture,snip\na,1.0\n"


def test_texts_that_a_spreadsheet_would_compute(path: Path, tmp_path: Path, protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "=cmd|' /C calc'!A0", {"@SUM(1)": 1.0, "+1+1": -2.5})
        written = cache.export(tmp_path / "scores.csv").read_text()
        long = cache.export(tmp_path / "long.csv", long=True).read_text()
    assert written == "architecture,'@SUM(1),'+1+1\n'=cmd|' /C calc'!A0,1.0,-2.5\n"
    assert all(cell[:1] not in ("=", "+", "@") for line in long.splitlines() for cell in line.split(","))
