"""Comparing searches: against a slow look at every run, and what may not be compared."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, t, wilcoxon

import prejudge
from prejudge import search
from prejudge.benchmarks import Metric, Table, open_table, write_table
from prejudge.errors import InputError
from prejudge.report import to_markdown
from prejudge.search import Budget, SearchResult, Trajectory
from prejudge.search.comparison import Incumbents, compare, group_results, holm, paired
from prejudge.search.comparison.incumbents import mean_interval
from prejudge.search.objectives import open_objective
from prejudge.search.result_table import recommended_accuracies

SPACE = prejudge.space("nasbench201")
A_TEST, B_TEST = Metric("a", "test", 200), Metric("b", "test", 200)
UNTRAINED = 3


def texts(*rows: int) -> list[str]:
    return [str(SPACE[row]) for row in rows]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Test accuracies of architecture i: a is i / 200, b is 100 - i / 200; that of ``UNTRAINED`` is not known."""
    rising = np.arange(15_625) / 200
    holey = np.where(np.arange(15_625) == UNTRAINED, np.nan, rising)
    columns = {
        Metric("a", "valid", 12): rising,
        A_TEST: holey,
        Metric("b", "valid", 12): 100 - rising,
        B_TEST: 100 - holey,
    }
    path = tmp_path_factory.mktemp("table") / "t.h5"
    return open_table(write_table(path, "nasbench201", columns, units={"accuracy": "per cent"}))


def run(seed: int, rows: list[int], seconds: list[float], values: list[float] | None = None, **more: Any) -> Trajectory:
    found = [float(r) for r in rows] if values is None else values
    best = rows[int(np.nanargmax(found))] if np.isfinite(found).any() else rows[-1]
    return Trajectory(
        seed=seed,
        recommendation=more.pop("recommendation", texts(best)[0]),
        architectures=texts(*rows),
        epochs=np.zeros(len(rows), dtype=np.int32),
        values=np.array(found),
        seconds=np.array(seconds, dtype=float),
        overhead=0.5,
        **more,
    )


def result(table: Table, method: str, runs: list[Trajectory], **more: Any) -> SearchResult:
    objective = {
        "table": table.name, "digest": table.index.digest, "dataset": more.pop("dataset", "a"), "split": "valid",
        "epochs": 12, "seed": "mean", "unit": "per cent", "note": "costs are simulated",
    }  # fmt: skip
    budget = {"queries": None, "seconds": more.pop("seconds", 100.0), "overshoot": False}
    given = {"options": {}, "space": "nasbench201", "objective": objective, "budget": budget} | more
    return SearchResult(method=method, trajectories=runs, **given)


def drawn(seed: int, steps: int = 20, lowest: int = 10) -> Trajectory:
    rng = np.random.default_rng(seed)
    seconds = np.minimum(rng.uniform(1, 8, steps), 100 / steps)
    return run(seed, rng.integers(lowest, 15_625, steps).tolist(), seconds.tolist())


def two(table: Table, count: int = 12) -> list[SearchResult]:
    return [
        result(table, "random", [drawn(s) for s in range(count)]),
        result(table, "evolution", [drawn(s, lowest=5000) for s in range(count)]),
    ]


def slow_look(result: SearchResult, axis: str, budget: float, column: np.ndarray) -> list[float] | None:
    """Test accuracies of what each run would answer with at a budget; None where one has nothing yet."""
    found = []
    for one in result.trajectories:
        spent, best, best_value = 0.0, None, -math.inf
        for number, (arch, value, seconds) in enumerate(
            zip(one.architectures, one.values, one.seconds, strict=True), start=1
        ):
            spent += seconds
            if (number if axis == "queries" else spent) <= budget and value > best_value:
                best, best_value = arch, value
        if best is None:
            return None
        found.append(column[SPACE.index(SPACE.parse(best))])
    return found


