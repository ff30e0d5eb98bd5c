from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prejudge
from prejudge.errors import InputError, MissingDataError
from prejudge.search import Budget, MappingObjective, SearchResult, Trajectory, read_result, write_result
from prejudge.search.bayesian import METRICS
from prejudge.search.objectives import TableObjective
from prejudge.spaces import EnumerableSpace

from .conftest import value_of


def search(
    cache: Path, space: EnumerableSpace, values: dict[str, float], queries: int = 20, **given: Any
) -> SearchResult:
    run = {k: given.pop(k) for k in ("seeds", "workers", "folder") if k in given}
    objective = MappingObjective(space, values, seconds=2.0, what={"made": "up"})
    options = {"cache": str(cache), **given}
    return prejudge.search.run("hnas", objective, Budget(queries=queries), options=options, **run)


def plain(run: Trajectory) -> tuple[Any, ...]:
    """Everything but wall-clock times."""
    facts = {k: v for k, v in run.metadata.items() if not k.endswith("seconds")}
    return run.recommendation, run.architectures, run.values.tolist(), facts


def test_it_finds_a_good_one_and_reports_the_pool(
    cache_path: Path, space: EnumerableSpace, values: dict[str, float]
) -> None:
    result = search(cache_path, space, values, seeds=range(2), draws=100)
    reachable = [v for v in values.values() if v < 99]
    for run in result.trajectories:
        assert len(run.values) == len(set(run.architectures)) == 20 and run.seconds.sum() == 40
        assert max(run.values) < 99  # outliers of the metric and failed scores are not selected
        assert run.recommendation == run.architectures[int(np.argmax(run.values))]
        assert max(run.values) > np.quantile(reachable, 0.97)
        facts = run.metadata
        assert facts["candidates"] == 400 and facts["candidates with a failed score"] == 13
        assert 60 < facts["scale"] < 120  # the outliers are ten thousand
        assert len(facts["points"]) + facts["repeated points"] == 20
        assert 300 < facts["pool"] <= 400
        assert facts["pool optimum"]["value"] == 99 == values[facts["pool optimum"]["architecture"]]
        assert facts["better in the pool"] >= 13


def test_the_pool_starts_small_and_its_optimum_is_its_own(
    cache_path: Path, space: EnumerableSpace, values: dict[str, float]
) -> None:
    run = search(cache_path, space, values, queries=1, draws=5).trajectories[0]
    assert 1 <= run.metadata["pool"] <= 5
    assert run.metadata["pool optimum"]["value"] <= 99


@pytest.mark.parametrize("metric", METRICS)
def test_all_four_metrics(
    metric: str, fabricate: Callable[..., Path], space: EnumerableSpace, values: dict[str, float]
) -> None:
    rng = np.random.default_rng(1)
    size = {"ntk_trace": 40.0, "grad_norm": 20.0, "snip": 45.0, "grasp": 4.0}[metric]
    m, k = size * np.exp(rng.normal(0, 0.7, 400)), np.exp(rng.normal(5, 1, 400))
    if metric == "grasp":
        m[::7] *= -1
    path = fabricate(400, lambda i: {metric: m[i], "ntk_condition": k[i]})
    run = search(path, space, values, queries=8, metric=metric, draws=50).trajectories[0]
    assert len(run.values) == 8 and run.metadata["metric"] == metric
    assert np.quantile(np.abs(m), 0.88) < run.metadata["scale"] < np.quantile(np.abs(m), 0.92)


def test_it_is_its_seeds_whatever_the_number_of_workers(
    cache_path: Path, space: EnumerableSpace, values: dict[str, float]
) -> None:
    one = search(cache_path, space, values, queries=4, seeds=[0, 1])
    two = search(cache_path, space, values, queries=4, seeds=[0, 1], workers=2)
    assert [plain(r) for r in one.trajectories] == [plain(r) for r in two.trajectories]
    assert plain(one.trajectories[0]) != plain(one.trajectories[1])


