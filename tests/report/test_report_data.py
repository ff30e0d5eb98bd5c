from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from prejudge.errors import InputError


def test_roles_follow_the_scores_unless_they_are_given(make_report):
    data = make_report(60)
    assert data.role("synflow") == "proxy"
    assert data.role("params") == "baseline"
    assert data.role("rank average") == "ensemble"
    assert dataclasses.replace(data, roles={"synflow": "ensemble"}).role("synflow") == "ensemble"
    with pytest.raises(InputError, match="unknown role of 'x'"):
        dataclasses.replace(data, roles={"x": "hero"})


def test_rows_of_a_metric_and_a_stratum(make_report):
    data = make_report(60)
    rows = data.rows("cifar100 test 200ep", "connected")
    assert set(rows["metric"]) == {"cifar100 test 200ep"}
    assert set(rows["stratum"]) == {"connected"}
    with pytest.raises(InputError, match=r"unknown metric 'cifar'.*cifar10 test 200ep"):
        data.rows("cifar")
    with pytest.raises(InputError, match="unknown stratum"):
        data.rows(stratum="none")


def test_disagreeing_values_are_refused_with_the_culprit(make_report):
    data = make_report(60)
    with pytest.raises(InputError, match="correlations lack the column 'spearman'"):
        dataclasses.replace(data, correlations=data.correlations.drop(columns="spearman"))
    with pytest.raises(InputError, match="failures lack the column 'reason'"):
        dataclasses.replace(data, failures=pd.DataFrame({"architecture": [], "proxy": []}))
    with pytest.raises(InputError, match="accuracies and scores list different architectures"):
        dataclasses.replace(data, accuracies=data.accuracies.iloc[::-1])
    with pytest.raises(InputError, match=r"'naswot'.*twice|'synflow'.*twice"):
        dataclasses.replace(data, correlations=pd.concat([data.correlations, data.correlations.head(1)]))
    with pytest.raises(InputError, match="scores name an architecture"):
        doubled = pd.concat([data.scores, data.scores.head(1)])
        dataclasses.replace(data, scores=doubled, accuracies=data.accuracies.reindex(doubled.index))
