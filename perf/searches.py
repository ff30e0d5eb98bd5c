"""Query-based searches on the real NAS-Bench-201 accuracies, as its paper ran them. Writes ``results/searches.json``.

    PREJUDGE_TEST_DATA=../shared python perf/searches.py

Each run searches on CIFAR-10 with the validation accuracy after 12 epochs, for 12,000 simulated seconds, and reports
the accuracies of its answer after 200 epochs (means over the training runs). Unlike the paper's scripts, which drew one
training run for each question, the 12-epoch accuracies are means, and the validation's own seconds are not counted: the
file has neither.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment

from prejudge import search
from prejudge.benchmarks import Metric, Table, import_csv, open_table
from prejudge.search import Budget, TableObjective

SECONDS = 12_000
DATASETS = ("cifar10", "cifar100", "imagenet16")
METRICS = [Metric(dataset, split, 200) for dataset in DATASETS for split in ("valid", "test")]
TARGETS = {
    "evolution_500_seeds_wall_seconds_on_2_cores": "<= 20",
    "test_mean_minus_published": {"cifar10": "within 0.2", "cifar100": "within 0.6", "imagenet16": "within 0.7"},
}
PUBLISHED = {
    # Dong & Yang, ICLR 2020: mean and deviation of 500 runs, in the order of METRICS
    "random": ((90.93, 0.36), (93.70, 0.36), (70.93, 1.09), (71.04, 1.07), (44.45, 1.10), (44.57, 1.25)),
    "evolution": ((91.19, 0.31), (93.92, 0.30), (71.81, 1.12), (71.84, 0.99), (45.15, 0.89), (45.54, 1.03)),
    "reinforce": ((91.09, 0.37), (93.85, 0.37), (71.61, 1.12), (71.71, 1.09), (45.05, 1.02), (45.24, 1.18)),
    "bohb(ignore_epochs=True, kernel='statsmodels')": (
        (90.82, 0.53), (93.61, 0.52), (70.74, 1.29), (70.85, 1.28), (44.26, 1.36), (44.42, 1.49),
    ),
}  # fmt: skip
OTHERS = (
    "local-search",
    "local-search(first_improvement=False)",
    "reinforce(recommend='policy')",
    "bohb(ignore_epochs=True)",
    "bohb(ignore_epochs=True, min_epochs=12)",
    "evolution(warmup=3000, proxy='flops')",
    "evolution(proposal=0.75, proxy='flops')",
    "evolution(population=64, sample=10)",
    "evolution(population=64, sample=10, warmup=3000, proposal=0.75, proxy='flops')",
)
"""Without a published figure under this budget. FLOPs stand in for a proxy: no scores of the whole space are here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "searches.json")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2, help="for the runs after the first measurement (default: 2)")
    options = parser.parse_args()
    data = os.environ.get("PREJUDGE_TEST_DATA")
    if not data:
        sys.exit("PREJUDGE_TEST_DATA is not set: it names the folder with data/nas_bench_201.csv.gz")
    with tempfile.TemporaryDirectory() as folder:
        table = open_table(import_csv(Path(data) / "data" / "nas_bench_201.csv.gz", Path(folder) / "table.h5"))
        objective = TableObjective(table, "cifar10", 12)
        alone = _searched("evolution", objective, table, options.seeds, 1)
        found = {m: _searched(m, objective, table, options.seeds, options.workers) for m in (*PUBLISHED, *OTHERS)}
        optimum = {str(m): round(float(table.column(m).max()), 3) for m in METRICS}
    result = {
        "environment": environment(),
        "objective": {k: v for k, v in objective.describe().items() if k != "digest"},
        "budget_seconds": SECONDS,
        "seeds": options.seeds,
        "targets": TARGETS,
        "optimum": optimum,
        "evolution_in_one_process": {k: alone[k] for k in ("wall_seconds", "overhead_us_per_query")},
        "measured": found,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")


def _searched(method: str, objective: TableObjective, table: Table, seeds: int, workers: int) -> dict[str, Any]:
    start = time.perf_counter()
    runs = search.run(method, objective, Budget(seconds=SECONDS), seeds=range(seeds), workers=workers).trajectories
    wall = time.perf_counter() - start
    queries = sum(len(run.values) for run in runs)
    found: dict[str, Any] = {
        "wall_seconds": round(wall, 2),
        "workers": workers,
        "queries_per_run": round(queries / seeds, 1),
        "simulated_seconds_per_run": round(float(np.mean([run.seconds.sum() for run in runs])), 1),
        "overhead_us_per_query": round(sum(run.overhead for run in runs) / queries * 1e6, 1),
    }
    for number, metric in enumerate(METRICS):
        values = table.query_many([run.recommendation for run in runs], metric)
        found[str(metric)] = {"mean": round(float(values.mean()), 3), "std": round(float(values.std()), 3)}
        if method in PUBLISHED:
            mean, std = PUBLISHED[method][number]
            found[str(metric)] |= {"published": [mean, std], "difference": round(float(values.mean()) - mean, 3)}
    tests = "  ".join(f"{found[str(m)]['mean']:.2f} ± {found[str(m)]['std']:.2f}" for m in METRICS if m.split == "test")
    print(f"{method:80} {wall:6.2f} s  {found['queries_per_run']:6.1f} queries  test {tests}", flush=True)
    return found


if __name__ == "__main__":
    main()
