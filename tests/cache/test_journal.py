from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prejudge.cache import Protocol, ScoreCache, verify
from prejudge.engine.journal import read_journal
from prejudge.errors import FileFormatError, PrejudgeError
from prejudge.formats.atomic import beside, write_atomically


@pytest.fixture
def journal(path: Path, protocol: Protocol) -> Path:
    """The journal of a writer that was killed after 20 scores."""
    pid = os.fork()
    if pid == 0:
        cache = ScoreCache(path)
        for i in range(20):
            cache.put(protocol, f"arch {i}", {"snip": float(i)})
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    return beside(path, ".journal")


def test_a_killed_writer_loses_nothing(path: Path, journal: Path) -> None:
    np.testing.assert_array_equal(ScoreCache(path, "r").frame()["snip"], np.arange(20.0))
    assert verify(path) == []
    with ScoreCache(path):
        pass
    assert not journal.exists()
    np.testing.assert_array_equal(ScoreCache(path, "r").frame()["snip"], np.arange(20.0))


@pytest.mark.parametrize("cut", [1, 2, 30, 60])
def test_an_incomplete_last_line_is_dropped(path: Path, journal: Path, protocol: Protocol, cut: int) -> None:
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert verify(path) == []
    with ScoreCache(path) as cache:  # the remains of the line must not spoil the next one
        assert len(cache.frame()) == 19
        cache.put(protocol, "new", {"snip": 99.0})
        assert list(ScoreCache(path, "r").frame()["snip"]) == [*range(19), 99.0]
    assert verify(path) == []


def test_zeros_at_the_end_as_after_a_power_failure(path: Path, journal: Path) -> None:
    journal.write_bytes(journal.read_bytes() + bytes(4096))
    assert len(ScoreCache(path, "r").frame()) == 20
    with ScoreCache(path) as cache:
        assert len(cache.frame()) == 20


