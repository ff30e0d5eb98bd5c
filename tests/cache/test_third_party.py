"""Third-party proxies in a cache: their source is part of the column."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.cache import MergeReport, Protocol, ScoreCache, fill, verify
from prejudge.data.dataset import ImageDataset
from prejudge.engine import LocalEngine
from prejudge.errors import InputError, PrejudgeError
from prejudge.proxies import resolve
from prejudge.proxies.registry import register, resolve_unchanged
from prejudge.proxies.score import Score
from prejudge.spaces import space

NB201 = space("nasbench201")
SMALL: dict[str, Any] = {"macro": {"channels": 2, "cells": 1}, "batch_size": 8}
ARCHS = [NB201[i] for i in (3, 1, 4)]


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers and the module search path are as before."""
    monkeypatch.setattr(register, "items", dict(register.items))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 8, 8, 1)).astype(np.uint8)
    return ImageDataset("noise", images, np.arange(40) % 10, 10, (0.4,), (0.2,))


MINE = """
import prejudge

@prejudge.proxy("mine", reference="a test", reads=[{reads}])
def mine(probe):
    "Mine."
    return {value}
"""


def mine(path: Path, value: str, reads: str = "") -> str:
    path.write_text(MINE.format(value=value, reads=reads))
    return f"{path}:mine"


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_edited_proxy_is_scored_anew(tmp_path: Path, data: ImageDataset, workers: int) -> None:
    text = mine(tmp_path / "m.py", "1.0")
    with ScoreCache(tmp_path / "c.h5") as cache:
        fill(cache, NB201, ARCHS, data, [text, "params"], workers=workers, **SMALL)
        before = cache.frame()
        mine(tmp_path / "m.py", "2.0")
        with pytest.warns(UserWarning, match=r"source of mine has changed .*; its 3 earlier scores are kept as mine@"):
            fill(cache, NB201, ARCHS[:2], data, [text, "params"], workers=workers, **SMALL)
        after = cache.frame()
        fill(cache, NB201, ARCHS, data, [text], **SMALL)
        assert set(before.mine) == {1.0}
        assert after.mine[[str(arch) for arch in ARCHS[:2]]].tolist() == [2.0, 2.0]
        assert np.isnan(after.mine[str(ARCHS[2])])  # never a mixture
        assert set(cache.frame().mine) == {2.0}
        assert before.params.equals(after.params)
        assert cache.info()["protocols"][0]["columns"]["mine"]["source"]


def test_failed_scores_of_third_party_proxies_are_tried_again(tmp_path: Path, data: ImageDataset) -> None:
    flag = tmp_path / "flag"
    text = mine(tmp_path / "m.py", f"float(open({str(flag)!r}).read())")
    with ScoreCache(tmp_path / "c.h5") as cache:
        protocol = fill(cache, NB201, ARCHS, data, [text], **SMALL)
        assert cache.counts(protocol, "mine") == (0, 3)
        reason = cache.failures().reason[0]
        assert reason.startswith("FileNotFoundError")
        assert reason.endswith("(m.py, line 7)")
        flag.write_text("4")
        fill(cache, NB201, ARCHS, data, [text], **SMALL)
        assert cache.frame().mine.tolist() == [4.0] * 3


def test_caches_with_other_sources_of_a_proxy_conflict(tmp_path: Path, data: ImageDataset) -> None:
    for name, value in (("one", "1.0"), ("two", "2.0")):
        with ScoreCache(tmp_path / f"{name}.h5") as cache:
            fill(cache, NB201, ARCHS, data, [mine(tmp_path / "m.py", value)], **SMALL)
    with ScoreCache(tmp_path / "one.h5") as cache:
        with pytest.raises(InputError, match="mine has another version or source of the proxy there"):
            cache.merge(tmp_path / "two.h5")
        cache.merge(tmp_path / "two.h5", on_conflict="replace")
        assert set(cache.frame().mine) == {2.0}