@pytest.mark.parametrize("axis", ["seconds", "queries"])
def test_curves_are_those_of_a_slow_look(table: Table, axis: str) -> None:
    results = two(table)
    data = compare(results, table)
    column = table.column(A_TEST)
    for one in results:
        curve = data.of(data.curves, "a valid accuracy, 12 epochs", str(A_TEST))
        curve = curve[(curve["axis"] == axis) & (curve["method"] == one.method)]
        assert len(curve) >= 20
        assert curve["at"].is_monotonic_increasing
        assert curve["at"].iloc[-1] == (100 if axis == "seconds" else 20)
        for row in curve.to_dict("records"):
            values = slow_look(one, axis, row["at"] + 1e-9, column)
            if values is None:
                assert math.isnan(row["mean"])
                continue
            half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
            expected = [np.mean(values), np.mean(values) - half, np.mean(values) + half, np.median(values)]
            assert [row[k] for k in ("mean", "low", "high", "median")] == pytest.approx(expected)
            assert [row["q25"], row["q75"]] == pytest.approx(np.quantile(values, [0.25, 0.75]).tolist())
        assert curve["mean"].notna().sum() >= 15


def test_the_final_table_is_that_of_the_answers(table: Table) -> None:
    results = two(table)
    data = compare(results, table)
    assert data.panels == [("a valid accuracy, 12 epochs", m) for m in ("a_test_200ep", "b_test_200ep")]
    assert data.optima == {"a_test_200ep": 15_624 / 200, "b_test_200ep": 100}
    for one in results:
        frame = recommended_accuracies(one, table, [A_TEST])
        row = data.final[(data.final["method"] == one.method) & (data.final["metric"] == str(A_TEST))].iloc[0]
        assert row["mean"] == pytest.approx(frame[str(A_TEST)].mean())
        assert row["std"] == pytest.approx(frame[str(A_TEST)].std(ddof=0))
        assert row["regret"] == pytest.approx(15_624 / 200 - row["mean"])
        assert (row["queries"], row["overhead"]) == (20, 0.5)
        assert row["seconds"] == pytest.approx(frame["seconds"].mean())
        assert (row["runs"], row["missing"]) == (12, 0)
    assert data.warnings == ["Costs are simulated."]


@pytest.mark.filterwarnings("ignore::prejudge.benchmarks.table.table.RepresentativeWarning")
def test_the_digits_benchmark() -> None:
    table = prejudge.benchmark("digits")
    objective = open_objective(table, None, None, None, None)
    results = [search.run(m, objective, Budget(seconds=3), seeds=range(15)) for m in ("random", "local-search")]
    data = compare(results, table, sources=["r.h5", "l.h5"])
    (panel,) = data.panels
    assert panel == ("digits valid accuracy, 7 epochs", "digits_test_7ep")
    assert data.methods == ["random", "local-search"]
    assert data.provenance["random"] == "r.h5: seeds 0 … 14"
    assert (data.unit, data.perfect, data.costs) == ("%", 100, "Simulated cost")
    assert any("one architecture of each class" in warning for warning in data.warnings)
    assert data.curves["mean"].max() <= data.optima["digits_test_7ep"]
    ends = data.curves[data.curves["axis"] == "seconds"].groupby("method")["mean"].last()
    assert ends.to_dict() == pytest.approx(data.final.set_index("method")["mean"].to_dict())


def test_a_pair_is_tested_over_equal_seeds(table: Table) -> None:
    first, second = two(table, 15)
    second = replace(second, trajectories=[*second.trajectories[5:], drawn(99)])
    data = compare([first, second], table)
    (test,) = data.tests[data.tests["metric"] == str(A_TEST)].to_dict("records")
    a, b = (
        dict(zip(range(15), recommended_accuracies(r, table, [A_TEST])[str(A_TEST)], strict=True))
        for r in two(table, 15)
    )
    differences = np.array([a[s] - b[s] for s in range(5, 15)])
    assert (test["first"], test["second"], test["pairs"]) == ("random", "evolution", 10)
    assert test["difference"] == pytest.approx(differences.mean())
    assert test["better"] == np.mean(differences > 0)
    assert test["p"] == test["p_holm"] == pytest.approx(wilcoxon(differences).pvalue)


def test_equal_searches_are_not_told_apart() -> None:
    values = np.array([93.1, 94.0, 92.2, np.nan])
    assert paired(values, values) == (3, 0.0, 0.5, 1.0)
    assert paired(values + 1e-13, values).p == 1.0
    assert paired(values, np.full(4, np.nan))[0] == 0
    assert math.isnan(paired(values[:0], values[:0]).p)
    many = np.arange(60.0)
    assert paired(many, many - 1) == (60, 1.0, 1.0, pytest.approx(wilcoxon(np.ones(60)).pvalue))


