"""The main job on a small scale, from nothing but this package: score, cache, correlate, report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prejudge.benchmarks.table.library import benchmark
from prejudge.benchmarks.training.table_recipe import DIGITS_RECIPE
from prejudge.cache import Protocol, ScoreCache, fill
from prejudge.engine import Progress
from prejudge.errors import InputError
from prejudge.formats.atomic import make_folder
from prejudge.pipeline.score_report import report_data
from prejudge.proxies.registry import default_names
from prejudge.report import ReportData, write_report
from prejudge.spaces import require_enumerable, space

TABLE = "digits"
MACRO = dict(DIGITS_RECIPE.macro)
"""The networks whose training made the table."""


@dataclass(frozen=True)
class Demo:
    """The results of a demo.

    Attributes:
        cache: The score cache.
        report: The HTML page.
        protocol: How the scores were computed.
        data: The content of the report.
        architectures: Architectures that were asked for.
        computed: Architectures that were scored in this run; the others' scores were there.
        seconds: Duration of this run.
    """

    cache: Path
    report: Path
    protocol: Protocol
    data: ReportData
    architectures: int
    computed: int
    seconds: float


def run_demo(
    folder: Path,
    *,
    architectures: int = 150,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Demo:
    """Score a sample of NAS-Bench-201 on scikit-learn's digits, and compare with the embedded table of accuracies.

    Run again in the same folder, it computes nothing twice; with more architectures, only the additional ones.

    Args:
        folder: Where ``scores.h5`` and ``report.html`` go; it is made if need be.
        architectures: How many are scored, each of another class of equivalent cells, connected or not.
        workers: Processes.
        seed: Of the sample, the initializations and the batch.
        progress: Called after each architecture, as :func:`prejudge.fill` does.

    Returns:
        The files and the content of the report.

    Raises:
        InputError: Fewer architectures than a correlation needs, or more than there are classes.
        PrejudgeError: The folder cannot be written.
    """
    from prejudge.data.loading import load

    start = time.perf_counter()
    table = benchmark(TABLE)
    where = require_enumerable(space(table.space))
    trained = where.unique()
    if not 10 <= architectures <= len(trained):
        raise InputError(f"the demo takes 10 to {len(trained)} architectures, not {architectures}")
    # A prefix of one permutation: a larger demo continues a smaller one.
    sample = [trained[i] for i in np.random.default_rng(seed).permutation(len(trained))[:architectures]]
    make_folder(folder)
    computed = 0

    def count(done: int, total: int, seconds: float) -> None:
        nonlocal computed
        computed = done
        if progress is not None:
            progress(done, total, seconds)

    with ScoreCache(folder / "scores.h5") as cache:
        protocol = fill(
            cache,
            where,
            sample,
            load(TABLE),
            default_names(),
            workers=workers,
            seed=seed,
            macro=MACRO,
            progress=count,
        )
        data = report_data(cache, table, protocol=protocol, title="prejudge demo: NAS-Bench-201 on the digits")
    report = write_report(data, folder / "report.html")
    return Demo(folder / "scores.h5", report, protocol, data, architectures, computed, time.perf_counter() - start)
