"""The correlation table: strata, directions, failures, ensembles, honesty about classes and noise."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prejudge.benchmarks import Metric, Table, correlate, open_table, write_table
from prejudge.errors import InputError
from prejudge.spaces import space

SIZE = 15625
TEST = Metric("cifar10", "test", 200)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A made-up accuracy of every architecture that depends on its size."""
    where = space("nasbench201")
    size = np.array([where.params(a) for a in where], dtype=float)
    noise = np.random.default_rng(0).normal(size=SIZE)
    return 50 + 10 * stats.zscore(np.log(size)) + 5 * noise


@pytest.fixture(scope="module")
def table(truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Table:
    rng = np.random.default_rng(1)
    seeds = [np.round(truth + 3 * rng.normal(size=SIZE), 2) for _ in range(3)]
    columns = {Metric("cifar10", "test", 200, s): v for s, v in zip((777, 888, 999), seeds, strict=True)}
    columns[TEST] = np.mean(seeds, axis=0)
    columns[Metric("cifar10", "test", 12)] = truth / 2
    columns[Metric("cifar10", "valid", 200)] = truth / 2
    columns[Metric("cifar100", "test", 12)] = truth / 3
    return open_table(write_table(tmp_path_factory.mktemp("t") / "made.h5", "nasbench201", columns))


@pytest.fixture(scope="module")
def scores(truth: np.ndarray) -> pd.DataFrame:
    where = space("nasbench201")
    rng = np.random.default_rng(2)
    rows = rng.permutation(SIZE)[:400]
    near = truth[rows]
    frame = pd.DataFrame(
        {
            "synflow": np.exp(near + 5 * rng.normal(size=400)),
            "jacob_cov": near + 9 * rng.normal(size=400),
            "snip": near + 9 * rng.normal(size=400),
            "backwards": -near + 9 * rng.normal(size=400),
            "coarse": np.round((near + 9 * rng.normal(size=400)) / 20),
        },
        index=[str(where[int(i)]) for i in rows],
    )
    frame.iloc[:25, 2] = np.nan
    return frame


def _row(result: pd.DataFrame, proxy: str, stratum: str = "all", metric: str = "cifar10_test_200ep") -> pd.Series:
    rows = result[(result.proxy == proxy) & (result.stratum == stratum) & (result.metric == metric)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_against_scipy_with_counts(scores: pd.DataFrame, table: Table) -> None:
    result = correlate(scores, table, metrics=TEST, directions={"backwards": False}, resamples=50)
    accuracy = table.query_many(list(scores.index), TEST)
    for proxy in scores:
        known = scores[proxy].notna().to_numpy()
        x, y = scores[proxy].to_numpy()[known], accuracy[known]
        x = -x if proxy == "backwards" else x
        row = _row(result, proxy)
        assert row.n == known.sum()
        assert row.failed == (~known).sum()
        assert row.ties == pd.Series(x).duplicated(keep=False).sum()
        assert row.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
        assert row.kendall == pytest.approx(stats.kendalltau(x, y).statistic)
        assert row.weighted_tau == pytest.approx(stats.weightedtau(x, y).statistic)
        assert row.spearman_low < row.spearman < row.spearman_high
        assert row.regret == pytest.approx(y.max() - y[x == x.max()].mean())
        assert 0 <= row.precision_at_10pct <= 1
    assert _row(result, "backwards").spearman > 0.3


def test_a_wrong_direction_stays_negative(scores: pd.DataFrame, table: Table) -> None:
    assert _row(correlate(scores, table, metrics=TEST, resamples=5), "backwards").spearman < -0.3


def test_default_metrics_are_all_longest_test_columns_by_name(scores: pd.DataFrame, table: Table) -> None:
    result = correlate(scores, table, resamples=5)
    assert list(result.metric.unique()) == ["cifar10_test_200ep", "cifar100_test_12ep"]
    assert list(result.stratum.unique()) == ["all", "connected", "top 10 %"]
    assert not result.duplicated(["metric", "stratum", "proxy"]).any()
    again = correlate(scores, table, resamples=5)
    pd.testing.assert_frame_equal(result, again)


def test_strata(scores: pd.DataFrame, table: Table) -> None:
    result = correlate(scores, table, metrics=TEST, resamples=5)
    where = space("nasbench201")
    accuracy = table.query_many(list(scores.index), TEST)
    connected = np.array([where.connected(where.parse(a)) for a in scores.index])
    assert 0 < connected.sum() < 400
    assert _row(result, "jacob_cov", "connected").n == connected.sum()
    inside = {"connected": connected, "top 10 %": accuracy >= np.sort(accuracy)[-40]}
    for stratum, rows in inside.items():
        expected = stats.spearmanr(scores["jacob_cov"].to_numpy()[rows], accuracy[rows]).statistic
        assert _row(result, "jacob_cov", stratum).spearman == pytest.approx(expected)
    assert _row(result, "jacob_cov", "top 10 %").n == 40


def test_baselines_are_always_there(scores: pd.DataFrame, table: Table) -> None:
    result = correlate(scores, table, metrics=TEST, resamples=5)
    where = space("nasbench201")
    size = [where.params(where.parse(a)) for a in scores.index]
    expected = stats.spearmanr(size, table.query_many(list(scores.index), TEST)).statistic
    row = _row(result, "params")
    assert row.spearman == pytest.approx(expected)
    assert row.failed == 0
    assert np.isnan(row.partial_spearman)
    assert np.isfinite(_row(result, "flops").spearman)
    assert abs(_row(result, "jacob_cov").partial_spearman) < _row(result, "jacob_cov").spearman
    scored = scores.assign(params=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = _row(correlate(scored, table, metrics=TEST, resamples=5), "params")
    assert np.isnan(constant.spearman)
    assert np.isnan(constant.spearman_low)
    assert constant.ties == 400
    assert constant.pairs == 0.5


def test_ensembles_are_rows(scores: pd.DataFrame, table: Table) -> None:
    result = correlate(scores, table, metrics=TEST, resamples=5)
    average = _row(result, "rank average (synflow, jacob_cov, snip)")
    vote = _row(result, "vote (synflow, jacob_cov, snip)")
    assert average.n == vote.n == 375
    assert average.failed == vote.failed == 25
    singles = [_row(result, p) for p in ("synflow", "jacob_cov", "snip")]
    assert average.spearman > max(s.spearman for s in singles[1:])
    assert vote.pairs > max(s.pairs for s in singles[1:])
    without = correlate(scores.drop(columns=["snip", "jacob_cov"]), table, metrics=TEST, resamples=5)
    assert not without.proxy.str.contains("vote").any()


def test_noise_ceiling(scores: pd.DataFrame, table: Table) -> None:
    row = _row(correlate(scores, table, metrics=TEST, resamples=5), "synflow")
    runs = [table.query_many(list(scores.index), Metric("cifar10", "test", 200, s)) for s in (777, 888, 999)]
    single = np.mean([stats.spearmanr(runs[i], runs[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))])
    assert row.seed_spearman == pytest.approx(single)
    assert row.noise_ceiling == pytest.approx(3 * single / (1 + 2 * single))
    one = correlate(scores, table, metrics="cifar10_test_200ep_seed888", resamples=5)
    assert one.noise_ceiling.iloc[0] == pytest.approx(single)
    assert correlate(scores, table, metrics="cifar10_test_12ep", resamples=5).noise_ceiling.isna().all()


def test_a_class_counts_once(truth: np.ndarray, tmp_path: Path) -> None:
    where = space("nasbench201")
    trained = np.zeros(SIZE, dtype=bool)
    trained[[where.index(a) for a in where.unique()]] = True
    metric = Metric("digits", "test", 12)
    made = write_table(tmp_path / "t.h5", "nasbench201", {metric: np.where(trained, truth, np.nan)}, per_class=True)
    table = open_table(made)
    scores = pd.DataFrame({"size": truth}, index=[str(a) for a in where])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = correlate(scores, table, resamples=5)
    assert _row(whole, "size", metric=str(metric)).n == 6466
    assert _row(whole, "size", metric=str(metric)).spearman == pytest.approx(1)
    assert "15625 scored architectures are 6466 classes, 0 of them" in whole.attrs["warnings"][0]
    members = scores[~trained]
    some = correlate(members, table, resamples=5)
    classes = {where.canonical(where.parse(a)) for a in members.index}
    assert _row(some, "size", metric=str(metric)).n == len(classes)
    assert f"{len(classes)} of them scored on another member" in some.attrs["warnings"][0]


def test_a_partial_table_uses_what_both_have(scores: pd.DataFrame, truth: np.ndarray, tmp_path: Path) -> None:
    half = np.where(np.arange(SIZE) % 2, truth, np.nan)
    table = open_table(write_table(tmp_path / "t.h5", "nasbench201", {TEST: half}))
    where = space("nasbench201")
    expected = sum(where.index(where.parse(a)) % 2 for a in scores.index)
    assert _row(correlate(scores, table, resamples=5), "synflow").n == expected


def test_few_or_tied_architectures_claim_nothing(scores: pd.DataFrame, table: Table) -> None:
    few = scores.dropna().iloc[:25].assign(odd=lambda frame: np.arange(len(frame)) == 3)
    result = correlate(few, table, metrics=TEST, resamples=200)
    assert (result[result.stratum == "top 10 %"].n == 3).all()
    top = result[result.stratum == "top 10 %"]
    assert top[["spearman_low", "spearman_high", "undefined", "partial_spearman"]].isna().all(axis=None)
    assert set(top.no_interval) == {"n = 3 is less than 10"}
    whole = _row(result, "synflow")
    assert whole.spearman_low < whole.spearman < whole.spearman_high
    assert (whole.undefined, whole.no_interval) == (0, "")
    odd = _row(result, "odd")
    assert odd.undefined == pytest.approx((24 / 25) ** 25, abs=0.1)
    assert np.isnan(odd.spearman_low)
    said = result.attrs["warnings"]
    assert any("fewer than 10 architectures (top 10 %, n = 3) have no interval" in warning for warning in said)
    assert any("odd (cifar10_test_200ep, all)" in w and "of the resamples have no correlation" in w for w in said)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_almost_no_architectures(scores: pd.DataFrame, table: Table, count: int) -> None:
    frame = scores[["coarse", "synflow"]].iloc[:12].copy()
    frame.iloc[count:, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = _row(correlate(frame, table, metrics=TEST, resamples=20), "coarse")
    assert (row.n, row.failed, row.no_interval) == (count, 12 - count, f"n = {count} is less than 10")
    assert np.isnan(row.spearman) == (count < 3)
    assert np.isnan(row.spearman_low)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": "svhn_test_200ep"}, "no dataset 'svhn' .it has cifar10, cifar100"),
        ({"metrics": []}, "no metric asked for"),
        ({"directions": {"snipp": False}}, "did you mean 'snip'"),
        ({"protocol": "abc"}, "not in a data frame"),
        ({"resamples": 0}, "resamples must be a positive integer"),
        ({"confidence": 1.5}, "confidence must lie between"),
    ],
)
def test_bad_arguments(scores: pd.DataFrame, table: Table, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        correlate(scores, table, **arguments)
    assert "\n" not in str(error.value)


def test_bad_scores(scores: pd.DataFrame, table: Table, truth: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 of the 2 scored architectures .* at least 3"):
        correlate(scores.iloc[:2], table)
    none = np.full(SIZE, np.nan)
    none[0] = 50.0
    other = open_table(write_table(tmp_path / "t.h5", "nasbench201", {TEST: none}))
    with pytest.raises(InputError, match="0 of the 5 scored architectures have an accuracy in table t"):
        correlate(scores[~scores.index.str.startswith("|avg_pool_3x3~0|+|nor_conv_1x1")].iloc[:5], other)
    with pytest.raises(InputError, match="has 2 rows; average"):
        correlate(pd.concat([scores, scores.iloc[:1]]), table)
    with pytest.raises(InputError, match="node groups"):
        correlate(scores.rename(index={scores.index[0]: "nonsense"}), table)
    with pytest.raises(InputError, match="'synflow' does not hold numbers"):
        correlate(scores.astype({"synflow": str}), table)
    valid = open_table(write_table(tmp_path / "v.h5", "nasbench201", {Metric("a", "valid", 2): truth / 2}))
    with pytest.raises(InputError, match=r"no test column; choose a metric .it has a_valid_2ep"):
        correlate(scores, valid)


def test_an_entirely_failed_proxy_is_a_row(scores: pd.DataFrame, table: Table) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = _row(correlate(scores.assign(dead=np.nan), table, metrics=TEST, resamples=5), "dead")
    assert row.n == 0
    assert row.failed == 400
    assert np.isnan(row.spearman)
