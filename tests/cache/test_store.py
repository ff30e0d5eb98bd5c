from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from prejudge.cache import Protocol, ScoreCache, store, verify
from prejudge.errors import BusyError, FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.formats.atomic import beside, write_atomically
from prejudge.proxies.score import Score


def test_scores_come_back_as_they_were(filled: Path, protocol: Protocol) -> None:
    cache = ScoreCache(filled, "r")
    assert cache.protocols() == [protocol]
    assert cache.columns() == ["snip", "params"]
    frame = cache.frame()
    assert list(frame.index) == [f"arch {i}" for i in range(30)] and frame.index.name == "architecture"
    expected = [math.nan if i % 10 == 3 else i / 7 for i in range(30)]
    np.testing.assert_array_equal(frame["snip"], expected)
    np.testing.assert_array_equal(frame["params"], np.arange(30.0))
    failures = cache.failures()
    assert failures.to_dict("records") == [
        {"architecture": f"arch {i}", "proxy": "snip", "repeat": 0, "reason": "no path"} for i in (3, 13, 23)
    ]
    costs = cache.seconds()
    assert costs["snip"] == 0.25 and math.isnan(costs["params"])
    assert cache.runs()[0]["torch"] == "2" and "prejudge" in cache.runs()[0] and "date" in cache.runs()[0]


def test_the_journal_is_read_like_the_file(path: Path, protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {"snip": Score(1.5, seconds=2.0), "zen": Score.failed("because")})
        reader = ScoreCache(path, "r")
        before = reader.frame(), reader.failures(), reader.seconds()
        assert beside(path, ".journal").exists()
    assert not beside(path, ".journal").exists() and not beside(path, ".part").exists()
    reader = ScoreCache(path, "r")
    pd.testing.assert_frame_equal(before[0], reader.frame())
    pd.testing.assert_frame_equal(before[1], reader.failures())
    assert before[2]["snip"] == reader.seconds()["snip"] == 2.0


def test_long_form(filled: Path, protocol: Protocol) -> None:
    rows = ScoreCache(filled, "r").scores(protocol, "snip")
    assert len(rows) == 30 and list(rows.status.value_counts()[["ok", "failed"]]) == [27, 3]
    assert rows.loc[3, "reason"] == "no path" and rows.loc[3, "seconds"] == 0.5 and math.isnan(rows.loc[3, "value"])
    assert set(rows.run) == {0}