def shard(path: Path, protocol: Protocol, source: str, scores: dict[str, float | Score]) -> Path:
    with ScoreCache(path) as cache:
        cache.declare(protocol, "v", {"proxy": "v", "version": 1, "source": source})
        for text, score in scores.items():
            cache.put(protocol, text, {"v": score})
    return path


def columns(path: Path) -> dict[str, dict[str, float]]:
    assert verify(path) == []
    return {name: column.dropna().to_dict() for name, column in ScoreCache(path, "r").frame().items()}  # type: ignore[misc]


def test_an_edit_loses_nothing_and_can_be_undone(tmp_path: Path, protocol: Protocol) -> None:
    a, b, c = "a" * 16, "b" * 16, "c" * 16
    path = shard(tmp_path / "s.h5", protocol, a, {"x": 1.0})
    with pytest.warns(UserWarning, match=f"from {a} to {b}.*1 earlier scores are kept as v@aaaaaaaa and computed anew"):
        shard(path, protocol, b, {})  # killed before the first new score
    assert columns(path) == {"v": {}, "v@aaaaaaaa": {"x": 1.0}}
    shard(path, protocol, b, {"x": Score.failed("a slip")})
    with pytest.warns(UserWarning, match="its 1 earlier scores are dropped and those of this source used again"):
        shard(path, protocol, a, {})  # what had nothing but failures leaves nothing
    assert columns(path) == {"v": {"x": 1.0}}
    with pytest.warns(UserWarning, match="kept as v@aaaaaaaa"):
        shard(path, protocol, c, {"x": 3.0})
    assert columns(path) == {"v": {"x": 3.0}, "v@aaaaaaaa": {"x": 1.0}}
    writer = ScoreCache(path)  # a journal that is read by the next process says the same
    with pytest.warns(UserWarning, match="kept as v@cccccccc and those of this source used again"):
        writer.declare(protocol, "v", {"proxy": "v", "version": 1, "source": a})
    assert ScoreCache(path, "r").frame().iloc[0].to_dict() == {"v": 1.0, "v@cccccccc": 3.0}
    writer.close()
    info = ScoreCache(path, "r").info()["protocols"][0]["columns"]
    assert {name: column["source"] for name, column in info.items()} == {"v": a, "v@cccccccc": c}


def test_shards_of_two_sources_are_refused_or_kept_apart(tmp_path: Path, protocol: Protocol) -> None:
    a, b = "a" * 16, "b" * 16
    first = shard(tmp_path / "1.h5", protocol, a, {"x": 1.0})
    second = shard(tmp_path / "2.h5", protocol, b, {"y": 2.0})
    found = {}
    for policy in ("keep", "replace"):
        with ScoreCache(tmp_path / f"{policy}.h5") as cache:
            cache.merge(first, second, on_conflict=policy)  # type: ignore[arg-type]
            assert cache.merge(second) == MergeReport(equal=1)  # its scores have a place by now
        found[policy] = columns(tmp_path / f"{policy}.h5")
    assert found["keep"] == {"v": {"x": 1.0}, "v@bbbbbbbb": {"y": 2.0}}
    assert found["replace"] == {"v": {"y": 2.0}, "v@aaaaaaaa": {"x": 1.0}}
    # What is current there is a former one here, and the reverse; nothing is mixed whoever wins.
    third = shard(tmp_path / "3.h5", protocol, a, {"z": 3.0})
    for policy, current in (("keep", a), ("replace", b)):
        path = tmp_path / f"third-{policy}.h5"
        path.write_bytes(third.read_bytes())
        with ScoreCache(path) as cache:
            cache.merge(tmp_path / "replace.h5", on_conflict=policy)  # type: ignore[arg-type]
        old, new = {"x": 1.0, "z": 3.0}, {"y": 2.0}
        expected = {"v": old, "v@bbbbbbbb": new} if current == a else {"v": new, "v@aaaaaaaa": old}
        assert columns(path) == expected


