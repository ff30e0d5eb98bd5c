"""Cost of benchmark tables: opening, memory, queries, correlation. Writes ``results/tables.json``.

    PREJUDGE_TEST_DATA=../shared python perf/tables.py

Without ``PREJUDGE_TEST_DATA`` a table of random accuracies of the same size stands in for NAS-Bench-201's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from environment import environment

from prejudge.benchmarks import Metric, Table, correlate, import_csv, open_table, write_table
from prejudge.benchmarks.statistics.rank_statistics import bootstrap_spearman
from prejudge.benchmarks.statistics.ranking import TiedRanking
from prejudge.spaces import space

METRIC = Metric("cifar10", "test", 200)
TARGETS = {
    "open_ms": "< 50",
    "open_rss_mb": "< 50",
    "query_text_us": "< 5",
    "query_cell_us": "< 5",
    "query_many_per_second": ">= 10e6",
}

_OPENING = """
import json, sys, time
import h5py, numpy
from prejudge.benchmarks import open_table
from prejudge.spaces import space
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
before = rss(); start = time.perf_counter()
table = open_table(sys.argv[1])
opened = time.perf_counter() - start; after = rss()
start = time.perf_counter(); table.query(sys.argv[2], "cifar10_test_200ep"); first = time.perf_counter() - start
queried = rss()
for metric in table.metrics(): table.column(metric)
print(json.dumps({"open_ms": opened * 1e3, "open_rss_mb": after - before, "first_query_ms": first * 1e3,
                  "first_query_rss_mb": queried - before, "all_columns_rss_mb": rss() - before}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tables.json")
    parser.add_argument("--proxies", type=int, default=10, help="scores in the correlation (default: 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, source = _table(Path(folder))
        found: dict[str, Any] = {"table": source, "file_bytes": path.stat().st_size}
        found |= _opening(path)
        found |= _queries(open_table(path))
        found |= _correlation(open_table(path), options.proxies)
    result = {"environment": environment(), "targets": TARGETS, "measured": found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _table(folder: Path) -> tuple[Path, str]:
    data = os.environ.get("PREJUDGE_TEST_DATA")
    if data:
        source = Path(data) / "data" / "nas_bench_201.csv.gz"
        start = time.perf_counter()
        path = import_csv(source, folder / "table.h5")
        return path, f"{source.name}, imported in {time.perf_counter() - start:.2f} s"
    rng = np.random.default_rng(0)
    names = [(d, s, e) for d in ("cifar10", "cifar100", "imagenet16") for s in ("valid", "test") for e in (12, 200)]
    columns = {Metric(*n): rng.integers(100_000, 940_000, 15625) / 10_000 for n in names}
    return write_table(folder / "table.h5", "nasbench201", columns), "random accuracies"


def _opening(path: Path) -> dict[str, float]:
    """In fresh processes, with h5py and numpy imported before."""
    runs = []
    for _ in range(5):
        command = [sys.executable, "-c", _OPENING, str(path), str(space("nasbench201")[7])]
        runs.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def _queries(table: Table) -> dict[str, float]:
    where = space("nasbench201")
    cells = [where.parse(list(cell.edges), notation="official") for cell in where]  # other objects than the space's own
    texts = [str(cell) for cell in cells]
    ask = {"dataset": "cifar10", "split": "test", "epochs": 200}
    found = {}
    for name, archs in (("text", texts), ("cell", cells), ("index", list(range(len(where))))):

        def all_once(archs: list[Any] = archs) -> None:
            for arch in archs:
                table.query(arch, **ask)

        start = time.perf_counter()
        all_once()
        found[f"query_{name}_first_us"] = (time.perf_counter() - start) / len(archs) * 1e6
        found[f"query_{name}_us"] = _median(all_once) / len(archs) * 1e6
    index = np.random.default_rng(0).integers(len(where), size=1_000_000)
    found["query_many_per_second"] = len(index) / _median(lambda: table.query_many(index, METRIC))
    found["query_many_texts_per_second"] = len(texts) / _median(lambda: table.query_many(texts, METRIC))
    return {key: round(value, 3) for key, value in found.items()}


def _correlation(table: Table, proxies: int) -> dict[str, float]:
    """Scores made of the accuracies and noise: all 15,625 architectures, three strata, 1,000 resamples."""
    rng = np.random.default_rng(0)
    truth = pd.Series(table.column(METRIC)).rank().to_numpy()
    names = ["synflow", "jacob_cov", "snip", *(f"proxy{i}" for i in range(proxies - 3))]
    noise = np.linspace(2_000, 20_000, proxies)
    scores = pd.DataFrame(
        {n: truth + s * rng.normal(size=len(truth)) for n, s in zip(names, noise, strict=True)},
        index=[str(a) for a in table.architectures],
    )
    start = time.perf_counter()
    rows = correlate(scores, table, metrics=METRIC)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    large = rng.normal(size=(2, 423_624))
    x, y = (TiedRanking.of(values) for values in large)
    bootstrap_spearman([x], [y], resamples=20, seed=0)
    per_column = (time.perf_counter() - start) / 20 / 2 * 1000
    return {
        "correlate_15625_seconds": round(seconds, 2),
        "correlate_15625_rows": len(rows),
        "correlate_15625_proxies": proxies,
        "bootstrap_423624_seconds_per_column_of_1000_resamples": round(per_column, 1),
    }


def _median(function: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
