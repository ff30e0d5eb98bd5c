"""Cost of ISTA-NAS's searches. Writes ``results/ista.json``.

    OMP_NUM_THREADS=1 python perf/ista.py [--repeats 5] [--only "two-stage step"]

Steps on batches of 16 random images of 32 pixels, of the published networks: the two-stage search beside first-order
DARTS (one step of the architecture and one of the weights each), the one-stage search beside its final phase. What is
compared takes turns, and each runs once before. Seconds are the processor's: a busy machine stretches the clock's. In
the original code a step of DARTS (quark0) took 9.7 times as long as one of the two-stage search, on 2 threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.environment import measure_parts  # noqa: E402
from prejudge.data.dataset import ImageDataset  # noqa: E402
from prejudge.search.supernet.context import SupernetContext  # noqa: E402
from prejudge.search.supernet.darts.method import darts  # noqa: E402
from prejudge.search.supernet.ista.one_stage import RECIPE, final_phase, search_phase  # noqa: E402
from prejudge.search.supernet.ista.sparse_solvers import solver  # noqa: E402
from prejudge.search.supernet.ista.two_stage import ista  # noqa: E402
from prejudge.search.supernet.stage import Stage  # noqa: E402
from prejudge.spaces import space  # noqa: E402
from prejudge.train.device import DeviceConfig  # noqa: E402
from prejudge.train.loop import TrainState  # noqa: E402

BATCH = 16


def setup() -> SupernetContext:
    """Random images: timings do not depend on their content."""
    images = np.random.default_rng(0).integers(0, 256, (8 * BATCH, 32, 32, 3), dtype=np.uint8)
    data = ImageDataset("random", images, np.arange(len(images)) % 10, 10, (0.5,) * 3, (0.25,) * 3)
    device = DeviceConfig(channels_last=True)
    return SupernetContext(space("darts"), data=data, device=device, training={"batch_size": BATCH})


def step_of(stage: Stage) -> Callable[[], Any]:
    """One step of a stage's learner, always with the same batch."""
    stage.learner.begin_epoch(0)
    batch = next(iter(stage.batches.epoch(0)))
    return lambda: stage.learner.step(*batch, TrainState(0, stage.epochs, 0, 1000))


def in_turns(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """Median processor seconds of each task."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, run in tasks.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    first, *_ = medians.values()
    found = {"seconds": medians, "over_the_first": {name: value / first for name, value in medians.items()}}
    print(json.dumps(found, indent=1), flush=True)
    return found


def two_stage(repeats: int) -> dict[str, Any]:
    """16 channels, 8 cells; DARTS with its 8 operations."""
    torch.manual_seed(0)
    return in_turns({"ista": step_of(next(ista(setup()))), "darts": step_of(next(darts(setup())))}, repeats)


def one_stage(repeats: int) -> dict[str, Any]:
    """36 channels, 20 cells, with the auxiliary head; the final phase before and after its weights are folded."""
    torch.manual_seed(0)
    recipe = setup().recipe(RECIPE)
    search = search_phase(setup(), recipe, "exact", 3e-4, 0.0)
    tasks = {"search": step_of(search)}
    tasks |= {f"final, folded at the {way}": step_of(final_phase(setup(), recipe, search.learner, way))
              for way in ("start", "end")}  # fmt: skip
    return in_turns(tasks, repeats)


def recovery_milliseconds(
    names: Sequence[str] = ("exact", "cvxpy-clarabel"), repeats: int = 20, seed: int = 2
) -> dict[str, float]:
    """Median time of one recovery of ISTA-NAS, eight problems, by solver; the solvers take turns.

    Args:
        names: The solvers.
        repeats: Recoveries by each, after one that is not counted.
        seed: Of the problems: matrices of uniform numbers in [0, 1), 7 x 14 to 7 x 35, two of each size; targets
            N(0, 0.03²), as after some epochs.
    """
    rng = np.random.RandomState(seed)
    matrices = [rng.rand(7, 7 * (node + 2)) for node in range(4) for _ in range(2)]
    targets = [0.03 * rng.randn(7) for _ in matrices]
    solvers = {name: solver(name) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats + 1):
        for name, solve in solvers.items():
            start = time.perf_counter()
            solve(matrices, targets, 1e-5)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["two-stage step", "one-stage step", "recovery"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ista.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts: dict[str, Callable[[], Any]] = {
        "two-stage step": lambda: two_stage(options.repeats),
        "one-stage step": lambda: one_stage(options.repeats),
        "recovery": lambda: {"milliseconds": recovery_milliseconds(), "problems": 8},
    }
    measure_parts(parts, options.only, options.out, options.threads)


if __name__ == "__main__":
    main()
