"""Parts of a set of architectures, and the caches that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prejudge.cache import ScoreCache, Shard, fill
from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.spaces import space

NB201 = space("nasbench201")
SMALL: dict[str, Any] = {"macro": {"channels": 2, "cells": 1}, "batch_size": 8}


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    return ImageDataset("digit-like", images, np.arange(40, dtype=np.int64) % 10, 10, (0.4,), (0.2,))


@pytest.mark.parametrize(("size", "count"), [(1, 1), (10, 3), (3, 10), (2000, 16)])
def test_parts_are_disjoint_complete_and_equally_large(size: int, count: int) -> None:
    texts = [str(NB201[i]) for i in range(size)]
    parts = [Shard(i, count).of(texts) for i in range(1, count + 1)]
    assert set().union(*parts) == set(texts)
    assert sum(map(len, parts)) == size
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_part_depends_on_the_set_alone() -> None:
    texts = [str(NB201[i]) for i in range(200)]
    shuffled = list(np.random.default_rng(0).permutation(texts + texts[:50]))
    assert Shard(2, 7).of(texts) == Shard(2, 7).of(shuffled)


def test_neighbors_are_scattered() -> None:
    """With every fifth architecture each part would have one operation on the last edge; parts cost about the same."""
    texts = [str(arch) for arch in NB201]
    sizes = {str(arch): NB201.params(arch) for arch in NB201}
    means = [np.mean([sizes[t] for t in Shard(i, 5).of(texts)]) for i in range(1, 6)]
    assert max(means) / min(means) < 1.05


@pytest.mark.parametrize(("text", "part"), [("1/1", (1, 1)), (" 3 / 16 ", (3, 16)), ("16/16", (16, 16))])
def test_reading(text: str, part: tuple[int, int]) -> None:
    shard = Shard.parse(text)
    assert (shard.index, shard.count) == part
    assert Shard.parse(str(shard)) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2", ""])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(InputError, match=r"1/N to N/N"):
        Shard.parse(text)


@pytest.mark.parametrize("share", [False, True])
def test_parts_merged_are_the_whole(tmp_path: Path, data: ImageDataset, share: bool) -> None:
    archs = [NB201[i] for i in range(0, 15625, 3000)] + [NB201[1], NB201[2]]
    columns = ["synflow", "params"]
    options: dict[str, Any] = {"repeats": 2, "share_classes": share, **SMALL}
    with ScoreCache(tmp_path / "whole.h5") as cache:
        protocol = fill(cache, NB201, archs, data, columns, **options)
        whole = [cache.frame(protocol, repeat).sort_index() for repeat in (0, 1)]
    parts = [tmp_path / f"part-{i}.h5" for i in range(1, 4)]
    with ScoreCache(parts[0]) as cache:  # what is there already changes no part
        fill(cache, NB201, archs[:3], data, columns[:1], share_classes=share, **SMALL)
    for number, path in enumerate(parts, start=1):
        for _ in range(2):
            told: list[tuple[int, int, float]] = []
            with ScoreCache(path) as cache:
                shard = Shard(number, 3)
                fill(cache, NB201, archs, data, columns, shard=shard, progress=lambda *p: told.append(p), **options)  # noqa: B023
        assert told == []  # once is enough
    with ScoreCache(tmp_path / "merged.h5") as merged:
        assert merged.merge(*parts).conflicts == 0
        for repeat in (0, 1):
            found = merged.frame(protocol, repeat).sort_index()
            pd.testing.assert_frame_equal(found, whole[repeat], check_exact=True)


def test_a_part_without_architectures_is_an_empty_cache(tmp_path: Path, data: ImageDataset) -> None:
    archs = [NB201[3], NB201[5]]
    paths = [tmp_path / f"{i}.h5" for i in range(1, 5)]
    for number, path in enumerate(paths, start=1):
        with ScoreCache(path) as cache:
            fill(cache, NB201, archs, data, ["params"], shard=Shard(number, 4), **SMALL)
    with ScoreCache(tmp_path / "all.h5") as merged:
        assert merged.merge(*paths).added == 2


@pytest.mark.parametrize("text", ["²/3", "9" * 5000 + "/1", "1/" + "9" * 5000, "x" * 10**6])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"part|shard") as error:
        Shard.parse(text)
    assert len(str(error.value)) < 300
