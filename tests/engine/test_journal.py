"""The journal that every long run keeps: killed writers, damage, other plans, two writers."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from prejudge.engine.journal import Journal, JournalWriter, read_journal
from prejudge.errors import BusyError, FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.formats.lock import writer_lock

PLAN = {"method": "random", "budget": {"queries": 10}, "seeds": (0, 1)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def opened(path: Path, plan: dict[str, Any] | None = None, **options: Any) -> Journal:
    return Journal(path, PLAN if plan is None else plan, "search", **{"wait": 0.0, **options})


def write(path: Path, *numbers: float) -> None:
    with opened(path) as journal:
        for number in numbers:
            journal.append({"number": number})


def numbers(path: Path, **options: Any) -> list[float]:
    with opened(path, **options) as journal:
        return [record["number"] for record in journal.records]


def line_of(record: object) -> bytes:
    text = json.dumps(record).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def test_what_was_appended_comes_back_to_the_last_bit(path: Path) -> None:
    write(path, 1 / 3, 1e-300)
    write(path, 2.5)
    assert numbers(path) == [1 / 3, 1e-300, 2.5]
    found = read_journal(path)
    assert found is not None and (found.kind, found.damaged, found.end) == ("search", [], path.stat().st_size)
    assert found.plan == {"method": "random", "budget": {"queries": 10}, "seeds": [0, 1]}
    assert read_journal(path.with_name("none")) is None


def test_a_killed_writer_loses_nothing_that_was_appended(path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with opened(path) as journal:
            for number in range(20):
                journal.append({"number": number})
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert numbers(path) == list(range(20))


def test_a_file_cut_at_any_byte_is_continued(path: Path) -> None:
    write(path, 0, 1, 2)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        known = numbers(path)
        assert known == [0, 1, 2][: len(known)] and len(known) == max(0, whole[:end].count(b"\n") - 1)
        write(path, 7)
        assert numbers(path) == [*known, 7]


def test_zeros_at_the_end_as_after_a_power_failure(path: Path) -> None:
    write(path, 0, 1)
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert numbers(path) == [0, 1]
    path.write_bytes(bytes(4096))
    assert numbers(path) == []


@pytest.mark.parametrize("number", [2, 3])
def test_a_damaged_line_is_named(path: Path, number: int) -> None:
    write(path, 10, 11, 12)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b"1", b"9")
    path.write_bytes(b"".join(lines))
    with pytest.raises(FileFormatError, match=rf"run\.journal: line {number} is damaged; remove it, or choose"):
        numbers(path)
    with opened(path, keep_sound=True) as journal:
        assert (
            journal.damaged == [number] and [r["number"] for r in journal.records] == {2: [11, 12], 3: [10, 12]}[number]
        )
        journal.append({"number": 99})
    assert numbers(path, keep_sound=True)[-1] == 99


def test_without_a_plan_nothing_goes_on(path: Path) -> None:
    write(path, 0)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    for keep_sound in (False, True):
        with pytest.raises(FileFormatError, match="line 1 is damaged"):
            numbers(path, keep_sound=keep_sound)


def test_another_plan_is_refused_by_the_fields_that_differ(path: Path) -> None:
    write(path, 0)
    other = {"method": "random", "budget": {"queries": 11, "seconds": 2}, "seeds": [0, 1]}
    with pytest.raises(InputError, match=r"budget\.queries is 10 there and 11 here; budget\.seconds is not said there"):
        numbers(path, plan=other, remedy="choose another folder")
    with pytest.raises(InputError, match=r"run\.journal belongs to another run: .*; choose another folder$"):
        numbers(path, plan=other, remedy="choose another folder")
    assert numbers(path) == [0]  # the lock was given back, the file is untouched
    with pytest.raises(FileFormatError, match="journal of kind 'search'"):
        Journal(path, PLAN, "pruning").__enter__()
    with pytest.raises(InputError, match="plain JSON values"):
        opened(path, {"data": object()})


def test_what_was_not_really_begun_may_begin_otherwise(path: Path) -> None:
    write(path)
    other = {"method": "bananas"}
    with opened(path, other) as journal:
        journal.append({"number": 1})
    assert numbers(path, plan=other) == [1]
    with pytest.raises(InputError, match="method is"):
        write(path, 0)


@pytest.mark.parametrize(
    "content", [b"a shopping list\nmilk\n", b"one line without an end", line_of({"number": 1}), line_of([1]) * 3]
)
def test_other_files_are_refused_and_left_as_they_are(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"run\.journal does not begin"):
        numbers(path)
    assert path.read_bytes() == content


def test_a_newer_version_is_refused(path: Path) -> None:
    path.write_bytes(line_of({"journal": "search", "version": 2, "plan": {}}))
    with pytest.raises(FileFormatError, match="journal version 2; this prejudge reads 1"):
        numbers(path)


def test_one_process_at_a_time_writes(path: Path) -> None:
    with opened(path):
        pid = os.fork()
        if pid == 0:
            try:
                opened(path).__enter__()
            except BusyError:
                os._exit(3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    with pytest.raises(MissingDataError, match="no folder"):
        opened(path.parent / "none" / "run.journal").__enter__()


def _hold(path: Path, ready: Any) -> None:
    lock = writer_lock(path)
    ready.set()
    time.sleep(0.5)
    lock.release()


def test_the_workers_of_a_killed_process_get_a_moment(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready))
    holder.start()
    ready.wait(10)
    with pytest.raises(BusyError, match=f"process {holder.pid}"):
        numbers(path)
    assert numbers(path, wait=30.0) == []
    holder.join()


def test_another_file_may_be_what_is_locked(path: Path) -> None:
    table = path.with_name("table.h5")
    with opened(path, lock=table), pytest.raises(BusyError):
        writer_lock(table)
    assert not path.with_name("run.journal.lock").exists()


def test_a_full_disk_is_said_and_costs_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content[:5])

    write(path, 0)
    with opened(path) as journal:
        with monkeypatch.context() as patch, pytest.raises(PrejudgeError, match="disk is full"):
            patch.setattr(os, "write", full)
            journal.append({"number": 1})
        journal.append({"number": 2})
    assert numbers(path) == [0, 2]


def test_records_are_plain_values(path: Path) -> None:
    with opened(path) as journal:
        for value in (float("nan"), object()):
            with pytest.raises(InputError, match="not plain values"):
                journal.append({"number": value})
    with pytest.raises(InputError, match="not open"):
        journal.append({"number": 1})
    assert numbers(path) == []


def test_it_is_synced_to_the_disk_at_most_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    writer = JournalWriter(path, "search", {})
    made = len(calls)
    for number in range(100):
        writer.append({"number": number})
    assert len(calls) == made
    writer._synced -= 2.0
    writer.append({"number": 100})
    assert len(calls) == made + 1
    writer.close()
