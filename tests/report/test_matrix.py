from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from prejudge.report.matrix import agreement


def test_entries_are_signed_spearman_correlations(make_report):
    data = make_report(250)
    found = agreement(data)
    assert sorted(found.proxies) == sorted(data.scores.columns)
    for a, b in [("synflow", "naswot"), ("ntk_condition_tenas", "snip"), ("plain", "zen")]:
        pair = data.scores[[a, b]].dropna()
        sign = np.prod([1 if data.higher_is_better(name) else -1 for name in (a, b)])
        i, j = found.proxies.index(a), found.proxies.index(b)
        assert found.values[i, j] == pytest.approx(sign * spearmanr(pair[a], pair[b]).statistic)
        assert found.counts[i, j] == len(pair)
    np.testing.assert_allclose(np.diag(found.values), 1)
    np.testing.assert_array_equal(found.values, found.values.T)


def test_similar_proxies_stand_side_by_side(make_report):
    data = make_report(250)
    scores = data.scores.assign(twin=-data.scores["grasp"])
    found = agreement(dataclasses.replace(data, scores=scores, directions=dict(data.directions) | {"twin": False}))
    assert abs(found.proxies.index("twin") - found.proxies.index("grasp")) == 1


def test_constant_and_empty_proxies_have_no_correlation(make_report):
    data = make_report(60)
    found = agreement(dataclasses.replace(data, scores=data.scores.assign(constant=1.0, empty=np.nan)))
    for name in ("constant", "empty"):
        others = [i for i, proxy in enumerate(found.proxies) if proxy != name]
        assert np.isnan(found.values[found.proxies.index(name)][others]).all()
