from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from prejudge.cache import ScoreCache, verify
from prejudge.errors import MissingDataError


def test_a_sound_cache(filled: Path) -> None:
    assert verify(filled) == []
    assert verify(str(filled)) == []


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no score file"):
        verify(tmp_path / "none.h5")


def column(file: h5py.File, name: str) -> h5py.Group:
    (protocol,) = file["protocols"].values()
    return protocol["columns"][name]


def test_changed_values_do_not_fit_their_digest(filled: Path) -> None:
    with h5py.File(filled, "r+") as file:
        column(file, "params")["value"][5, 0] = 77.0
    (problem,) = verify(filled)
    assert "digest of column params does not fit" in problem


def test_contradictions_are_found(filled: Path) -> None:
    with h5py.File(filled, "r+") as file:
        column(file, "params")["status"][5, 0] = 0
        column(file, "params")["run"][6, 0] = 12
    problems = verify(filled)
    assert any("1 values contradict their status" in p for p in problems)
    assert any("unknown run" in p for p in problems)


def test_an_unreadable_file_is_one_problem(filled: Path) -> None:
    filled.write_bytes(filled.read_bytes()[:3000])
    (problem,) = verify(filled)
    assert "damaged" in problem and "\n" not in problem


def test_verifying_while_a_writer_writes(filled: Path) -> None:
    with ScoreCache(filled) as cache:
        cache.put(cache.protocol(), "new", {"snip": 1.0})
        assert verify(filled) == []
