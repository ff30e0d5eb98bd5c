from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prejudge.cache import MergeReport, Protocol, ScoreCache, verify
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.proxies.score import Score


def make(
    path: Path, protocol: Protocol, scores: dict[str, float | Score], *, column: str = "snip", version: int = 1
) -> Path:
    with ScoreCache(path) as cache:
        cache.declare(protocol, column, {"proxy": column, "version": version})
        run = cache.begin_run({"machine": path.name})
        for text, score in scores.items():
            cache.put(protocol, text, {column: score}, run=run)
    return path


def test_shards_become_one(tmp_path: Path, protocol: Protocol, other_protocol: Protocol) -> None:
    first = make(tmp_path / "1.h5", protocol, {"a": 1.0, "b": Score.failed("x")})
    second = make(tmp_path / "2.h5", protocol, {"c": 3.0, "a": 1.0}, column="zen")
    third = make(tmp_path / "3.h5", other_protocol, {"a": 7.0})
    with ScoreCache(tmp_path / "all.h5") as cache:
        report = cache.merge(first, second, third)
    assert report == MergeReport(added=5)
    cache = ScoreCache(tmp_path / "all.h5", "r")
    frame = cache.frame(protocol)
    assert list(frame.index) == ["a", "b", "c"]
    np.testing.assert_array_equal(frame["snip"], [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(frame["zen"], [1.0, np.nan, 3.0])
    assert cache.frame(other_protocol).to_dict() == {"snip": {"a": 7.0}}
    assert cache.failures(protocol).reason.tolist() == ["x"]
    runs = cache.runs()
    for p, column, machine in ((protocol, "snip", "1.h5"), (protocol, "zen", "2.h5"), (other_protocol, "snip", "3.h5")):
        assert {runs[r]["machine"] for r in cache.scores(p, column).run} == {machine}
    assert verify(tmp_path / "all.h5") == []


def test_merging_the_same_again_changes_nothing(tmp_path: Path, protocol: Protocol) -> None:
    ours = make(tmp_path / "ours.h5", protocol, {"a": 1.0, "b": Score.failed("x")})
    theirs = make(tmp_path / "theirs.h5", protocol, {"a": 1.0 + 1e-7, "b": Score.failed("y"), "c": 2.0})
    with ScoreCache(ours) as cache:
        assert cache.merge(theirs) == MergeReport(added=1, equal=2)
        runs = len(cache.runs())
        assert cache.merge(theirs) == MergeReport(equal=3)
        assert len(cache.runs()) == runs
        assert cache.frame().to_dict()["snip"]["a"] == 1.0  # ours stays
        assert cache.failures().reason.tolist() == ["x"]


def test_a_success_beats_a_failure_on_either_side(tmp_path: Path, protocol: Protocol) -> None:
    ours = make(tmp_path / "ours.h5", protocol, {"a": Score.failed("out of memory"), "b": 2.0})
    theirs = make(tmp_path / "theirs.h5", protocol, {"a": 1.0})
    with ScoreCache(ours) as cache:
        assert cache.merge(theirs) == MergeReport(added=1)
        assert cache.failures().empty and list(cache.frame()["snip"]) == [1.0, 2.0]
    failing = make(tmp_path / "failing.h5", protocol, {"b": Score.failed("out of memory")})
    with ScoreCache(ours) as cache:
        assert cache.merge(failing, on_conflict="replace") == MergeReport(equal=1)
        assert list(cache.frame()["snip"]) == [1.0, 2.0]


def test_conflicts_change_nothing_unless_settled(tmp_path: Path, protocol: Protocol) -> None:
    ours = make(tmp_path / "ours.h5", protocol, {"a": 1.0, "b": 2.0})
    theirs = make(tmp_path / "theirs.h5", protocol, {"b": 2.5, "c": 3.0})
    before = ours.read_bytes()
    with ScoreCache(ours) as cache:
        with pytest.raises(InputError, match=r"theirs\.h5: 1 scores differ from ours, first snip of b \(repeat 0\)"):
            cache.merge(theirs)
        assert list(cache.frame().index) == ["a", "b"] and len(cache.runs()) == 1
    assert ours.read_bytes() == before
    with ScoreCache(ours) as cache:
        assert cache.merge(theirs, on_conflict="keep") == MergeReport(added=1, conflicts=1)
        assert list(cache.frame()["snip"]) == [1.0, 2.0, 3.0]
        assert cache.merge(theirs, on_conflict="replace") == MergeReport(equal=1, conflicts=1)
    assert list(ScoreCache(ours, "r").frame()["snip"]) == [1.0, 2.5, 3.0]


def test_others_that_conflict_with_each_other(tmp_path: Path, protocol: Protocol) -> None:
    first = make(tmp_path / "1.h5", protocol, {"a": 1.0})
    second = make(tmp_path / "2.h5", protocol, {"a": 2.0})
    with ScoreCache(tmp_path / "all.h5") as cache:
        with pytest.raises(InputError, match=r"2\.h5: 1 scores differ"):
            cache.merge(first, second)
        assert cache.protocols() == []
        cache.merge(first, second, on_conflict="replace")
        assert cache.frame()["snip"].item() == 2.0


def test_another_version_of_a_proxy_is_a_conflict(tmp_path: Path, protocol: Protocol) -> None:
    ours = make(tmp_path / "ours.h5", protocol, {"a": 1.0, "b": 2.0})
    theirs = make(tmp_path / "theirs.h5", protocol, {"c": 3.0}, version=2)
    with ScoreCache(ours) as cache:
        with pytest.raises(InputError, match="snip has another version or source of the proxy there"):
            cache.merge(theirs)
        cache.merge(theirs, on_conflict="keep")
        assert cache.frame()["snip"].dropna().to_dict() == {"a": 1.0, "b": 2.0}
        assert cache.column_info("snip")["version"] == 1
        cache.merge(theirs, on_conflict="replace")
        assert cache.frame()["snip"].dropna().to_dict() == {"c": 3.0} and cache.column_info("snip")["version"] == 2


def test_repeats_are_merged_one_by_one(tmp_path: Path, protocol: Protocol) -> None:
    with ScoreCache(tmp_path / "1.h5") as cache:
        cache.put(protocol, "a", {"snip": 1.0}, repeat=0)
    with ScoreCache(tmp_path / "2.h5") as cache:
        cache.put(protocol, "a", {"snip": 5.0}, repeat=2)
        cache.put(protocol, "a", {"snip": Score.failed("r1")}, repeat=1)
    with ScoreCache(tmp_path / "1.h5") as cache:
        cache.merge(tmp_path / "2.h5")
        np.testing.assert_array_equal(cache.values(None, "snip"), [[1.0, np.nan, 5.0]])
        assert cache.failures().to_dict("records")[0] == {
            "architecture": "a", "proxy": "snip", "repeat": 1, "reason": "r1"
        }  # fmt: skip


def test_a_journal_that_was_left_is_merged_too(tmp_path: Path, protocol: Protocol) -> None:
    writer = ScoreCache(tmp_path / "open.h5")
    writer.put(protocol, "a", {"snip": 1.0})
    with ScoreCache(tmp_path / "all.h5") as cache:
        assert cache.merge(tmp_path / "open.h5").added == 1
    writer.close()


def test_a_bad_file_leaves_ours_alone(tmp_path: Path, protocol: Protocol) -> None:
    ours = make(tmp_path / "ours.h5", protocol, {"a": 1.0})
    before = ours.read_bytes()
    (tmp_path / "bad.h5").write_bytes(before[:500])
    with ScoreCache(ours) as cache:
        with pytest.raises(FileFormatError):
            cache.merge(ours, tmp_path / "bad.h5")
        with pytest.raises(MissingDataError):
            cache.merge(tmp_path / "none.h5")
        with pytest.raises(InputError, match="unknown merge policy"):
            cache.merge(ours, on_conflict="theirs")  # type: ignore[arg-type]
    assert ours.read_bytes() == before
