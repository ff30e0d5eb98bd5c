"""The figures of NAS-Bench-201's paper, on the real accuracies: 12,000 simulated seconds on CIFAR-10, means of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from prejudge import search
from prejudge.benchmarks import Table, import_csv, open_table
from prejudge.search import Budget
from prejudge.search.objectives import TableObjective

SEEDS = range(150)  # the standard error of a mean is a twelfth of the deviation
TOLERANCE = {"cifar10": 0.2, "cifar100": 0.6, "imagenet16": 0.7}


@pytest.fixture(scope="module")
def table(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    path = tmp_path_factory.mktemp("table") / "nasbench201.h5"
    return open_table(import_csv(test_data / "data" / "nas_bench_201.csv.gz", path))


@pytest.mark.parametrize(
    ("method", "published"),
    [
        ("random", (93.70, 71.04, 44.57)),
        ("evolution", (93.92, 71.84, 45.54)),
        ("reinforce", (93.85, 71.71, 45.24)),
        ("bohb(ignore_epochs=True, kernel='statsmodels')", (93.61, 70.85, 44.42)),
    ],
)
def test_test_accuracies_are_the_published_ones(method: str, published: tuple[float, ...], table: Table) -> None:
    result = search.run(method, TableObjective(table, "cifar10", 12), Budget(seconds=12_000), seeds=SEEDS)
    answers = [run.recommendation for run in result.trajectories]
    for (dataset, tolerance), expected in zip(TOLERANCE.items(), published, strict=True):
        mean = float(table.query_many(answers, f"{dataset}_test_200ep").mean())
        assert mean == pytest.approx(expected, abs=tolerance), dataset


def test_a_table_without_curves_has_nothing_to_race_on(table: Table) -> None:
    with pytest.raises(ValueError, match="the objective has: none can be chosen; take a table with learning curves"):
        search.run("hyperband", TableObjective(table, "cifar10", 12), Budget(seconds=12_000))
