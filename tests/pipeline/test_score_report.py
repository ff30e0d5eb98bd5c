"""A cache and a table, joined: the cache's failures, repeats and directions, and the values of the report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prejudge.benchmarks import Metric, Table, correlate, open_table, write_table
from prejudge.cache.protocol import Protocol
from prejudge.cache.store import ScoreCache
from prejudge.errors import InputError
from prejudge.pipeline import report_data
from prejudge.proxies.score import Score
from prejudge.report import to_csv, to_html
from prejudge.spaces import space

SIZE = 15625
TEST = Metric("digits", "test", 12)
MACRO = {
    "num_classes": 10,
    "channels": 4,
    "cells": 1,
    "in_channels": 1,
    "stages": 3,
    "stem": True,
    "form": "official",
}
PROTOCOL = Protocol("nasbench201", MACRO, data="digits", image_size=8, batch_size=16)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    accuracies = 100 * np.random.default_rng(0).random(SIZE)
    path = tmp_path_factory.mktemp("t") / "made.h5"
    return open_table(write_table(path, "nasbench201", {TEST: accuracies}, provenance={"source": "made up"}))


@pytest.fixture
def cache(table: Table, tmp_path: Path) -> ScoreCache:
    """60 architectures, two repeats, one proxy that is declared backwards, one that failed for five."""
    rng = np.random.default_rng(1)
    cache = ScoreCache(tmp_path / "scores.h5")
    cache.declare(PROTOCOL, "norm", {"proxy": "norm", "version": 1, "higher_is_better": False})
    for i in range(60):
        arch = table.architectures[i]
        value = table.query(i, TEST)
        for repeat in range(2):
            snip = Score.failed("no gradient", 0.5) if i < 5 else Score(value + rng.normal() * 30, seconds=0.5)
            scores = {"norm": Score(rng.normal() * 30 - value, seconds=0.1), "snip": snip}
            if i < 50:  # not computed for the others
                scores["zen"] = Score(rng.normal(), seconds=0.2)
            cache.put(PROTOCOL, arch, scores, repeat=repeat, run=cache.begin_run({"device": "cpu"}) if not i else 0)
    return cache


def test_directions_failures_and_repeats_come_from_the_cache(cache: ScoreCache, table: Table) -> None:
    result = correlate(cache, table, resamples=20)
    rows = result[result.stratum == "all"].set_index("proxy")
    assert list(rows.index) == ["norm", "snip", "zen", "params", "flops"]
    assert rows.loc["norm", "spearman"] > 0.4  # declared: lower is better
    assert tuple(rows.loc["snip", ["n", "failed"]]) == (55, 5)
    assert tuple(rows.loc["zen", ["n", "failed"]]) == (50, 0)  # missing is not failed
    accuracy = table.query_many(np.arange(60), TEST)
    each = [stats.spearmanr(-cache.frame(repeat=r)["norm"].to_numpy(), accuracy).statistic for r in (0, 1)]
    assert rows.loc["norm", "repeats_std"] == pytest.approx(np.std(each, ddof=1))
    assert rows.loc["snip", "seconds"] == pytest.approx(0.5)
    assert np.isnan(rows.loc["params", "repeats_std"])


def test_baselines_follow_the_protocol(cache: ScoreCache, table: Table) -> None:
    data = report_data(cache, table, resamples=5)
    where = space("nasbench201")
    archs = [where.parse(a) for a in data.scores.index]
    assert list(data.scores["params"]) == [where.params(a, **MACRO) for a in archs]
    assert list(data.scores["flops"]) == [where.flops(a, image_size=8, **MACRO) for a in archs]


def test_report_data(cache: ScoreCache, table: Table) -> None:
    data = report_data(cache, table, resamples=5)
    assert data.metrics == ["digits_test_12ep"]
    assert data.strata == ["all", "connected", "top 10 %"]
    assert data.directions["norm"] is False
    assert data.failures is not None
    assert set(data.failures["reason"]) == {"no gradient"}
    assert data.protocol["macro-architecture"].startswith("cells=1")
    assert data.provenance["table: source"] == "made up"
    assert data.provenance["scored with: device"] == "cpu"
    assert "/" not in data.provenance["score cache"]
    assert data.unit == "%"
    assert any("noise ceiling" in warning for warning in data.warnings)
    assert any("different numbers of architectures" in warning for warning in data.warnings)
    assert "norm" in to_csv(data)
    assert "norm" in to_html(data)
    pd.testing.assert_series_equal(data.accuracies[str(TEST)], pd.Series(table.query_many(np.arange(60), TEST),
                                   index=data.scores.index, name=str(TEST)))  # fmt: skip


def test_report_of_a_frame(table: Table) -> None:
    where = space("nasbench201")
    archs = [str(where[i]) for i in range(30)]
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({p: rng.normal(size=30) for p in ("synflow", "jacob_cov", "snip", "mine")}, index=archs)
    data = report_data(frame, table, directions={"mine": False}, title="Mine", resamples=5)
    assert data.title == "Mine"
    assert data.directions["mine"] is False
    assert data.role("vote (synflow, jacob_cov, snip)") == "ensemble"
    assert data.role("params") == "baseline"
    assert to_html(data)


def test_a_class_shares_what_was_computed_for_its_representative(table: Table, tmp_path: Path) -> None:
    where = space("nasbench201")
    rng = np.random.default_rng(3)
    members = [a for a in where if where.representative(a) != a][:20]
    first = list(dict.fromkeys(where.representative(a) for a in members))
    value = {a: float(v) for a, v in zip(first, rng.normal(size=len(first)), strict=True)}
    cache = ScoreCache(tmp_path / "s.h5")
    cache.declare(PROTOCOL, "snip", {"proxy": "snip", "version": 1, "invariant_to_dead_edges": True})
    cache.declare(PROTOCOL, "l2_norm", {"proxy": "l2_norm", "version": 1, "invariant_to_dead_edges": False})
    for i, arch in enumerate(first):
        cache.put(PROTOCOL, arch, {"snip": Score.failed("dead") if not i else value[arch], "l2_norm": float(i)})
    for i, arch in enumerate(members[:-1]):
        cache.put(PROTOCOL, arch, {"l2_norm": -float(i)})
    data = report_data(cache, table, resamples=5)
    dead = sum(where.representative(a) == first[0] for a in members[:-1])
    rows = data.correlations[data.correlations.stratum == "all"].set_index("proxy")
    everyone = len(first) + 19
    assert tuple(rows.loc["l2_norm", ["n", "failed"]]) == (everyone, 0)
    assert tuple(rows.loc["snip", ["n", "failed"]]) == (everyone - 1 - dead, 1 + dead)
    alive = [a for a in members[:-1] if where.representative(a) != first[0]]
    assert [data.scores.loc[str(a), "snip"] for a in alive] == [value[where.representative(a)] for a in alive]
    assert any(f"{19 - dead} scores are those of an equivalent architecture" in warning for warning in data.warnings)
    assert cache.frame()["snip"].notna().sum() == len(first) - 1  # the cache itself is as it was


def test_several_protocols_are_not_pooled(cache: ScoreCache, table: Table) -> None:
    other = Protocol("nasbench201", MACRO, data="digits", image_size=8, batch_size=32)
    for i in range(10):
        cache.put(other, table.architectures[i], {"snip": float(i)})
    with pytest.raises(InputError, match="never pooled; choose one"):
        correlate(cache, table)
    assert correlate(cache, table, protocol=other, resamples=5).n.max() == 10
    assert correlate(cache, table, protocol=PROTOCOL.digest[:8], resamples=5).n.max() == 60


def test_another_space_and_an_empty_cache(table: Table, tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "s.h5")
    with pytest.raises(InputError, match="holds no scores"):
        correlate(cache, table)
    cache.put(Protocol("darts"), "x", {"snip": 1.0})
    with pytest.raises(InputError, match="scores are of darts, table made is of nasbench201"):
        correlate(cache, table)


def test_a_report_never_imports_torch(cache: ScoreCache, table: Table) -> None:
    cache.close()
    code = (
        "import sys, prejudge as p; from prejudge.pipeline import report_data; from prejudge.report import to_html; "
        f"data = report_data(p.ScoreCache({str(cache.path)!r}, 'r'), p.benchmark({str(table.path)!r}), resamples=5); "
        "to_html(data); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