def test_damage_in_the_middle_is_reported_and_costs_only_its_line(path: Path, journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    number = next(i for i, line in enumerate(lines) if b'"arch 7"' in line)
    lines[number] = lines[number].replace(b"7.0", b"8.0")
    journal.write_bytes(b"".join(lines))
    assert verify(path) == [f"{path}.journal: line {number + 1} is damaged, its scores are lost"]
    with pytest.warns(UserWarning, match=rf"journal is damaged: 1 of its \d+ records .*line {number + 1} first"):
        frame = ScoreCache(path, "r").frame()
    assert len(frame) == 19 and "arch 7" not in frame.index
    with pytest.warns(UserWarning, match="is damaged"), ScoreCache(path) as cache:
        assert len(cache.frame()) == 19
    assert verify(path) == [] and beside(path, ".journal.damaged").exists()
    assert len(ScoreCache(path, "r").frame()) == 19


def test_damage_to_a_declaration_costs_what_hangs_on_it(path: Path, journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    number = next(i for i, line in enumerate(lines) if b'"column"' in line)
    lines[number] = b"00000000 {}\n"
    journal.write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match="21 of its"):
        cache = ScoreCache(path, "r")
    assert cache.columns() == [] and len(verify(path)) == 1


def test_a_damaged_first_line(path: Path, journal: Path) -> None:
    content = journal.read_bytes()
    journal.write_bytes(b"x" + content[1:])
    with pytest.warns(UserWarning, match="line 1 first"):
        assert len(ScoreCache(path, "r").frame()) == 20


def test_random_damage_never_gives_a_traceback_or_a_wrong_score(path: Path, journal: Path) -> None:
    whole = journal.read_bytes()
    rng = np.random.default_rng(1)
    for position in rng.choice(len(whole), 100, replace=False).tolist():
        broken = bytearray(whole)
        broken[position] = int(rng.integers(256))
        journal.write_bytes(bytes(broken))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cache = ScoreCache(path, "r")
        if cache.protocols():
            for text, values in cache.frame().iterrows():
                assert all(v == float(str(text).split()[1]) for v in values)


def test_a_journal_cut_at_any_byte_gives_a_prefix(path: Path, journal: Path) -> None:
    whole = journal.read_bytes()
    for length in range(0, len(whole), 37):
        journal.write_bytes(whole[:length])
        cache = ScoreCache(path, "r")
        rows = len(cache.frame()) if cache.protocols() else 0
        whole_lines = whole[: whole[:length].rfind(b"\n") + 1].splitlines()
        assert rows == sum(b'"arch ' in line for line in whole_lines)


def test_a_newer_journal_is_refused(path: Path, journal: Path) -> None:
    journal.write_bytes(checked({"journal": "scores", "version": 2, "plan": {"follows": ""}}))
    with pytest.raises(FileFormatError, match="journal version 2; this prejudge reads 1"):
        ScoreCache(path)


def test_values_survive_exactly(path: Path, protocol: Protocol) -> None:
    values = np.random.default_rng(0).normal(size=300) * 10.0 ** np.arange(-150, 150)
    cache = ScoreCache(path)
    for i, value in enumerate(values):
        cache.put(protocol, f"arch {i}", {"x": float(value)})
    np.testing.assert_array_equal(ScoreCache(path, "r").frame()["x"], values)
    cache.close()
    np.testing.assert_array_equal(ScoreCache(path, "r").frame()["x"], values)


def test_a_full_disk_loses_nothing(path: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes every write beyond it fail, in the middle of a line, as a full disk does."""
    program = f"""
import resource, signal, sys
from prejudge.cache import Protocol, ScoreCache
from prejudge.engine.journal import read_journal
from prejudge.errors import PrejudgeError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
protocol = Protocol("nasbench201")
cache = ScoreCache({str(path)!r})
cache.put(protocol, "first", {{"x": 0.5}})
cache.compact()
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
done = 0
try:
    for i in range(10000):
        cache.put(protocol, f"arch {{i}}", {{"x": float(i)}})
        done += 1
except PrejudgeError as error:
    print(error)
try:
    cache.put(protocol, "again", {{"x": 1.0}})
except PrejudgeError as error:
    print(error)
print(done, len(cache.frame()))
try:
    cache.close()
except PrejudgeError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    *errors, closing = [line for line in result.stdout.splitlines() if line.startswith("cannot")]
    assert len(errors) == 2 and all(str(beside(path, ".journal")) in e and "the disk is full" in e for e in errors)
    assert f"cannot write {path}: the disk is full" in closing
    done, rows = map(int, result.stdout.splitlines()[2].split())
    assert rows == done + 1 > 10 and result.returncode == 0, result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.h5", "scores.h5.journal", "scores.h5.lock"]
    assert verify(path) == []
    with ScoreCache(path) as cache:  # space is free again
        assert len(cache.frame()) == rows
        assert cache.missing(cache.protocol(), [f"arch {done}"], ["x"])
    assert len(ScoreCache(path, "r").frame()) == rows and resource.getrlimit(resource.RLIMIT_FSIZE)[0] == -1


@pytest.mark.parametrize("fails", [(Path, "write_bytes"), (os, "fsync"), (Path, "replace")])
def test_a_failed_replacement_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[object, str], tmp_path: Path
) -> None:
    write_atomically(path, b"old")

    def no_space(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*fails, no_space)
    with pytest.raises(PrejudgeError, match="the disk is full"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_reading_says_where_the_sound_part_ends(journal: Path) -> None:
    content = journal.read_bytes()
    found = read_journal(journal)
    assert found is not None and found.end == found.size == len(content) and not found.damaged
    journal.write_bytes(content + b"torn")
    found = read_journal(journal)
    assert found is not None and found.end == len(content) < found.size
    assert read_journal(journal.with_name("none")) is None


def checked(record: Any) -> bytes:
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


SCORES = {"kind": "scores", "architecture": "new", "repeat": 0, "run": -1, "scores": {"snip": [1.0, 0.5]}}


@pytest.mark.parametrize(
    "record",
    [
        [], 3, None, "x", b"[" * 100_000, {}, {"kind": "column", "name": 3, "info": {}}, {"kind": "column", "name": ""},
        {"kind": "run", "index": 0, "run": 3}, {"kind": "protocol", "json": "["}, {"kind": "protocol", "json": 3},
        {**SCORES, "repeat": -1}, {**SCORES, "repeat": 0.5}, {**SCORES, "run": 2**40}, {**SCORES, "architecture": 3},
        {**SCORES, "architecture": "\ud800"}, {**SCORES, "architecture": "a\0"}, {**SCORES, "scores": {"snip": []}},
        {**SCORES, "scores": {"snip": ["x", 1]}}, {**SCORES, "scores": {"snip": [1, "x"]}},
        {**SCORES, "scores": {"snip": [2**5000, 1]}}, {**SCORES, "scores": {"snip": [None, 1, 3]}},
        {**SCORES, "scores": {"snip": [1e999, 1]}}, {**SCORES, "scores": {"x": [1, 1]}}, {**SCORES, "scores": 3},
    ],
)  # fmt: skip
def test_a_record_that_none_wrote_changes_nothing(path: Path, journal: Path, protocol: Protocol, record: Any) -> None:
    before = ScoreCache(path, "r").frame()
    if isinstance(record, dict) and record.get("kind") in ("scores", "column"):
        record = {**record, "protocol": protocol.digest}
    journal.write_bytes(journal.read_bytes() + checked(record))
    with pytest.warns(UserWarning, match="cannot be read"), ScoreCache(path) as cache:
        pd.testing.assert_frame_equal(cache.frame(), before)
    pd.testing.assert_frame_equal(ScoreCache(path, "r").frame(), before)


def test_a_journal_cannot_claim_more_memory_than_it_has_scores(path: Path, journal: Path, protocol: Protocol) -> None:
    journal.write_bytes(journal.read_bytes() + checked({**SCORES, "protocol": protocol.digest, "repeat": 10**8}))
    with pytest.raises(FileFormatError, match="claims more repeats than it has scores"):
        ScoreCache(path, "r")


def test_a_journal_that_follows_nothing_is_refused(path: Path, journal: Path) -> None:
    for kind, plan in (("scores", {}), ("scores", {"follows": 3}), ("search", {"follows": ""})):
        journal.write_bytes(checked({"journal": kind, "version": 1, "plan": plan}))
        with pytest.raises(FileFormatError, match="does not say what it follows"):
            ScoreCache(path)
