"""HNAS: Bayesian optimization of the two numbers of a training-free ranking, against trained accuracies."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.errors import InputError, MissingDataError, unknown
from prejudge.formats.atomic import beside
from prejudge.search.bayesian.optimizer import BayesianOptimizer, Point, probes
from prejudge.search.bayesian.pool import FixedPool, GrowingPool
from prejudge.search.bayesian.ranking import CandidateRanking, Candidates
from prejudge.search.bayesian.scores import CONDITION, METRICS, read_candidates
from prejudge.search.bayesian.settings import TARGETS, Setting, probe_count, setting_for
from prejudge.search.protocol import Query, Questions, SearchContext
from prejudge.search.registry import search_method
from prejudge.spaces import space as find_space

SCALES = ("cache", "original")


@search_method("hnas", reference="Shu et al., NeurIPS 2022 (arXiv:2201.09785); settings of shuyao95/HNAS 970789c")
def hnas(
    search: SearchContext,
    cache: str = "",
    metric: str = METRICS[0],
    condition: str = CONDITION,
    protocol: str | None = None,
    architectures: str = "cached",
    pool: int | None = None,
    draws: int | None = None,
    scale: str | float = "cache",
    quantile: float = 0.9,
    weight: str = "cache",
    signed: bool = False,
    setting: str | None = None,
    iterations: int | None = None,
    probe_points: int | None = None,
    acquisition: str | None = None,
    epochs: int | None = None,
) -> Questions:
    """Bayesian optimization of target and weight of a training-free ranking; what it ranks first is evaluated.

    Every point of the optimization is a target and a weight; the pool's best architecture under them that was not
    selected before is evaluated, and its value is what the point is worth. The best of the evaluated is recommended.
    The search ends early when the pool has nothing left that can be selected.

    The run's metadata are the points, the size of the pool and the best that was in it, and where the time went: the
    optimization package's (``library seconds``), reading the cache and the table (``reading seconds``), and everything
    else but the evaluations (``own seconds``).

    Args:
        search: The context.
        cache: Score cache with both columns.
        metric: Column of M: ntk_trace, grad_norm, snip or grasp in the paper.
        condition: Column of kappa.
        protocol: Start of the protocol's digest, where the cache has several.
        architectures: Candidates: "cached" (all with both scores), "all" of the space, or a file with one a line.
        pool: Search a pool of so many of the candidates, drawn at random, which does not grow.
        draws: Candidates drawn (with replacement) into the pool before every selection; 0: all are in from the start.
        scale: Metric that a target of 1 means: "cache" (a quantile of the metric's size over the candidates),
            "original" (5,000 on NAS-Bench-201, 100 on DARTS, whatever the metric), or a number.
        quantile: For scale "cache".
        weight: "original": a power of ten within the setting's bounds; "cache": where the metric is so small that the
            condition number alone would decide within them, times a factor that makes both terms alike in the middle.
        signed: Take the metric with its sign, as the original does, instead of its size. Only grasp is ever negative;
            with its sign, such architectures come first at any target, the worst condition number before all.
        setting: "nasbench201" or "darts": where the options that are left out come from; by the space if left out.
        iterations: Points; as many as the budget has queries, else the setting's.
        probe_points: How many of them have fixed places.
        acquisition: "ei", "ucb" or "poi".
        epochs: Schedule of the evaluations, where the objective has several.
    """
    chosen = setting_for(search.space.name, setting)
    given = search.budget.queries if iterations is None and search.budget is not None else iterations
    total = _positive("iterations", chosen.iterations if given is None else given)
    count = min(total, probe_count(total) if probe_points is None else probe_points)
    if count < 0:
        raise InputError(f"hnas: probe_points must not be negative, like {count}")
    reading = time.perf_counter()
    candidates = _candidates(cache, search.space.name, metric, condition, protocol, architectures, pool)
    reading = time.perf_counter() - reading
    if not signed:
        candidates = replace(candidates, metric=np.abs(candidates.metric))
    unit = _unit(candidates, chosen, scale, quantile)
    optimizer = BayesianOptimizer(
        TARGETS,
        chosen.exponents,
        probes(count, TARGETS, chosen.exponents),
        acquisition or chosen.acquisition,
        int(search.rng.integers(2**32)),
    )
    selected = _pool(len(candidates), pool, chosen.draws if draws is None else draws, search.rng)
    ranking = CandidateRanking(candidates)
    factor = _factor(ranking, chosen, weight, unit)
    search.metadata |= {
        "metric": metric,
        "scale": unit,
        "weight factor": factor,
        "candidates": len(candidates),
        "candidates left out": candidates.lacking,
        "candidates with a failed score": int(np.count_nonzero(~candidates.valid)),
        "points": [],
        "repeated points": 0,
    }
    start = time.perf_counter() - optimizer.seconds
    try:
        yield from _optimize(search, optimizer, ranking, selected, (unit, factor), total, epochs)
    finally:
        own = time.perf_counter() - start - search.evaluating - optimizer.seconds
        looking = time.perf_counter()
        metadata = search.metadata
        del metadata["points"][len(search.steps) :]  # those that were asked when the budget was spent
        metadata |= _optimum(search, candidates, selected) if epochs is None else {"pool": len(selected.members)}
        reading += time.perf_counter() - looking
        metadata |= {"library seconds": optimizer.seconds, "own seconds": own, "reading seconds": reading}
    return None


def _optimize(
    search: SearchContext,
    optimizer: BayesianOptimizer,
    ranking: CandidateRanking,
    pool: FixedPool,
    units: tuple[float, float],
    iterations: int,
    epochs: int | None,
) -> Generator[Any, Any, None]:
    def queries(points: Iterable[Point], asked: list[Point]) -> Iterator[Query]:
        """What each point selects; notes the points that select something."""
        for point in points:
            if optimizer.knows(point) or point in asked:  # as in the original: its value stands, nothing is selected
                search.metadata["repeated points"] += 1
                continue
            target, weight = point[0] * units[0], 10 ** point[1] * units[1]
            row = select(ranking, pool, target, weight)
            if row is None:
                search.metadata["exhausted"] = True
                return
            asked.append(point)
            search.metadata["points"].append({"target": target, "weight": weight})
            yield Query(search.space.parse(ranking.candidates.architectures[row]), epochs)

    points, done = optimizer.take_probes(iterations), 0  # places that do not depend on any value
    while True:
        asked: list[Point] = []
        values = yield queries(points, asked)
        for point, value in zip(asked, values, strict=True):
            optimizer.tell(point, value)
        done += len(points)
        if done == iterations or "exhausted" in search.metadata:
            return
        points = [optimizer.ask()]


def select(ranking: CandidateRanking, pool: FixedPool, target: float, weight: float) -> int | None:
    """Take the best row out of the pool, which grows first if it is one that grows; None where nothing has scores.

    Args:
        ranking: The ranking.
        pool: The pool.
        target: t, in the metric's unit.
        weight: mu.
    """
    row = ranking.best(target, weight, pool.offer())
    if row is not None:
        pool.take(row)
    return row


def _candidates(
    cache: str, space: str, metric: str, condition: str, protocol: str | None, architectures: str, pool: int | None
) -> Candidates:
    if not cache:
        raise InputError(
            f"hnas needs a score cache with {metric} and {condition}: cache=FILE.h5 (made by prejudge score)"
        )
    if not Path(cache).is_file():
        raise MissingDataError(f"no score cache {cache}; make it with prejudge score")
    least = _positive("pool", 1 if pool is None else pool)
    path = Path(cache).resolve()
    states = [f.stat() for f in (path, beside(path, ".journal"), Path(architectures)) if f.is_file()]
    version = tuple((state.st_mtime_ns, state.st_size) for state in states)
    return _read(cache, space, metric, condition, protocol, architectures, least, version)


@lru_cache(maxsize=4)
def _read(
    cache: str,
    space: str,
    metric: str,
    condition: str,
    protocol: str | None,
    architectures: str,
    least: int,
    version: tuple[tuple[int, int], ...],
) -> Candidates:
    """The candidates; read once for all seeds that a process runs, and again when a file has changed."""
    return read_candidates(
        cache,
        find_space(space),
        metric,
        condition,
        protocol=protocol,
        architectures=architectures,
        at_least=least,
    )


def _unit(candidates: Candidates, setting: Setting, scale: str | float, quantile: float) -> float:
    if scale == "original":
        return setting.scale
    if scale == "cache":
        return candidates.scale(quantile)
    if isinstance(scale, str):
        raise unknown("scale (or a number)", scale, SCALES)
    if not 0 < scale < np.inf:
        raise InputError(f"the scale of the target must be positive, not {scale}")
    return float(scale)


def _factor(ranking: CandidateRanking, setting: Setting, weight: str, unit: float) -> float:
    if weight == "original":
        return 1.0
    if weight != "cache":
        raise unknown("weight", weight, SCALES)
    # Never below 1: where the metric is as large as the original's, its bounds are the better ones.
    return max(1.0, float(ranking.balance(unit) * 10 ** -np.mean(setting.exponents)))


def _pool(candidates: int, size: int | None, draws: int, rng: np.random.Generator) -> FixedPool:
    if size is not None:
        return FixedPool(rng.choice(candidates, size, replace=False))
    if draws == 0:
        return FixedPool(np.arange(candidates))
    return GrowingPool(candidates, draws, rng)


def _optimum(search: SearchContext, candidates: Candidates, pool: FixedPool) -> dict[str, Any]:
    """What the pool's best would have been, where the objective knows without asking."""
    members = pool.members
    found: dict[str, Any] = {"pool": len(members)}
    values = search.known([candidates.architectures[i] for i in members.tolist()])
    if values is None or not np.isfinite(values).any():
        return found
    best = int(np.nanargmax(values))
    found["pool optimum"] = {"architecture": candidates.architectures[members[best]], "value": float(values[best])}
    if (incumbent := search.best) is not None:
        found["better in the pool"] = int(np.count_nonzero(values > incumbent.value))
    return found


def _positive(what: str, number: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InputError(f"hnas: {what} must be a positive integer, not {number!r}")
    return number