def test_the_test_agrees_with_all_exchanges_of_signs() -> None:
    rng = np.random.default_rng(5)
    flips = np.array(list(itertools.product([-1, 1], repeat=12)))
    for _ in range(20):
        differences = np.round(rng.normal(0.5, 1, 12), 1) * (rng.random(12) > 0.2)  # some are equal, some are 0
        ranks = np.where(differences == 0, 0, rankdata(np.abs(differences)))
        under_chance = np.abs(flips @ ranks)
        exact = np.mean(under_chance >= abs(np.sign(differences) @ ranks) - 1e-9)
        assert paired(differences, np.zeros(12)).p == pytest.approx(exact)
    rare = np.zeros(500)
    rare[:4] = [1, 2, 3, 4]  # the normal limit says .046
    assert paired(rare, np.zeros(500)).p == pytest.approx(2 / 2**4)


@pytest.mark.parametrize("count", [1, 2, 3, 9, 10])
def test_few_runs_have_a_mean_without_interval_and_nothing_in_bold(table: Table, count: int) -> None:
    data = compare(two(table, count), table, metrics=[A_TEST])
    assert data.final["mean"].notna().all()
    assert data.final[["low", "high"]].notna().all(axis=None) == (count >= 10)
    assert data.curves[["low", "high"]].notna().any(axis=None) == (count >= 10)
    (panel,) = data.panels
    told = any("means without intervals, and nothing in bold" in warning for warning in data.warnings)
    assert told == (count < 10)
    sure = replace(data, tests=data.tests.assign(p_holm=1e-6))
    assert (len(sure.leading(*panel)) == 1) == (count >= 10)
    assert "**" not in to_markdown(data if count < 10 else replace(data, tests=data.tests.assign(p_holm=1.0)))


def test_runs_that_all_end_alike_have_no_interval(table: Table) -> None:
    runs = [run(s, [7 + s, 15_000], [1, 1]) for s in range(12)]
    (row,) = compare([result(table, "m", runs)], table, metrics=[A_TEST]).final.to_dict("records")
    assert (row["mean"], row["std"]) == (75, 0)
    assert math.isnan(row["low"])
    mean, half = mean_interval(np.array([[1.0, 2.0], *[[math.nan, 3.0]] * 10]), 0.95)
    assert mean.tolist() == pytest.approx([1, 32 / 11])
    assert np.isnan(half).tolist() == [True, False]


@given(
    st.lists(st.floats(0, 1) | st.just(math.nan), max_size=8),
    st.floats(0.001, 0.999),
)
def test_holm_rejects_as_its_procedure_does(p: list[float], level: float) -> None:
    corrected = holm(np.array(p))
    left = sorted(v for v in p if not math.isnan(v))
    rejected = 0
    while rejected < len(left) and left[rejected] * (len(left) - rejected) <= level:
        rejected += 1
    assert np.isnan(corrected).tolist() == [math.isnan(v) for v in p]
    below = sorted(v for v, c in zip(p, corrected, strict=True) if c <= level)
    assert below == left[:rejected]


def test_an_untrained_architecture_is_counted_and_left_out(table: Table) -> None:
    runs = [run(s, [7, UNTRAINED, 5], [10, 10, 10], [1.0, 2.0, 3.0 if s else 0.0]) for s in range(4)]
    data = compare([result(table, "mine", runs)], table, metrics=[A_TEST])
    (row,) = data.final.to_dict("records")
    assert (row["runs"], row["missing"]) == (4, 1)
    assert (row["mean"], row["std"]) == pytest.approx((5 / 200, 0))
    assert any("1 of 4 runs of mine have no a_test_200ep" in warning for warning in data.warnings)
    curve = data.curves[data.curves["axis"] == "queries"].set_index("at")["mean"]
    assert curve.to_dict() == pytest.approx({1.0: 7 / 200, 2.0: math.nan, 3.0: 5 / 200}, nan_ok=True)


