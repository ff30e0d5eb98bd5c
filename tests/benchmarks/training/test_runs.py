from __future__ import annotations

import errno
import json
import os
import zlib
from pathlib import Path

import pytest

from prejudge.benchmarks.training.runs import FinishedTrainings
from prejudge.errors import BusyError, FileFormatError, InputError, MissingDataError, PrejudgeError

PLAN = {"space": "s", "recipe": {"epochs": 2, "macro": {"cells": 1}}, "normalization": [(0.5,), (0.25,)]}


def write(table: Path, *seeds: int) -> None:
    with FinishedTrainings(table, PLAN) as log:
        log.begin("torch 2 on cpu")
        for seed in seeds:
            log.put("a", seed, {"test": 10.0 + seed / 3})


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", 0, 1)
    write(tmp_path / "t.h5", 2)
    with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
        assert log.results == {("a", s): {"test": 10.0 + s / 3} for s in range(3)}  # floats to the last bit
        assert log.environments == ["torch 2 on cpu"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_cut_end_costs_the_last_line_only(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "t.h5", 0, 1)
    path = tmp_path / "t.h5.runs"
    path.write_bytes(path.read_bytes()[:-cut])
    with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
        assert list(log.results) == [("a", 0)]
    write(tmp_path / "t.h5", 1)
    with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
        assert list(log.results) == [("a", 0), ("a", 1)]


def test_every_cut_can_be_continued(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", 0, 1)
    content = (tmp_path / "t.h5.runs").read_bytes()
    for end in range(0, len(content), 5):
        (tmp_path / "t.h5.runs").write_bytes(content[:end])
        write(tmp_path / "t.h5", 0, 1)
        with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
            assert set(log.results) == {("a", 0), ("a", 1)}


def test_a_damaged_line_costs_its_training_only(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", 0, 1, 2)
    path = tmp_path / "t.h5.runs"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = next(i for i, line in enumerate(lines) if b'"seed":1' in line)
    lines[damaged] = lines[damaged].replace(b"10.", b"90.")
    path.write_bytes(b"".join(lines))
    with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
        assert list(log.results) == [("a", 0), ("a", 2)]
        log.put("a", 1, {"test": 10.0 + 1 / 3})
    with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
        assert set(log.results) == {("a", 0), ("a", 1), ("a", 2)}


def test_another_plan_is_refused_by_what_differs(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", 0)
    other = json.loads(json.dumps(PLAN))
    other["recipe"]["macro"]["cells"] = 5
    with pytest.raises(InputError, match=r"recipe\.macro\.cells is 1 there and 5 here; write to another"):
        FinishedTrainings(tmp_path / "t.h5", other).__enter__()
    write(tmp_path / "t.h5", 1)  # the lock was given back


def test_what_was_not_really_begun_may_begin_otherwise(tmp_path: Path) -> None:
    write(tmp_path / "t.h5")
    with FinishedTrainings(tmp_path / "t.h5", {**PLAN, "space": "other"}) as log:
        log.put("a", 0, {"test": 1.0})
    with pytest.raises(InputError, match='space is "other" there and "s" here'):
        write(tmp_path / "t.h5", 0)


def test_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "t.h5.runs").write_text("a shopping list\nmilk\n")
    with pytest.raises(FileFormatError, match=r"t\.h5\.runs does not begin as a journal"):
        FinishedTrainings(tmp_path / "t.h5", PLAN).__enter__()
    assert (tmp_path / "t.h5.runs").read_text() == "a shopping list\nmilk\n"
    (tmp_path / "t.h5.runs").write_text("one line without an end")
    with pytest.raises(FileFormatError):
        FinishedTrainings(tmp_path / "t.h5", PLAN).__enter__()


def test_one_writer(tmp_path: Path) -> None:
    with FinishedTrainings(tmp_path / "t.h5", PLAN), pytest.raises(BusyError):
        FinishedTrainings(tmp_path / "t.h5", PLAN).__enter__()
    with pytest.raises(MissingDataError, match="no folder"):
        FinishedTrainings(tmp_path / "none" / "t.h5", PLAN).__enter__()


def test_a_full_disk_is_said_and_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path / "t.h5", 0)
    with monkeypatch.context() as patch, pytest.raises(PrejudgeError, match="disk is full"):
        patch.setattr(os, "write", full)
        write(tmp_path / "t.h5", 1)
    write(tmp_path / "t.h5", 2)
    with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
        assert list(log.results) == [("a", 0), ("a", 2)]


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "run"}, {"kind": "run", "architecture": {}, "seed": 0, "result": {}}, {}, {"kind": []},
        {"kind": "run", "architecture": "a", "seed": "0", "result": {}}, {"kind": "environment"}, {"kind": "plan"},
        {"kind": "run", "architecture": "a", "seed": 9, "result": 3}, [], None, 3,
    ],
)  # fmt: skip
def test_a_record_that_none_wrote_costs_nothing_else(tmp_path: Path, record: object) -> None:
    write(tmp_path / "t.h5", 0, 1)
    text = json.dumps(record).encode()
    file = tmp_path / "t.h5.runs"
    file.write_bytes(file.read_bytes() + b"%08x %b\n" % (zlib.crc32(text), text))
    with FinishedTrainings(tmp_path / "t.h5", PLAN) as log:
        assert sorted(log.results) == [("a", 0), ("a", 1)]
