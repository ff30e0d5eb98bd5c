"""The main job on real images and real accuracies: score, cache, correlate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import prejudge
from prejudge.benchmarks.importers.csv import import_csv
from prejudge.data.loading import load


@pytest.mark.slow
def test_scores_predict_the_accuracies_of_nasbench201(test_data: Path, tmp_path: Path) -> None:
    space = prejudge.space("nasbench201")
    images = load(f"npz:{test_data / 'data' / 'cifar10_train4000.npz'}", normalization="cifar10")
    table = prejudge.benchmark(
        str(import_csv(test_data / "data" / "nas_bench_201.csv.gz", tmp_path / "nb201.h5", name="nb201"))
    )
    archs = [space[int(i)] for i in np.random.default_rng(0).permutation(len(space))[:80]]
    proxies = ["synflow", "jacob_cov", "snip", "naswot"]
    with prejudge.ScoreCache(tmp_path / "scores.h5") as cache:
        prejudge.fill(cache, space, archs, images, proxies, macro={"cells": 1})
        found = prejudge.correlate(cache, table, metrics=["cifar10_test_200ep"])
    rows = found[found["stratum"] == "all"].set_index("proxy")
    for proxy in ("synflow", "jacob_cov", "naswot"):
        assert rows.loc[proxy, "spearman"] > 0.4, proxy
    vote = next(name for name in rows.index if str(name).startswith("vote"))
    assert rows.loc[vote, "pairs"] > 0.7
    assert rows.loc["synflow", "n"] == 80