def test_repeats_are_an_axis(path: Path, protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        for repeat, value in enumerate([1.0, 2.0, 6.0]):
            cache.put(protocol, "a", {"snip": value}, repeat=repeat)
        cache.put(protocol, "b", {"snip": 5.0}, repeat=0)
        cache.put(protocol, "b", {"snip": Score.failed("NaN")}, repeat=1)
        cache.put(protocol, "c", {"snip": Score.failed("NaN")}, repeat=2)
        cache.put(protocol, "c", {"once": 1.0}, repeat=0)
    cache = ScoreCache(path, "r")
    np.testing.assert_array_equal(
        cache.frame()["snip"], [3.0, 5.0, math.nan]
    )  # failed repeats are left out of the mean
    np.testing.assert_allclose(cache.frame(repeat="std")["snip"], [np.std([1, 2, 6], ddof=1), math.nan, math.nan])
    np.testing.assert_array_equal(cache.frame(repeat="count")["snip"], [3, 1, 0])
    np.testing.assert_array_equal(cache.frame(repeat=2)["snip"], [6.0, math.nan, math.nan])
    assert cache.frame(repeat=2)["once"].isna().all()
    np.testing.assert_array_equal(cache.values(None, "snip"), [[1, 2, 6], [5, math.nan, math.nan], [math.nan] * 3])
    for repeat in (3, -1, "median"):
        with pytest.raises(InputError, match="repeats 0 to 2"):
            cache.frame(repeat=repeat)  # type: ignore[arg-type]


def test_protocols_are_never_pooled(path: Path, protocol: Protocol, other_protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {"snip": 1.0})
        cache.put(other_protocol, "a", {"snip": 2.0})
        with pytest.raises(InputError, match="2 protocols") as error:
            cache.frame()
        for p, channels in ((protocol, 16), (other_protocol, 8)):
            assert f"{p.digest[:8]} (macro.channels={channels})" in str(error.value)
        assert cache.frame(protocol)["snip"].item() == 1.0
        assert cache.frame(other_protocol.digest[:6])["snip"].item() == 2.0
        assert cache.protocol(other_protocol.digest) == other_protocol
        for method in (cache.columns, cache.failures, cache.seconds, cache.architectures):
            with pytest.raises(InputError, match="never pooled"):
                method()
        with pytest.raises(InputError, match="unknown protocol"):
            cache.frame("ffff")
    reader = ScoreCache(path, "r")
    assert reader.protocols() == [protocol, other_protocol]
    assert reader.frame(protocol)["snip"].item() == 1.0


def test_an_empty_cache_says_so(path: Path) -> None:
    with ScoreCache(path) as cache:
        assert cache.protocols() == []
        with pytest.raises(InputError, match="holds no scores yet"):
            cache.frame()
    assert not path.exists()  # nothing was added, nothing is left behind


def test_a_column_that_is_not_there(filled: Path) -> None:
    cache = ScoreCache(filled, "r")
    with pytest.raises(InputError, match="did you mean 'snip'"):
        cache.frame(columns=["snp"])
    with pytest.raises(InputError, match="unknown column"):
        cache.column_info("snp")


def test_column_info_is_kept_and_complete(filled: Path, protocol: Protocol) -> None:
    cache = ScoreCache(filled, "r")
    info = cache.column_info("snip", protocol)
    assert info["invariant_to_dead_edges"] is True and info["version"] == 1
    assert cache.column_info("params")["higher_is_better"] is True and not cache.column_info("params")["needs_labels"]


def test_putting_again_replaces(path: Path, protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {"snip": Score.failed("out of memory")})
        cache.put(protocol, "a", {"snip": 1.0})
        assert cache.failures().empty and cache.frame()["snip"].item() == 1.0
    cache = ScoreCache(path, "r")
    assert cache.failures().empty and len(cache.frame()) == 1


def test_a_value_that_is_not_finite_is_a_failure(path: Path, protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {"x": math.nan, "y": math.inf, "z": np.float32(2.0)})
        assert list(cache.failures().reason) == ["the value is nan", "the value is inf"]
        assert cache.frame()["z"].item() == 2.0


def test_missing(path: Path, protocol: Protocol, other_protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        assert cache.missing(protocol, ["a"], ["snip"]) == [("a", 0, ("snip",))]
        assert cache.missing(protocol, [], ["snip"]) == []
        cache.put(protocol, "a", {"snip": 1.0, "zen": Score.failed("x")})
        cache.put(protocol, "b", {"snip": 1.0}, repeat=1)
        assert cache.missing(protocol, ["a", "b", "c", "a"], ["snip", "zen"], 2) == [
            ("b", 0, ("snip", "zen")),
            ("c", 0, ("snip", "zen")),
            ("a", 1, ("snip", "zen")),
            ("b", 1, ("zen",)),
            ("c", 1, ("snip", "zen")),
        ]
        assert cache.missing(protocol, ["a"], ["snip", "zen"], retry_failed=True) == [("a", 0, ("zen",))]
        assert cache.missing(other_protocol, ["a"], ["snip"]) == [("a", 0, ("snip",))]


def test_a_new_proxy_version_drops_the_old_scores_and_says_so(filled: Path, protocol: Protocol) -> None:
    with ScoreCache(filled) as cache:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cache.declare(protocol, "snip", {"proxy": "snip", "version": 1, "higher_is_better": False})
        assert cache.frame()["snip"].count() == 27 and not cache.column_info("snip")["higher_is_better"]
        with pytest.warns(
            UserWarning, match="snip was version 1 and is now version 2; its 30 earlier scores are dropped"
        ):
            cache.declare(protocol, "snip", {"proxy": "snip", "version": 2})
        cache.put(protocol, "arch 0", {"snip": 9.0})
        crashed = ScoreCache(filled, "r")  # what a reader sees now is what a replay after a crash gives
        assert crashed.frame()["snip"].count() == 1 and crashed.frame()["params"].count() == 30
    reader = ScoreCache(filled, "r")
    assert reader.frame()["snip"].dropna().to_dict() == {"arch 0": 9.0}
    assert reader.failures().empty and reader.column_info("snip")["version"] == 2


def test_reading_only(filled: Path, protocol: Protocol) -> None:
    before = filled.read_bytes()
    with ScoreCache(filled, "r") as cache:
        for write in (lambda: cache.put(protocol, "a", {"snip": 1.0}), cache.compact, lambda: cache.merge(filled)):
            with pytest.raises(InputError, match="reading only"):
                write()
    assert filled.read_bytes() == before
    assert {p.name for p in filled.parent.iterdir()} == {"scores.h5", "scores.h5.lock"}


def test_a_closed_cache_refuses_scores(filled: Path, protocol: Protocol) -> None:
    cache = ScoreCache(filled)
    cache.close()
    cache.close()
    with pytest.raises(InputError, match="is closed"):
        cache.put(protocol, "a", {"snip": 1.0})


def test_names_that_mean_something_to_hdf5(path: Path, protocol: Protocol) -> None:
    names = ["a/b", ".", "..", "zen(images=32)", "epe(x='ü %/')", "100%"]
    with ScoreCache(path) as cache:
        cache.put(protocol, "Zelle é|~0|", {name: float(i) for i, name in enumerate(names)})
    cache = ScoreCache(path, "r")
    assert cache.columns() == names
    assert cache.frame().to_dict("index") == {"Zelle é|~0|": {name: float(i) for i, name in enumerate(names)}}


@pytest.mark.parametrize(("architecture", "column"), [("a\0b", "snip"), ("\ud800", "snip"), ("a", "sn\0ip"), ("a", "")])
def test_texts_that_the_file_cannot_hold_are_refused_before_they_are_written(
    path: Path, protocol: Protocol, architecture: str, column: str
) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "before", {"snip": 1.0})
        with pytest.raises(InputError, match="cannot be kept"):
            cache.put(protocol, architecture, {column: 1.0})
        assert list(ScoreCache(path, "r").frame().index) == ["before"]  # the journal can be read
        cache.put(protocol, "after", {"snip": 2.0})
    assert list(ScoreCache(path, "r").frame().index) == ["before", "after"]


def test_no_scores_change_nothing(path: Path, protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {})
        cache.put(protocol, "b", {"snip": 1.0})
    assert list(ScoreCache(path, "r").frame().index) == ["b"]


def test_a_second_writer_gets_a_clear_error(path: Path, protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {"snip": 1.0})
        # An older filelock empties the file of the lock that it cannot have, and with it who holds it.
        keeps_holder = int(version("filelock").split(".")[0]) >= 4
        holder = f"process {os.getpid()}" if keeps_holder else "another process"
        with pytest.raises(BusyError, match=rf"scores.h5 is being written by {holder}"):
            ScoreCache(path)
        program = f"from prejudge.cache import ScoreCache\nScoreCache({str(path)!r})"
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
        assert other.returncode == 1 and "BusyError" in other.stderr
        cache.put(protocol, "b", {"snip": 2.0})
        assert len(ScoreCache(path, "r").frame()) == 2  # readers need no lock
    with ScoreCache(path) as cache:  # the lock is free again
        assert len(cache.frame()) == 2
    assert verify(path) == []


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no score file"):
        ScoreCache(tmp_path / "none.h5", "r")
    for mode in ("a", "r"):
        with pytest.raises(MissingDataError, match="no folder"):
            ScoreCache(tmp_path / "no" / "scores.h5", mode)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is a folder"):
        ScoreCache(tmp_path, "r")
    with pytest.raises(InputError, match="cache mode"):
        ScoreCache(tmp_path / "scores.h5", "w")  # type: ignore[arg-type]


def test_foreign_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = {"text.h5": b"architecture,snip\n", "empty.h5": b"", "noise.h5": os.urandom(5000)}
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = [1, 2, 3]
    for name in [*foreign, "other.h5"]:
        before = (tmp_path / name).read_bytes()
        for mode in ("r", "a"):
            with pytest.raises(FileFormatError, match=name) as error:
                ScoreCache(tmp_path / name, mode)  # type: ignore[arg-type]
            assert "\n" not in str(error.value)
        assert (tmp_path / name).read_bytes() == before


def test_a_newer_format_is_refused(filled: Path) -> None:
    with h5py.File(filled, "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(FileFormatError, match="format 99; this prejudge reads up to 1: update it"):
        ScoreCache(filled, "r")


def test_a_truncated_file_is_refused_at_every_length(filled: Path) -> None:
    whole = filled.read_bytes()
    for length in [1, 8, 100, *range(200, len(whole), max(1, len(whole) // 20)), len(whole) - 1]:
        filled.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"scores\.h5"):
            ScoreCache(filled)
        assert filled.read_bytes() == whole[:length]
    filled.write_bytes(whole)
    assert verify(filled) == []


def test_flipped_bytes_never_give_a_traceback_or_a_wrong_score(filled: Path) -> None:
    whole = filled.read_bytes()
    expected = ScoreCache(filled, "r").frame()
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.choice(len(whole), 150, replace=False).tolist():
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        filled.write_bytes(bytes(broken))
        try:
            frame = ScoreCache(filled, "r").frame()
        except PrejudgeError:
            refused += 1
        else:  # the byte meant nothing
            pd.testing.assert_frame_equal(frame, expected)
    assert refused > 20


def test_a_journal_of_another_file_is_refused(filled: Path, tmp_path: Path, protocol: Protocol) -> None:
    shutil.copy(filled, tmp_path / "old.h5")
    with ScoreCache(filled) as cache:
        cache.put(protocol, "new", {"snip": 1.0})
        shutil.copy(beside(filled, ".journal"), tmp_path / "kept")
        cache.compact()
        cache.put(protocol, "newer", {"snip": 1.0})
    shutil.copy(tmp_path / "kept", beside(filled, ".journal"))
    with pytest.raises(FileFormatError, match=r"does not belong to scores\.h5"):
        ScoreCache(filled)
    filled.unlink()
    with pytest.raises(FileFormatError, match="delete the journal"):
        ScoreCache(filled)
    shutil.copy(tmp_path / "old.h5", filled)  # the state that the journal continues: nothing was lost
    assert "new" in ScoreCache(filled, "r").frame().index


def test_dying_between_replacing_the_file_and_removing_the_journal(
    path: Path, protocol: Protocol, tmp_path: Path
) -> None:
    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {"snip": 1.0})
        shutil.copy(beside(path, ".journal"), tmp_path / "kept")
    shutil.copy(tmp_path / "kept", beside(path, ".journal"))
    assert ScoreCache(path, "r").frame().to_dict() == {"snip": {"a": 1.0}}
    with ScoreCache(path) as cache:
        cache.put(protocol, "b", {"snip": 2.0})
    assert ScoreCache(path, "r").frame().to_dict() == {"snip": {"a": 1.0, "b": 2.0}}
    assert verify(path) == []


def test_compaction_while_writing_is_seen_by_readers(path: Path, protocol: Protocol) -> None:
    with ScoreCache(path, compact_bytes=2000) as cache:
        for i in range(200):
            cache.put(protocol, f"arch {i}", {"snip": float(i), "zen": float(-i)})
            if i % 20 == 0:
                assert len(ScoreCache(path, "r").frame()) == i + 1
        assert beside(path, ".journal").stat().st_size < 20 * 2000
    np.testing.assert_array_equal(ScoreCache(path, "r").frame()["zen"], -np.arange(200.0))


@pytest.mark.parametrize("replaced", [True, False])
def test_ctrl_c_while_the_file_is_replaced(
    path: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    def interrupted(file: Path, content: bytes) -> None:
        if replaced:
            write_atomically(file, content)
        raise KeyboardInterrupt

    with ScoreCache(path) as cache:
        cache.put(protocol, "a", {"snip": 1.0})
        monkeypatch.setattr(store, "write_atomically", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.compact()
        monkeypatch.undo()
        assert ScoreCache(path, "r").frame().to_dict() == {"snip": {"a": 1.0}}
        cache.put(protocol, "b", {"snip": 2.0})  # the caller goes on
        assert ScoreCache(path, "r").frame().to_dict() == {"snip": {"a": 1.0, "b": 2.0}}
    assert ScoreCache(path, "r").frame().to_dict() == {"snip": {"a": 1.0, "b": 2.0}} and verify(path) == []


def test_a_link_stays_a_link_and_permissions_stay(filled: Path, protocol: Protocol, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.h5"
    link.symlink_to(filled)
    filled.chmod(0o640)
    with ScoreCache(link) as cache:
        cache.put(protocol, "new", {"snip": 1.0})
        with pytest.raises(BusyError):
            ScoreCache(filled)
    assert link.is_symlink() and len(ScoreCache(filled, "r").frame()) == 31
    assert filled.stat().st_mode & 0o777 == 0o640 and len(list(link.parent.iterdir())) == 1


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions bind only those who are not root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no POSIX permissions")
def test_a_read_only_folder(filled: Path, protocol: Protocol) -> None:
    folder = filled.parent
    for part in [folder, *folder.parents]:
        if part.stat().st_uid == os.getuid() and part != Path("/") and "pytest" in str(part):
            part.chmod(0o755)
    beside(filled, ".lock").unlink()
    folder.chmod(0o555)
    filled.chmod(0o444)
    try:
        with ordinary_user():
            with pytest.raises(PrejudgeError, match=r"cannot write .*scores\.h5: no permission or a read-only folder"):
                ScoreCache(filled)
            assert len(ScoreCache(filled, "r").frame()) == 30
    finally:
        folder.chmod(0o755)


def test_appending_costs_the_same_however_many_rows_there_are(path: Path, protocol: Protocol) -> None:
    def best_of(cache: ScoreCache, first: int, batches: int = 5, size: int = 400) -> float:
        times = []
        for b in range(batches):
            start = time.perf_counter()
            for i in range(size):
                cache.put(protocol, f"arch {first + b * size + i}", {"snip": 1.0, "zen": 2.0})
            times.append(time.perf_counter() - start)
        return min(times)

    with ScoreCache(path) as cache:
        few = best_of(cache, 0)
        for i in range(10_000, 30_000):
            cache.put(protocol, f"arch {i}", {"snip": 1.0, "zen": 2.0})
        many = best_of(cache, 100_000)
    assert many < 3 * few


def test_reading_never_imports_torch(filled: Path, tmp_path: Path) -> None:
    program = f"""
import sys, prejudge
from prejudge.cache import verify
cache = prejudge.ScoreCache({str(filled)!r}, "r")
cache.frame(); cache.failures(); cache.info(); cache.export({str(tmp_path / "s.csv")!r}); verify({str(filled)!r})
with prejudge.ScoreCache({str(filled)!r}) as writer: writer.put(cache.protocol(), "x", {{"snip": 1.0}})
print([m for m in ("torch", "scipy") if m in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("mode", ["a", "r"])
def test_what_cannot_be_a_cache_is_refused_in_one_line(tmp_path: Path, mode: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "pipe", tmp_path / "loop", tmp_path, Path(), tmp_path / "a\0b", Path("/dev/null")):
        with pytest.raises(PrejudgeError) as caught:
            ScoreCache(path, mode)
        assert len(str(caught.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop", "pipe"]


def test_a_link_to_a_cache_stays_one(tmp_path: Path, protocol: Protocol) -> None:
    (tmp_path / "link.h5").symlink_to("there.h5")
    for number in range(2):
        with ScoreCache(tmp_path / "link.h5") as cache:
            cache.put(protocol, f"arch {number}", {"snip": 1.0})
    assert (tmp_path / "link.h5").is_symlink() and len(ScoreCache(tmp_path / "there.h5", "r").frame()) == 2