def test_failed_evaluations_never_win_and_a_curve_begins_with_the_last_run(table: Table) -> None:
    runs = [run(0, [50, 60], [1, 1], [math.nan, 1.0]), run(1, [70, 80], [1, 1])]
    data = compare([result(table, "mine", runs, seconds=10.0)], table, metrics=[A_TEST])
    assert data.final["mean"].tolist() == pytest.approx([70 / 200])
    curve = data.curves[data.curves["axis"] == "queries"].set_index("at")["mean"]
    assert curve.to_dict() == pytest.approx({2.0: 70 / 200})
    curve = data.curves[data.curves["axis"] == "seconds"]
    assert (curve["at"].iloc[0], curve["at"].iloc[-1]) == (2, 10), "a run that has ended keeps what it had"


def test_different_budgets_are_compared_at_the_smallest(table: Table) -> None:
    long = result(table, "long", [run(s, [10, 20, 9000 + s], [30, 30, 100]) for s in range(10)], seconds=200.0)
    short = result(table, "short", [run(s, [15, 12], [30, 30]) for s in range(10)], seconds=80.0)
    data = compare([long, short], table, metrics=[A_TEST])
    rows = data.final.set_index("method")
    assert rows["mean"].to_dict() == pytest.approx({"long": 20 / 200, "short": 15 / 200})
    assert rows["queries"].to_dict() == {"long": 2, "short": 2}
    assert rows["seconds"].to_dict() == {"long": 60, "short": 60}
    assert data.limits == {"a valid accuracy, 12 epochs": ("seconds", 80.0)}
    assert data.protocol["budget of each run"] == "200 s; 80 s"
    assert any("different budgets" in warning for warning in data.warnings)
    ends = data.curves[data.curves["axis"] == "seconds"].groupby("method")["at"].max()
    assert ends.to_dict() == {"long": 200, "short": 80}
    counted = replace(short, budget={"queries": 2, "seconds": None, "overshoot": False})
    assert compare([long, counted], table).limits == {"a valid accuracy, 12 epochs": ("seconds", 60.0)}
    queries = [replace(r, budget={"queries": q, "seconds": None}) for r, q in ((long, 3), (short, 2))]
    assert compare(queries, table).limits == {"a valid accuracy, 12 epochs": ("queries", 2.0)}


def test_an_answer_of_its_own_is_judged_but_not_drawn(table: Table) -> None:
    runs = [run(s, [10, 20], [1, 1], recommendation=texts(500)[0]) for s in range(3)]
    data = compare([result(table, "policy", runs)], table, metrics=[A_TEST])
    assert data.final["mean"].tolist() == pytest.approx([500 / 200])
    assert data.curves["mean"].max() == pytest.approx(20 / 200)
    assert any("3 of 3 runs of policy recommended another architecture" in warning for warning in data.warnings)


def test_runs_of_one_search_in_several_files_belong_together(table: Table) -> None:
    parts = [result(table, "random", [drawn(s) for s in seeds]) for seeds in (range(4), range(4, 9))]
    data = compare(parts, table, sources=["1.h5", "2.h5"])
    assert data.final["runs"].tolist() == [9, 9]
    assert data.provenance["random"] == "1.h5, 2.h5: seeds 0 … 8"
    with pytest.raises(InputError, match=r"^b\.h5 repeats 4 of the runs of a\.h5 \(random, seed 0 …\); leave one"):
        compare([parts[0], parts[0]], table, sources=["a.h5", "b.h5"])


def test_labels_say_what_differs(table: Table) -> None:
    first, second = (result(table, "e", [drawn(1)], options={"sample": s, "population": 10}) for s in (3, 5))
    third = replace(second, budget={"queries": 7, "seconds": 10.0, "overshoot": True})
    (comparison,) = group_results([first, second, third], table)
    assert [c.label for c in comparison.searches] == [
        "e(sample=3), 100 s",
        "e(sample=5), 100 s",
        "e(sample=5), 7 queries and at most 10 s, the last evaluation may end later",
    ]
    assert compare([first, second], table).descriptions["e(sample=5)"] == "sample=5, population=10"


def test_each_dataset_is_shown_with_the_searches_on_it(table: Table) -> None:
    results = [result(table, m, [drawn(s) for s in range(3)], dataset=d) for d in "ab" for m in ("random", "other")]
    data = compare(results, table)
    assert data.panels == [
        ("a valid accuracy, 12 epochs", "a_test_200ep"),
        ("b valid accuracy, 12 epochs", "b_test_200ep"),
    ]
    assert data.methods == ["random", "other"]
    assert data.protocol["budget of each run"] == "100 s"
    assert data.protocol["maximized (a)"] == "a valid accuracy, 12 epochs, the mean over training runs"
    assert len(compare(results, table, metrics=[B_TEST, A_TEST]).panels) == 4


