"""Correlations between proxies against SciPy's, and their order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from prejudge.benchmarks.statistics.agreement import proxy_agreement

DIRECTIONS = {"cost": False}


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """Five proxies that follow a hidden quality more or less; failures, ties and an infinite score among them."""
    rng = np.random.default_rng(0)
    quality = rng.normal(size=250)
    columns = {
        "good": quality + 0.3 * rng.normal(size=250),
        "coarse": np.round(quality + rng.normal(size=250)),
        "cost": np.exp(-3 * quality + rng.normal(size=250)),
        "noise": rng.normal(size=250),
        "bad": -0.3 * quality + rng.normal(size=250),
    }
    frame = pd.DataFrame(columns)
    frame.loc[rng.random(250) < 0.1, "good"] = np.nan
    frame.loc[3, "cost"] = np.inf
    return frame


def test_entries_are_signed_spearman_correlations(scores: pd.DataFrame) -> None:
    found = proxy_agreement(scores, DIRECTIONS).set_index(["proxy", "other"])
    assert set(found.index.get_level_values(0)) == set(scores.columns)
    for a, b in [("good", "coarse"), ("cost", "good"), ("bad", "noise")]:
        pair = scores[[a, b]].replace(np.inf, np.nan).dropna()
        sign = np.prod([1 if DIRECTIONS.get(name, True) else -1 for name in (a, b)])
        assert found.loc[(a, b), "spearman"] == pytest.approx(sign * spearmanr(pair[a], pair[b]).statistic)
        assert found.loc[(a, b), "n"] == len(pair)
        assert found.loc[(a, b), "spearman"] == found.loc[(b, a), "spearman"]
    for name in scores.columns:
        assert found.loc[(name, name), "spearman"] == pytest.approx(1)


def test_similar_proxies_stand_side_by_side(scores: pd.DataFrame) -> None:
    found = proxy_agreement(scores.assign(twin=-scores["noise"]), DIRECTIONS | {"twin": False})
    order = list(found["proxy"].unique())
    assert abs(order.index("twin") - order.index("noise")) == 1
    assert list(found["other"][: len(order)]) == order


def test_the_better_end_comes_first(scores: pd.DataFrame) -> None:
    orders = [list(proxy_agreement(scores, DIRECTIONS, {best: 1.0})["proxy"].unique()) for best in ("good", "bad")]
    assert orders[0] == orders[1][::-1]
    assert orders[0].index("good") < orders[0].index("bad")


def test_constant_and_empty_proxies_have_no_correlation(scores: pd.DataFrame) -> None:
    found = proxy_agreement(scores.assign(constant=1.0, empty=np.nan))
    for name in ("constant", "empty"):
        assert found[(found["proxy"] == name) & (found["other"] != name)]["spearman"].isna().all()
