"""What a score costs to keep, from 1,000 architectures to all 423,624 of NAS-Bench-101. Writes ``results/scale.json``.

    PREJUDGE_TEST_DATA=../shared OMP_NUM_THREADS=1 python perf/scale.py
    python perf/scale.py --table                     # the kept figures as Markdown

Texts and accuracies are NAS-Bench-101's; without ``PREJUDGE_TEST_DATA`` the accuracies are drawn at random. Scores are
drawn at random: twelve proxies that follow the accuracy more or less, of which one gives few distinct values and each
fails for 0.2 % of the architectures. Every step runs in its own process. Processor seconds are those of the step alone,
without imports, and of ``report`` those of the whole command; peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environment import environment

if TYPE_CHECKING:
    import numpy as np

    from prejudge.cache import Protocol, ScoreCache

RESULTS = Path(__file__).parent / "results" / "scale.json"
ROWS = (1_000, 10_000, 100_000, 423_624)
PROXIES = (
    "synflow", "jacob_cov", "snip", "grad_norm", "fisher", "grasp", "plain", "naswot", "zen", "epe_nas", "ntk_trace",
    "linear_regions",
)  # fmt: skip
FAILED = 0.002
REASON = "the kernel is singular"
MORE = 2_000
TOGETHER = ["grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov", "naswot", "ntk_trace", "ntk_condition"]
"""The scores of zero-cost-nas and HNAS."""
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "nasbench201": (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
        {},
    ),
    "nasbench101": (
        "100000.11000.0011.101.01.1:conv1x1,conv3x3,conv1x1,conv3x3,conv1x1",
        {"channels": 32, "cells": 1, "form": "zero-cost-nas"},
    ),
}
NO_KERNEL = {
    "view", "as_strided", "reshape", "expand", "permute", "transpose", "t", "slice", "select", "unsqueeze", "squeeze",
    "detach", "alias", "empty", "empty_like", "empty_strided", "resize_", "unfold", "narrow", "_unsafe_view", "split",
    "chunk", "unbind", "view_as", "flatten", "lift_fresh", "expand_as", "diagonal", "result_type", "new_empty",
    "contiguous", "to", "movedim", "broadcast_to", "resolve_conj", "resolve_neg", "item", "zeros", "ones",
}  # fmt: skip
"""Operators that only look at what is there, or hand on to another."""
TARGETS = {"report of 423,624": "<= 60 s, <= 2 GB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--folder", type=Path, help="where the caches go, and stay; a temporary one if left out")
    parser.add_argument("--only", nargs="+", choices=STEPS, help="only these steps, on the files that --folder has")
    parser.add_argument("--operators", action="store_true", help="count the operators of one architecture's scores")
    parser.add_argument("--table", action="store_true", help="print the kept figures and measure nothing")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        for module in ("h5py", "pandas"):  # whose import is no step's cost
            importlib.import_module(module)
        print(json.dumps(STEPS[options.step](options.folder, options.rows[0])))
    elif options.table:
        print(table(json.loads(options.out.read_text())["measured"]))
    elif options.operators:
        content = json.loads(options.out.read_text()) if options.out.exists() else {}
        options.out.write_text(json.dumps(_rounded(content | {"operators": operators()}), indent=1) + "\n")
    elif options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        measure(options.folder, options.rows, options.only or list(STEPS), options.out)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), options.rows, options.only or list(STEPS), options.out)


def measure(folder: Path, sizes: list[int], steps: list[str], out: Path) -> None:
    """Take each step at each size, and keep its figures at once."""
    kept = json.loads(out.read_text()) if out.exists() else {}
    found = {(m["step"], m["rows"]): m for m in kept.get("measured", [])}
    for rows in sizes:
        for step in steps:
            start, load = time.perf_counter(), os.getloadavg()[0]
            command = [sys.executable, __file__, "--step", step, "--rows", str(rows), "--folder", str(folder)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            said = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            if status:
                sys.exit(f"{step} of {rows} rows failed")
            figures = {"seconds": time.perf_counter() - start, "peak_mb": usage.ru_maxrss / 1024, "load": load}
            found[step, rows] = {"step": step, "rows": rows, **figures, **json.loads(said)}
            print(found[step, rows], flush=True)
            content = {"environment": environment(), "threads": 1, "targets": TARGETS, "measured": list(found.values())}
            out.write_text(json.dumps(_rounded(content), indent=1) + "\n")


def operators() -> list[dict[str, Any]]:
    """Operators that compute something, in one architecture's scores: on a GPU about as many kernels are started.

    Counted on the CPU with 8 images; the number depends on layers and passes, hardly on images and channels.
    """
    import torch

    from prejudge.proxies.scoring import score
    from prejudge.spaces import space

    found = []
    for name, (text, macro) in NETWORKS.items():
        network, images = space(name).network(space(name).parse(text), **macro), torch.randn(8, 3, 32, 32)
        for proxies in (TOGETHER, [p for p in TOGETHER if p != "grasp"]):
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                score(network, images, torch.arange(8), proxies)
            events = [e for e in profile.events() if _computes(e) and not any(map(_computes, e.cpu_children))]
            found.append(
                {"space": name, "architecture": text, "macro": macro, "proxies": proxies, "count": len(events)}
            )
            print(found[-1], flush=True)
    return found


def _computes(event: Any) -> bool:
    library, _, operator = event.name.partition("::")
    return library == "aten" and operator not in NO_KERNEL


def table(measured: list[dict[str, Any]]) -> str:
    """Processor microseconds per row, and seconds, by step and size, as Markdown."""
    sizes = sorted({m["rows"] for m in measured})
    found = {(m["step"], m["rows"]): m for m in measured}
    heads = "".join(f" {n:,} |" for n in sizes)
    lines = [f"| CPU µs per row |{heads} s, all | clock s | load | peak MB |", "|---|" + "---:|" * (len(sizes) + 4)]
    for step in dict.fromkeys(m["step"] for m in measured if m["step"] != "table"):  # that is imported once
        cells = [found.get((step, n)) for n in sizes]
        per_row = [f"{1e6 * c['cpu_seconds'] / c.get('of', c['rows']):,.1f}" if c else "" for c in cells]
        last = found.get((step, sizes[-1]), {"cpu_seconds": 0, "seconds": 0, "load": 0, "peak_mb": 0})
        all_of_it = [f"{last[k]:,.1f}" for k in ("cpu_seconds", "seconds", "load")] + [f"{last['peak_mb']:,.0f}"]
        lines.append(f"| {step} | " + " | ".join(per_row + all_of_it) + " |")
    return "\n".join(lines)


# -- steps: each is given the folder and the number of rows, and returns its figures --------------------------------


def make_table(folder: Path, rows: int) -> dict[str, Any]:
    """The benchmark table of all 423,624; the same whatever the rows."""
    from prejudge.benchmarks import Metric, write_table
    from prejudge.benchmarks.importers.npz import import_npz

    path, data = folder / "table.h5", os.environ.get("PREJUDGE_TEST_DATA")
    if path.exists():
        return {"cpu_seconds": 0.0, "source": "made before"}
    if data:
        return _timed(lambda: import_npz(Path(data) / "data" / "nas_bench_101.npz", path)) | {"source": "npz"}
    import numpy as np

    from prejudge.spaces import space

    where = space("nasbench101")
    archs = [str(a) for a in where]  # type: ignore[attr-defined]
    random = np.random.default_rng(0).integers(800_000, 943_000, len(archs)) / 10_000
    columns = {Metric("cifar10", "test", 108): random}
    return _timed(lambda: write_table(path, "nasbench101", columns, architectures=archs)) | {"source": "random"}


def append(folder: Path, rows: int) -> dict[str, Any]:
    """Half of the rows into a new cache, one after the other, and the other half into another."""
    texts, values, failed = _scores(folder, rows)
    return [_fill(_file(folder, rows, f"-{i}"), texts[i::2], values[i::2], failed[i::2]) for i in (0, 1)][1]


def merge(folder: Path, rows: int) -> dict[str, Any]:
    """The two halves into a new cache, which the other steps use."""
    from prejudge.cache import ScoreCache

    path = _file(folder, rows)
    path.unlink(missing_ok=True)

    def both() -> None:
        with ScoreCache(path) as cache:
            cache.merge(_file(folder, rows, "-0"), _file(folder, rows, "-1"))

    return _timed(both) | {"bytes": path.stat().st_size}


def open_to_read(folder: Path, rows: int) -> dict[str, Any]:
    from prejudge.cache import ScoreCache

    return _timed(lambda: ScoreCache(_file(folder, rows), "r"))


def append_more(folder: Path, rows: int) -> dict[str, Any]:
    """More rows into a cache that has all rows already, without opening and closing it."""
    from prejudge.cache import ScoreCache

    path = Path(shutil.copy(_file(folder, rows), _file(folder, rows, "-more")))
    _, values, failed = _scores(folder, rows)
    with ScoreCache(path) as cache:
        number = min(MORE, rows)
        texts = [f"another {i}" for i in range(number)]
        figures = _timed(lambda: _put_all(cache, _protocol(), texts, values[:number], failed[:number], run=0))
    path.unlink()
    return figures | {"of": number}


def commit(folder: Path, rows: int) -> dict[str, Any]:
    """Writing all rows into the file again, as a writer does after every so many megabytes of journal."""
    from prejudge.cache import ScoreCache

    path = Path(shutil.copy(_file(folder, rows), _file(folder, rows, "-more")))
    with ScoreCache(path) as cache:
        figures = _timed(cache.compact)
    path.unlink()
    return figures


def missing_all(folder: Path, rows: int) -> dict[str, Any]:
    """What is to be computed, where there is nothing yet."""
    return _missing(_file(folder, rows, "-none"), _scores(folder, rows)[0])


def missing_half(folder: Path, rows: int) -> dict[str, Any]:
    """What is to be computed, after a run that was stopped half-way."""
    return _missing(_file(folder, rows, "-0"), _scores(folder, rows)[0])


def frame(folder: Path, rows: int) -> dict[str, Any]:
    from prejudge.cache import ScoreCache

    return _timed(ScoreCache(_file(folder, rows), "r").frame)


def verify(folder: Path, rows: int) -> dict[str, Any]:
    from prejudge.cache import verify as check

    problems: list[str] = []
    figures = _timed(lambda: problems.extend(check(_file(folder, rows))))
    assert not problems, problems
    return figures


def correlate(folder: Path, rows: int) -> dict[str, Any]:
    """All correlations with their intervals, from an open cache and table."""
    from prejudge.benchmarks import correlate as run
    from prejudge.benchmarks import open_table
    from prejudge.cache import ScoreCache

    cache, against = ScoreCache(_file(folder, rows), "r"), open_table(folder / "table.h5")
    return _timed(lambda: run(cache, against))


def report(folder: Path, rows: int) -> dict[str, Any]:
    """The whole command, from its start to the written page."""
    page = folder / f"{rows}.html"
    command = [sys.executable, "-m", "prejudge", "report", str(_file(folder, rows))]
    command += ["--benchmark", str(folder / "table.h5"), "--out", str(page)]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(said)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "page_bytes": page.stat().st_size,
    }


STEPS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "table": make_table,
    "append": append,
    "merge": merge,
    "open": open_to_read,
    "append to all": append_more,
    "commit": commit,
    "missing, nothing there": missing_all,
    "missing, half there": missing_half,
    "frame": frame,
    "verify": verify,
    "correlate": correlate,
    "report": report,
}


# -- what steps share -------------------------------------------------------------------------------------------------


def _timed(function: Callable[[], object]) -> dict[str, float]:
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return {"cpu_seconds": time.process_time() - processor, "seconds": time.perf_counter() - clock}


def _file(folder: Path, rows: int, suffix: str = "") -> Path:
    return folder / f"scores-{rows}{suffix}.h5"


def _protocol() -> Protocol:
    from prejudge.cache import Protocol
    from prejudge.spaces import space

    return Protocol("nasbench101", space("nasbench101").default_macro, data="random", batch_size=64)


def _scores(folder: Path, rows: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts, spread over the table; scores ``(rows, proxies)``, and which of them failed."""
    import numpy as np

    from prejudge.benchmarks import open_table

    source = open_table(folder / "table.h5")
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(source.architectures))[:rows])
    accuracy = source.column(source.metrics()[0])[chosen]
    values = (accuracy - accuracy.mean()) / accuracy.std()
    values = values[:, None] + rng.normal(size=(rows, len(PROXIES))) * np.linspace(0.5, 5, len(PROXIES))
    values[:, -1] = np.round(3 * values[:, -1])
    return [str(source.architectures[i]) for i in chosen.tolist()], values, rng.random(values.shape) < FAILED