def test_a_pruning_takes_part_with_its_answers(table: Table) -> None:
    pruned = result(
        table, "te-nas", [run(s, [300 + s], [40.0], [math.nan]) for s in range(6)], budget={},
        objective={"kind": "pruning", "data": {"name": "digits"}},
    )  # fmt: skip
    data = compare([*two(table), pruned], table, metrics=[A_TEST])
    row = data.final[data.final["method"] == "te-nas"].iloc[0]
    assert row["mean"] == pytest.approx(302.5 / 200)
    assert math.isnan(row["queries"])
    curve = data.curves[(data.curves["method"] == "te-nas") & (data.curves["axis"] == "seconds")]
    shown = curve[curve["mean"].notna()]
    assert (shown["at"].min(), shown["at"].max()) == (40, 100)
    assert shown["mean"].unique() == pytest.approx([302.5 / 200])
    assert any("te-nas evaluated nothing that was trained" in warning for warning in data.warnings)
    assert not data.limits
    alone = compare([pruned], table)
    assert alone.searched == ["no trained accuracy, images of digits"]
    assert alone.costs == "Cost"


def test_what_costs_nothing_is_drawn_by_queries_alone(table: Table) -> None:
    free = replace(result(table, "mine", [run(s, [10, 20, 30], [0, 0, 0]) for s in range(3)]), budget={"queries": 3})
    assert set(compare([free], table).curves["axis"]) == {"queries"}


def test_a_result_is_refused_with_its_name_and_the_reason(table: Table) -> None:
    (one, _) = two(table, 2)

    def objective(**what: Any) -> SearchResult:
        return replace(one, method="other", objective=one.objective | what)

    def refused(*results: SearchResult) -> str:
        with pytest.raises(InputError) as caught:
            compare(results, table, sources=["a.h5", "b.h5"][: len(results)])
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert refused() == "no search result to compare; give at least one"
    assert refused(one, replace(one, space="darts")).startswith("b.h5 searched darts, table t is of nasbench201;")
    assert refused(objective(digest="beef", table="u")).startswith("a.h5 searched table u (beef), not t (")
    assert refused(one, objective(split="test", epochs=200)) == (
        "a.h5 maximized a valid accuracy, 12 epochs, b.h5 a test accuracy, 200 epochs; "
        "compare searches of the same objective"
    )
    assert "(seed mean), b.h5 a valid accuracy, 12 epochs (seed random)" in refused(one, objective(seed="random"))
    live = replace(one, method="live", objective={"proxy": "synflow", "data": "digits"})
    assert refused(one, live).startswith("b.h5 maximized synflow of untrained networks, digits, a.h5 a valid accuracy,")
    assert "b.h5 snip of untrained" in refused(live, replace(live, objective={"proxy": "snip", "data": "digits"}))
    compare([one, objective(note="told otherwise", table="other name")], table)
    with pytest.raises(InputError, match="has no"):
        compare([one], table, metrics=[Metric("c", "test", 200)])


def test_before_the_first_value_there_is_nothing(table: Table) -> None:
    progress = Incumbents(result(table, "m", [run(0, [1, 2], [5, 5], [math.nan, 1.0])]))
    assert progress.at("seconds", np.array([0, 5, 9.9, 10, 50])).tolist() == [[-1, -1, -1, 0, 0]]
    assert progress.begin("seconds") == 10
    assert progress.begin("queries") == 2
    queries, seconds = progress.used("seconds", 7)
    assert (queries.tolist(), seconds.tolist()) == ([1], [5.0])


def test_thousands_of_runs_take_seconds(table: Table) -> None:
    rng = np.random.default_rng(0)
    runs = [run(s, rng.integers(10, 15_625, 130).tolist(), [0.7] * 130) for s in range(500)]
    results = [result(table, f"m{k}", runs) for k in range(6)]
    start = time.perf_counter()
    compare(results, table)
    assert time.perf_counter() - start < 10


def test_no_torch(tmp_path: Path) -> None:
    code = "import sys, prejudge.search.comparison; assert not {'torch', 'pandas', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
