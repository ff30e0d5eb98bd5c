from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import prejudge
from prejudge.cache import ScoreCache
from prejudge.data import load
from prejudge.errors import InputError, MissingDataError
from prejudge.proxies import Score
from prejudge.search.bayesian import draw_pool, read_candidates, score_pool
from prejudge.spaces import EnumerableSpace

from .conftest import PROTOCOL, condition_of, metric_of


def test_candidates_are_in_the_order_of_their_texts(cache_path: Path, space: EnumerableSpace) -> None:
    found = read_candidates(cache_path, space, "ntk_trace")
    number = {str(arch): i for i, arch in enumerate(space.unique()[:400])}
    assert list(found.architectures) == sorted(number) and found.lacking == 0
    order = [number[text] for text in found.architectures]
    np.testing.assert_array_equal(found.metric, [metric_of(i) for i in order])
    np.testing.assert_array_equal(found.condition, [condition_of(i) for i in order])


def test_those_with_one_score_only_are_left_out_and_counted(fabricate: Callable[..., Path]) -> None:
    path = fabricate(10, lambda i: {"snip": 1.0 + i} | ({"ntk_condition": 2.0} if i < 6 else {}))
    found = read_candidates(path, prejudge.space("nasbench201"), "snip")
    assert (len(found), found.lacking) == (6, 4)


def test_failed_scores_are_candidates_that_cannot_win(fabricate: Callable[..., Path]) -> None:
    path = fabricate(4, lambda i: {"snip": float("nan") if i == 2 else 1.0, "ntk_condition": 2.0})
    found = read_candidates(path, prejudge.space("nasbench201"), "snip")
    assert len(found) == 4 and np.count_nonzero(found.valid) == 3 and found.lacking == 0


def test_a_class_shares_the_scores_that_its_proxy_allows(tmp_path: Path, space: EnumerableSpace) -> None:
    member = next(arch for arch in space if space.representative(arch) != arch)
    path = tmp_path / "s.h5"
    with ScoreCache(path) as cache:
        cache.declare(PROTOCOL, "snip", {"proxy": "snip", "version": 1, "invariant_to_dead_edges": True})
        cache.put(PROTOCOL, space.representative(member), {"snip": 3.0, "ntk_condition": 5.0})
        cache.put(PROTOCOL, member, {"ntk_condition": 7.0})
    found = read_candidates(path, space, "snip")
    pairs = dict(zip(found.architectures, zip(found.metric, found.condition, strict=True), strict=True))
    assert pairs == {str(member): (3.0, 7.0), str(space.representative(member)): (3.0, 5.0)}


def test_what_a_cache_lacks_is_counted_with_the_command(cache_path: Path, space: EnumerableSpace) -> None:
    with pytest.raises(InputError) as caught:
        read_candidates(cache_path, space, "ntk_trace", architectures="all")
    assert str(caught.value) == (
        f"{cache_path} lacks ntk_trace or ntk_condition of 15,225 of 15,625 architectures; compute them with: "
        f"prejudge score nasbench201 --data digits --archs all --proxies ntk_trace,ntk_condition --cells 1 "
        f"--out {shlex.quote(str(cache_path))}"
    )
    with pytest.raises(
        InputError, match=r"lacks snip or ntk_condition of 400 of 400 .*--archs random:400 --proxies snip"
    ):
        read_candidates(cache_path, space, "snip")
    with pytest.raises(InputError, match=r"of 100 of 500 architectures; .* --archs random:500 "):
        read_candidates(cache_path, space, "ntk_trace", at_least=500)


def test_a_file_of_architectures(cache_path: Path, space: EnumerableSpace, tmp_path: Path) -> None:
    listing = tmp_path / "mine.txt"
    listing.write_text("# mine\n" + "\n".join(str(a) for a in space.unique()[5:25]) + "\n")
    assert len(read_candidates(cache_path, space, "ntk_trace", architectures=str(listing))) == 20
    listing.write_text(str(space.unique()[400]))
    with pytest.raises(InputError, match=r"of 1 of 1 architectures.*--archs .*mine\.txt"):
        read_candidates(cache_path, space, "ntk_trace", architectures=str(listing))
    with pytest.raises(MissingDataError, match=r"no file gone\.txt with architectures"):
        read_candidates(cache_path, space, "ntk_trace", architectures="gone.txt")


def test_another_space_and_no_file(cache_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has scores of nasbench201; this search is over darts"):
        read_candidates(cache_path, prejudge.space("darts"), "ntk_trace")
    with pytest.raises(MissingDataError):
        read_candidates(tmp_path / "gone.h5", prejudge.space("darts"), "ntk_trace")


def test_a_larger_pool_begins_with_a_smaller_one() -> None:
    space = prejudge.space("darts")
    assert draw_pool(space, 30, seed=1)[:10] == draw_pool(space, 10, seed=1) != draw_pool(space, 10, seed=2)


def test_the_original_pool_lacks_an_operation() -> None:
    space = prejudge.space("darts")
    assert "dil_conv_5x5" in "".join(map(str, draw_pool(space, 20)))
    assert "dil_conv_5x5" not in "".join(map(str, draw_pool(space, 100, sampling="hnas")))
    with pytest.raises(InputError, match="HNAS samples the space 'darts' only"):
        draw_pool(prejudge.space("nasbench201"), 5, sampling="hnas")
    with pytest.raises(InputError, match="unknown sampling 'best'"):
        draw_pool(space, 5, sampling="best")
    with pytest.raises(InputError, match="has 1 to 15,625 architectures, not 20000"):
        draw_pool(prejudge.space("nasbench201"), 20_000)


def test_a_pool_is_scored_once(tmp_path: Path) -> None:
    space, data = prejudge.space("nasbench201"), load("digits")
    told: list[int] = []
    with ScoreCache(tmp_path / "pool.h5") as cache:
        for size in (2, 3):
            protocol = score_pool(
                cache, space, data, size, macro={"channels": 4, "cells": 1, "stages": 1}, batch_size=8,
                progress=lambda done, total, _: told.append(total),
            )  # fmt: skip
        assert told == [2, 2, 1] and protocol.seed == 0
        cache.put(protocol, "extra", {"ntk_trace": Score.failed("why")})
    found = read_candidates(tmp_path / "pool.h5", space, "ntk_trace")
    assert set(found.architectures) == set(map(str, draw_pool(space, 3))) and found.lacking == 1
    with pytest.raises(
        InputError, match=r"--data digits .*--batch-size 8 --cells 1 --channels 4 --macro stages=1 --out"
    ):
        read_candidates(tmp_path / "pool.h5", space, "snip")
