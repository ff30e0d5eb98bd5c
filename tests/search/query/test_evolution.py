"""Regularized evolution, against a plain list and a slow look at what it asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge import search
from prejudge.cache import Protocol, ScoreCache
from prejudge.errors import InputError
from prejudge.search import Budget, MappingObjective, SearchStep
from prejudge.search.query.evolution import evolution
from prejudge.spaces import Cell201, space
from tests.search.toy_objectives import Anywhere, Convolutions, drive, rng_of

S = space("nasbench201")


def steps_of(objective: Any, queries: int, seed: int = 0, **options: Any) -> list[SearchStep]:
    return drive(evolution, objective, Budget(queries=queries), seed, **options).steps


def distance(one: Any, other: Any) -> int:
    return sum(a != b for a, b in zip(one.edges, other.edges, strict=True))


@pytest.mark.parametrize(("population", "sample"), [(10, 3), (1, 1), (64, 10)])
def test_it_is_the_plain_algorithm(population: int, sample: int) -> None:
    """The same draws, with a list whose first entry is removed, as the paper writes it."""
    objective = Anywhere("nasbench201")
    steps = steps_of(objective, 150, 5, population=population, sample=sample)
    rng = rng_of(5)
    members = []
    for step in steps[:population]:
        assert step.arch == S.sample(rng)
        members.append(step)
    for step in steps[population:]:
        drawn = [members[int(i)] for i in rng.integers(population, size=sample)]
        parent = drawn[0]
        for other in drawn[1:]:
            if other.value > parent.value:
                parent = other
        assert step.arch == S.mutate(parent.arch, rng)
        assert distance(step.arch, parent.arch) == 1
        members.append(step)
        del members[0]


def test_what_failed_has_no_offspring() -> None:
    steps = steps_of(Convolutions(fail=True), 400)
    valued: list[Cell201] = []
    failed = 0
    for step in steps:
        if len(valued) >= 10:
            assert any(distance(step.arch, member) == 1 for member in valued[-10:])
        if math.isnan(step.value):
            failed += 1
        else:
            valued.append(step.arch)  # type: ignore[arg-type]
    assert failed >= 5


def test_a_warm_up_takes_the_best_by_proxy() -> None:
    steps = steps_of(Convolutions(), 10, 2, warmup=400, proxy="flops")
    rng = rng_of(2)
    drawn = {S.sample(rng) for _ in range(400)}
    best = sorted((S.flops(arch) for arch in drawn), reverse=True)[:10]
    assert [S.flops(step.arch) for step in steps] == best
    assert len({step.arch for step in steps}) == 10


def test_a_proposal_is_the_best_neighbor_by_proxy() -> None:
    steps = steps_of(Anywhere("nasbench201"), 200, proxy="params", proposal=1.0)
    for number, step in enumerate(steps[10:], start=10):
        parents = [s.arch for s in steps[number - 10 : number] if distance(s.arch, step.arch) == 1]
        assert any(S.params(step.arch) == max(map(S.params, S.neighbors(p))) for p in parents)
    some = steps_of(Anywhere("nasbench201"), 400, proxy="params", proposal=0.75)
    most = [
        any(
            distance(p.arch, step.arch) == 1 and S.params(step.arch) == max(map(S.params, S.neighbors(p.arch)))
            for p in some[number - 10 : number]
        )
        for number, step in enumerate(some[10:], start=10)
    ]
    assert 0.65 < np.mean(most) < 0.95


def test_a_good_proxy_helps() -> None:
    def mean(method: str) -> float:
        runs = search.run(method, Convolutions(), Budget(queries=25), seeds=range(20)).trajectories
        return float(np.mean([run.values.max() for run in runs]))

    plain = mean("evolution")
    assert mean("evolution(proxy='params', warmup=100)") > plain + 3
    assert mean("evolution(proxy='params', proposal=0.75)") > plain + 5


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of a third of the space."""
    path = tmp_path / "scores.h5"
    protocol = Protocol("nasbench201", {"channels": 16}, data="digits", data_digest="0123")
    with ScoreCache(path) as scores:
        for arch in list(S)[::3]:
            scores.put(protocol, arch, {"snip": float(sum(arch.edges))})  # type: ignore[attr-defined]
    return path


def test_missing_scores_are_counted_with_the_command_that_computes_them(cache: Path) -> None:
    message = (
        r"\d{3} of \d{3} architectures \(\|.*, …\) have no snip in .*scores\.h5; compute them: prejudge score "
        r"nasbench201 --archs all --proxies snip --out .*scores\.h5"
    )
    with pytest.raises(InputError, match=message):
        search.run("evolution", Convolutions(), Budget(queries=20), options={"warmup": 500, "proxy": f"{cache}:snip"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 0}, r"population \(0\) and sample \(3\) must be positive"),
        ({"sample": 0}, "must be positive"),
        ({"proposal": 1.5, "proxy": "flops"}, "proposal is a probability, not 1.5"),
        ({"warmup": 5, "proxy": "flops"}, "a warm-up of 5 architectures cannot fill a population of 10"),
        ({"warmup": 50}, "a proxy goes with warmup or proposal, and they with a proxy"),
        ({"proxy": "flops"}, "a proxy goes with warmup or proposal"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        search.run("evolution", Convolutions(), Budget(queries=20), options=options)


def test_a_budget_smaller_than_the_population() -> None:
    values = {str(arch): float(i) for i, arch in enumerate(S)}
    result = search.run("evolution(population=64)", MappingObjective(S, values), Budget(queries=20))
    assert len(result.trajectories[0].values) == 20
