"""Scores that guide a search: from formulas, and from caches."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from prejudge.cache import Protocol, ScoreCache
from prejudge.errors import InputError, MissingDataError
from prejudge.proxies.score import Score
from prejudge.search.query.proxy_scores import ProxyScores, proxy_scores
from prejudge.spaces import space

S = space("nasbench201")
DEAD = S.parse([0, 3, 0, 0, 1, 2], notation="official")  # node 1 receives nothing
ALSO_DEAD = S.parse([0, 3, 0, 0, 4, 2], notation="official")
OTHER = S.parse([3, 3, 3, 3, 3, 3], notation="official")
BROKEN = S.parse([0, 0, 0, 0, 0, 0], notation="official")


@pytest.fixture
def protocol() -> Protocol:
    return Protocol("nasbench201", {"channels": 16}, data="digits", data_digest="0123")


@pytest.fixture
def path(tmp_path: Path, protocol: Protocol) -> Path:
    path = tmp_path / "scores.h5"
    with ScoreCache(path) as cache:
        cache.declare(protocol, "snip", {"proxy": "snip", "version": 1, "invariant_to_dead_edges": True})
        cache.declare(protocol, "ntk", {"proxy": "ntk", "version": 1, "higher_is_better": False})
        cache.put(protocol, DEAD, {"snip": 2.0, "ntk": 5.0})
        cache.put(protocol, DEAD, {"snip": 4.0, "ntk": Score.failed("singular")}, repeat=1)
        cache.put(protocol, BROKEN, {"snip": Score.failed("no path"), "ntk": Score.failed("no path")})
    return path


def test_formulas() -> None:
    assert proxy_scores(S, "params").of([DEAD, OTHER]) == [S.params(DEAD), S.params(OTHER)]
    assert proxy_scores(S, "flops").of([OTHER]) == [S.flops(OTHER)]
    assert proxy_scores(space("darts"), "params").of([space("darts").parse("DARTS_V2")]) == [3349342]  # official


def test_a_cache_gives_means_of_what_did_not_fail(path: Path) -> None:
    assert proxy_scores(S, f"{path}:snip").of([DEAD]) == [3.0]
    assert proxy_scores(S, f"{path}:ntk").of([DEAD]) == [-5.0]  # lower is better
    assert math.isnan(proxy_scores(S, f"{path}:snip").of([BROKEN])[0])


def test_a_class_shares_what_the_proxy_allows(path: Path) -> None:
    assert S.canonical(DEAD) == S.canonical(ALSO_DEAD)
    assert proxy_scores(S, f"{path}:snip").of([ALSO_DEAD]) == [3.0]
    with pytest.raises(InputError, match=r"1 of 2 architectures \(.*, …\) have no ntk in .*scores\.h5; compute them"):
        proxy_scores(S, f"{path}:ntk").of([DEAD, ALSO_DEAD])


def test_ranks_put_failures_last_and_the_first_of_equals_first() -> None:
    scores = ProxyScores({"a": 1.0, "b": math.nan, "c": 3.0, "d": 1.0, "e": -math.inf}.get)  # type: ignore[arg-type]
    assert scores.ranked("abcd") == ["c", "a", "d", "b"]
    assert scores.ranked("dcba") == ["c", "d", "a", "b"]


def test_a_changed_file_is_read_again(path: Path, protocol: Protocol) -> None:
    assert proxy_scores(S, f"{path}:snip").of([DEAD]) == [3.0]
    with ScoreCache(path) as cache:
        cache.put(protocol, DEAD, {"snip": 9.0}, repeat=2)
    os.utime(path, ns=(1, 1))
    assert proxy_scores(S, f"{path}:snip").of([DEAD]) == [5.0]


def test_several_protocols_must_be_told_apart(path: Path, protocol: Protocol) -> None:
    other = Protocol("nasbench201", {"channels": 8}, data="digits", data_digest="0123")
    with ScoreCache(path) as cache:
        cache.put(other, DEAD, {"snip": 7.0})
    with pytest.raises(InputError, match="holds 2 protocols"):
        proxy_scores(S, f"{path}:snip")
    assert proxy_scores(S, f"{path}:snip@{other.digest[:10]}").of([DEAD]) == [7.0]


def test_what_names_no_scores(path: Path, tmp_path: Path) -> None:
    for text in ("synflow", ":snip", f"{path}:", ""):
        with pytest.raises(InputError, match=r"a proxy is params, flops or CACHE\.h5:COLUMN, not"):
            proxy_scores(S, text)
    with pytest.raises(MissingDataError, match=r"no score cache .*none\.h5"):
        proxy_scores(S, f"{tmp_path / 'none.h5'}:snip")
    with pytest.raises(InputError, match=r"unknown column of .*'snap'; did you mean 'snip'"):
        proxy_scores(S, f"{path}:snap")
    with pytest.raises(InputError, match="holds scores of nasbench201; the search is in darts"):
        proxy_scores(space("darts"), f"{path}:snip")