def _fill(path: Path, texts: list[str], values: np.ndarray, failed: np.ndarray) -> dict[str, Any]:
    from prejudge.cache import ScoreCache

    def fill() -> None:
        with ScoreCache(path) as cache:
            for name in PROXIES:
                cache.declare(_protocol(), name, {"proxy": name, "version": 1})
            _put_all(cache, _protocol(), texts, values, failed, cache.begin_run())

    path.unlink(missing_ok=True)
    return _timed(fill) | {"of": len(texts), "bytes": path.stat().st_size}


def _put_all(
    cache: ScoreCache, protocol: Protocol, texts: list[str], values: np.ndarray, failed: np.ndarray, run: int
) -> None:
    from prejudge.proxies.score import Score

    for text, row, lost in zip(texts, values.tolist(), failed.tolist(), strict=True):
        scores = [Score.failed(REASON, 0.1) if f else Score(v, seconds=0.1) for v, f in zip(row, lost, strict=True)]
        cache.put(protocol, text, dict(zip(PROXIES, scores, strict=True)), run=run)


def _missing(path: Path, texts: list[str]) -> dict[str, Any]:
    from prejudge.cache import ScoreCache

    with ScoreCache(path) as cache:
        return _timed(lambda: cache.missing(_protocol(), texts, PROXIES))


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return float(f"{content:.4g}") if isinstance(content, float) else content


if __name__ == "__main__":
    main()
