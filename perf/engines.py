"""What a job costs on each engine beside its own work. Writes ``results/engines.json``.

    OMP_NUM_THREADS=1 python perf/engines.py

The same jobs go through processes of this machine and through a Ray cluster of this machine alone, in turn, with as
many workers. ``first_result_seconds`` is the start of the workers; ``overhead_ms`` is the time between results in the
steady state, times the workers, less the job's own time. Needs the extra ``ray``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from environment import measure_parts

from prejudge.engine import Engine, LocalEngine, RayEngine

STORE_BYTES = 200 * 2**20


class Wait:
    """A job of so many seconds, with an array that is sent along once."""

    def __init__(self, seconds: float, size: int) -> None:
        self.seconds, self.array = seconds, np.zeros(size, np.uint8)

    def __call__(self, number: int) -> dict[str, float]:
        time.sleep(self.seconds)
        return {"snip": float(number), "synflow": float(number)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engines.json")
    parser.add_argument("--only", choices=("jobs", "scores"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    import ray

    ray.init(
        address="local",
        num_cpus=max(options.workers),
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    parts = {
        "jobs": lambda: jobs(options.workers, options.jobs, options.rounds),
        "scores": lambda: scores(max(options.workers), options.rounds),
    }
    measure_parts(parts, options.only, options.out, threads=1)


def engines(workers: int) -> dict[str, Engine]:
    return {"local": LocalEngine(workers), "ray": RayEngine(workers=workers)}


def jobs(team: Sequence[int], number: int, rounds: int) -> list[dict[str, Any]]:
    """Jobs of 0 and of 5 ms; the engines take turns, and the median of the rounds counts."""
    found = []
    for workers in team:
        for milliseconds in (0.0, 5.0):
            for name, times in _in_turn(workers, Wait(milliseconds / 1000, 10_000_000), number, rounds).items():
                first, each = (statistics.median(values) for values in zip(*times, strict=True))
                found.append(
                    {
                        "engine": name,
                        "workers": workers,
                        "job_ms": milliseconds,
                        "jobs": number,
                        "first_result_seconds": round(first, 2),
                        "jobs_per_second": round(1 / each, 1),
                        "overhead_ms": round(each * workers * 1000 - milliseconds, 3),
                    }
                )
    return found


def _in_turn(workers: int, job: Wait, number: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in engines(workers)}
    for _ in range(rounds):
        for name, engine in engines(workers).items():
            start = time.perf_counter()
            marks = [time.perf_counter() for _ in engine.run(job, range(number))]
            settled = marks[len(marks) // 5 :]  # by then every worker is there
            times[name].append((marks[0] - start, (settled[-1] - settled[0]) / (len(settled) - 1)))
    return times


def scores(workers: int, rounds: int) -> dict[str, dict[str, float]]:
    """Scoring 200 architectures of NAS-Bench-201 into a cache, end to end, start of the workers included."""
    import tempfile

    import prejudge
    from prejudge.data.loading import load

    space, images = prejudge.space("nasbench201"), load("digits")
    archs = [space[i] for i in np.random.default_rng(0).permutation(len(space))[:200]]
    seconds: dict[str, list[float]] = {name: [] for name in engines(workers)}
    for _ in range(rounds):
        for name, engine in engines(workers).items():
            with tempfile.TemporaryDirectory() as folder, prejudge.ScoreCache(Path(folder) / "scores.h5") as cache:
                start = time.perf_counter()
                prejudge.fill(cache, space, archs, images, ["synflow", "naswot", "grad_norm"], engine=engine)
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {"workers": workers, "architectures": len(archs), "seconds": round(statistics.median(found), 2)}
        for name, found in seconds.items()
    }


if __name__ == "__main__":
    main()