def test_an_interrupted_search_goes_on(
    cache_path: Path, space: EnumerableSpace, values: dict[str, float], tmp_path: Path
) -> None:
    whole = search(cache_path, space, values, queries=9)
    asked: list[str] = []

    class Failing(MappingObjective):
        def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Any:
            if len(asked) == 6:
                raise KeyboardInterrupt
            asked.append(str(arch))
            return super().evaluate(arch, epochs, rng)

    objective = Failing(space, values, seconds=2.0, what={"made": "up"})
    with pytest.raises(KeyboardInterrupt):
        prejudge.search.run("hnas", objective, Budget(queries=9), options={"cache": str(cache_path)}, folder=tmp_path)
    resumed = search(cache_path, space, values, queries=9, folder=tmp_path)
    assert plain(resumed.trajectories[0]) == plain(whole.trajectories[0])
    assert asked == whole.trajectories[0].architectures[:6]


def test_failed_evaluations_never_win(cache_path: Path, space: EnumerableSpace, values: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    holed = {a: math.nan if rng.random() < 0.5 else v for a, v in values.items()}
    run = search(cache_path, space, holed).trajectories[0]
    assert np.isnan(run.values).any() and not math.isnan(holed[run.recommendation])


def test_a_small_pool_is_exhausted(cache_path: Path, space: EnumerableSpace, values: dict[str, float]) -> None:
    run = search(cache_path, space, values, pool=6).trajectories[0]
    assert 4 <= len(run.values) <= 6 and run.metadata["exhausted"] and run.metadata["pool"] == 6


def test_a_pool_of_a_part_of_the_candidates_is_drawn_by_the_seed(
    cache_path: Path, space: EnumerableSpace, values: dict[str, float]
) -> None:
    found = search(cache_path, space, values, queries=5, pool=30, seeds=[0, 1]).trajectories
    assert found[0].architectures != found[1].architectures
    whole = search(cache_path, space, values, queries=5, draws=0).trajectories[0]
    assert whole.metadata["pool"] == 400


def test_the_original_scale_and_settings(cache_path: Path, space: EnumerableSpace, values: dict[str, float]) -> None:
    run = search(cache_path, space, values, scale="original").trajectories[0]
    assert run.metadata["scale"] == 5000
    assert [p["target"] for p in run.metadata["points"][:5]] == [0, 1250, 2500, 3750, 5000]
    assert {p["weight"] for p in run.metadata["points"][:5]} == {0.01}
    darts = search(
        cache_path, space, values, queries=7, scale="original", setting="darts", probe_points=6
    ).trajectories[0]
    assert darts.metadata["scale"] == 100 and darts.metadata["pool"] == 400
    assert [p["target"] for p in darts.metadata["points"][:6]] == pytest.approx([0, 20, 40, 60, 80, 100])
    assert darts.metadata["points"][0]["weight"] == pytest.approx(10**-1.5)
    own = search(cache_path, space, values, queries=6, scale=80, probe_points=2).trajectories[0]
    assert [p["target"] for p in own.metadata["points"][:2]] == [0, 80]


def test_where_the_metric_is_small_the_weights_are_raised(
    fabricate: Callable[..., Path], space: EnumerableSpace, values: dict[str, float]
) -> None:
    rng = np.random.default_rng(1)
    m, k = np.exp(rng.normal(0, 0.3, 400)), np.exp(rng.normal(8, 1, 400))
    path = fabricate(400, lambda i: {"snip": m[i], "ntk_condition": k[i]})
    asked: dict[str, set[str]] = {}
    for weight in ("cache", "original"):
        run = search(path, space, values, metric="snip", draws=0, weight=weight, queries=8).trajectories[0]
        asked[weight] = set(run.architectures)
        assert (run.metadata["weight factor"] > 1e4) == (weight == "cache")
    lowest = np.argsort(k / (m + 1e-6))[:8]
    assert asked["original"] == {str(space.unique()[i]) for i in lowest}  # whatever the points are
    assert len(asked["cache"] - asked["original"]) >= 3


def test_the_sign_of_the_metric(
    fabricate: Callable[..., Path], space: EnumerableSpace, values: dict[str, float]
) -> None:
    rng = np.random.default_rng(1)
    m = np.where(np.arange(400) % 5, 1, -1) * np.exp(rng.normal(1, 1, 400))
    path = fabricate(400, lambda i: {"grasp": m[i], "ntk_condition": 300.0})
    negative = {str(arch) for i, arch in enumerate(space.unique()[:400]) if m[i] < 0}
    shares = []
    for signed in (True, False):
        run = search(path, space, values, metric="grasp", draws=0, signed=signed, queries=10).trajectories[0]
        shares.append(len(negative & set(run.architectures)) / 10)
    assert shares[0] == 1 and shares[1] < 0.6


def test_without_a_number_of_queries_it_makes_the_original_iterations(
    cache_path: Path, space: EnumerableSpace, values: dict[str, float]
) -> None:
    objective = MappingObjective(space, values, seconds=2.0)
    found = prejudge.search.run("hnas", objective, Budget(seconds=1e6), options={"cache": str(cache_path)})
    facts = found.trajectories[0].metadata
    assert len(found.trajectories[0].values) + facts["repeated points"] == 20
    found = prejudge.search.run("hnas", objective, Budget(seconds=9), options={"cache": str(cache_path)})
    assert len(found.trajectories[0].values) == 4


def test_on_the_digits_table(fabricate: Callable[..., Path], space: EnumerableSpace, tmp_path: Path) -> None:
    table = prejudge.benchmark("digits")
    objective = TableObjective(table, "digits", table.metrics()[0].epochs)
    path = fabricate(300, lambda i: {"ntk_trace": 10.0 + i % 50, "ntk_condition": 20.0 + i % 7})
    options = {"cache": str(path), "draws": 100}
    result = prejudge.search.run("hnas", objective, Budget(queries=8), options=options, seeds=[0, 1])
    for run in result.trajectories:
        assert len(run.values) == 8 and run.seconds.min() > 0
        optimum = run.metadata["pool optimum"]
        assert optimum["value"] >= max(run.values)
        assert optimum["value"] == table.query(optimum["architecture"], objective_metric(table))
    back = read_result(write_result(result, tmp_path / "found.h5"))
    assert [plain(r) for r in back.trajectories] == [plain(r) for r in result.trajectories]
    assert back.options["cache"] == str(path)


def objective_metric(table: Any) -> Any:
    return next(m for m in table.metrics() if m.split == "valid" and m.seed == "mean")


def test_time_is_the_package_s(cache_path: Path, space: EnumerableSpace, values: dict[str, float]) -> None:
    search(cache_path, space, values, queries=6)  # what is loaded once
    run = search(cache_path, space, values).trajectories[0]
    library, own = run.metadata["library seconds"], run.metadata["own seconds"]
    assert own > 0 and library + own <= 1.2 * library


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": ""}, "hnas needs a score cache with ntk_trace and ntk_condition"),
        ({"metric": "synflow"}, r"lacks synflow or ntk_condition of 400 of 400 .*prejudge score nasbench201"),
        ({"scale": "large"}, "unknown scale .*'large'"),
        ({"weight": "heavy"}, "unknown weight 'heavy'"),
        ({"probe_points": -1}, "probe_points must not be negative, like -1"),
        ({"scale": -1}, "must be positive, not -1"),
        ({"quantile": 2}, "quantile"),
        ({"setting": "imagenet"}, "unknown setting of hnas 'imagenet'"),
        ({"iterations": 0}, "iterations must be a positive integer, not 0"),
        ({"pool": 500}, r"of 100 of 500 architectures"),
        ({"draws": -1}, "at least one candidate"),
        ({"acquisition": "pi"}, "unknown acquisition"),
        ({"epochs": 12}, "no schedule of 12 epochs"),
        ({"targets": 1}, "unknown option of hnas 'targets'"),
    ],
)
def test_bad_options(
    cache_path: Path, space: EnumerableSpace, values: dict[str, float], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        search(options.pop("cache", cache_path), space, values, **options)


def test_a_missing_cache(space: EnumerableSpace, values: dict[str, float]) -> None:
    with pytest.raises(MissingDataError, match=r"no score cache gone\.h5"):
        search(Path("gone.h5"), space, values)


def test_a_candidate_that_has_no_value_is_named(cache_path: Path, space: EnumerableSpace) -> None:
    some = {str(arch): value_of(i) for i, arch in enumerate(space.unique()[:3])}
    with pytest.raises(InputError, match="there is no value of"):
        search(cache_path, space, some)


def test_it_needs_no_torch(cache_path: Path) -> None:
    code = f"""
import sys, prejudge
from prejudge.search import Budget, MappingObjective
assert "bayes_opt" not in sys.modules and "torch" not in sys.modules
space = prejudge.space("nasbench201")
values = {{str(arch): float(i) for i, arch in enumerate(space.unique())}}
options = {{"cache": {str(cache_path)!r}}}
prejudge.search.run("hnas", MappingObjective(space, values), Budget(queries=6), options=options)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