def test_a_source_that_changes_during_a_fill_ends_it(tmp_path: Path) -> None:
    text = mine(tmp_path / "m.py", "1.0")
    definition = resolve(text)[0].proxy.definition
    mine(tmp_path / "m.py", "2.0")
    with pytest.raises(PrejudgeError, match="the source of mine has changed since this run began; run it again"):
        resolve_unchanged(text, definition)


def test_rescoring_replaces_scores_one_by_one_and_goes_on_after_an_interruption(
    tmp_path: Path, data: ImageDataset
) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    stop = tmp_path / "stop"
    value = f"(lambda p: (p.write_text(str(int(p.read_text()) + 1)), int(p.read_text()))[1])(Path({str(counter)!r}))"
    text = mine(tmp_path / "m.py", value)
    (tmp_path / "m.py").write_text("from pathlib import Path\n" + (tmp_path / "m.py").read_text())

    def interrupt(done: int, total: int, seconds: float) -> None:
        if stop.exists():
            raise KeyboardInterrupt

    with ScoreCache(tmp_path / "c.h5") as cache:

        def values(**options: Any) -> list[float]:
            with suppress(KeyboardInterrupt):
                fill(cache, NB201, ARCHS, data, [text], progress=interrupt, **SMALL, **options)
            return cache.frame().mine.tolist()  # type: ignore[no-any-return]

        assert values() == [1, 2, 3]
        assert values(rescore=True) == [4, 5, 6]
        stop.touch()
        assert values(rescore=True) == [7, 5, 6]
        assert values() == [7, 5, 6]
        stop.unlink()
        assert values(rescore=True) == [7, 8, 9]
        assert values(rescore=True) == [10, 11, 12]
        fill(cache, NB201, ARCHS, data, [text, "params"], **SMALL)
        before = cache.scores(None, "params").run.tolist()
        fill(cache, NB201, ARCHS[:1], data, [text, "params"], rescore=["mine"], **SMALL)
        assert cache.frame().mine.tolist() == [13, 11, 12]
        assert cache.scores(None, "params").run.tolist() == before
        with pytest.raises(InputError, match="unknown proxy of this run to compute anew 'snip'"):
            fill(cache, NB201, ARCHS, data, [text], rescore=["snip"], **SMALL)


HANGS = """
import time
import prejudge

@prejudge.proxy("hangs", reference="a test")
def hangs(probe):
    "Never ends for some networks."
    while sum(p.numel() for p in probe.network.parameters()) > {least}:
        time.sleep(0.01)
    return 1.0
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_proxy_that_takes_too_long_alone_fails(tmp_path: Path, data: ImageDataset, workers: int) -> None:
    params = sorted(NB201.params(a, num_classes=10, in_channels=1, channels=2, cells=1) for a in ARCHS)
    (tmp_path / "m.py").write_text(HANGS.format(least=params[1]))
    with ScoreCache(tmp_path / "c.h5") as cache:
        protocol = fill(
            cache, NB201, ARCHS, data, ["params", f"{tmp_path / 'm.py'}:hangs"], workers=workers, timeout=3.0, **SMALL
        )
        assert cache.counts(protocol, "params") == (3, 0)
        assert cache.counts(protocol, "hangs") == (2, 1)
        assert cache.failures().reason.tolist() == ["took longer than 3 s"]
        largest = cache.frame()["params"].idxmax()
        assert cache.failures().architecture.tolist() == [largest]


def test_a_timeout_is_a_positive_time_of_local_processes(tmp_path: Path, data: ImageDataset) -> None:
    with ScoreCache(tmp_path / "c.h5") as cache:
        for wrong in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(InputError, match="timeout must be a positive number of seconds"):
                fill(cache, NB201, ARCHS, data, ["params"], timeout=wrong, **SMALL)
        with pytest.raises(InputError, match="give timeout or an engine, not both"):
            fill(cache, NB201, ARCHS, data, ["params"], timeout=1.0, engine=LocalEngine(2), **SMALL)
