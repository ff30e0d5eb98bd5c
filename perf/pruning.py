"""Cost of TE-NAS's pruning, extrapolated from a few networks. Writes ``results/pruning.json``.

    python perf/pruning.py [--threads 1] [--repeats 1] [--only nasbench201]
    python perf/pruning.py --only signal --data npz:FILE [--normalization cifar10] [--repeats 6]

The plain way measures both networks anew for every candidate and repeat, each kernel by one backward pass per image and
each number of regions from all pairs of patterns (tests/search/pruning/oracles.py). For every round one network, the
supernet without one of its operations, is measured in each way, in turns; its cost stands for all networks of the
round, the unpruned one included (which costs a little more, and of which the plain way measures more). What the rounds
of a whole search would take follows from the numbers of their candidates. Seconds are the processor's, summed over
threads: a busy machine stretches the clock's. Two minutes on one core, without ``whole_search``.

``signal`` asks how much of a figure is more than chance: each is measured several times with images and weights of its
own, and the orders in which the removals come are compared between the times. A mean Spearman of 0 is noise. Once for
the supernet of the first round, and once for one of two convolutions on every edge, as the last round mostly has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.environment import measure_parts  # noqa: E402
from prejudge.data.dataset import ImageDataset  # noqa: E402
from prejudge.data.loading import load  # noqa: E402
from prejudge.engine.random_state import own_random_state  # noqa: E402
from prejudge.search import run as search_run  # noqa: E402
from prejudge.search.pruning import CONVENTIONS  # noqa: E402
from prejudge.search.pruning.inputs import draw_inputs, image_set  # noqa: E402
from prejudge.search.pruning.measurement import measurer  # noqa: E402
from prejudge.search.pruning.pruning_space import Active, PruningSpace, operations_of, pruning_space, without  # noqa: E402
from prejudge.search.pruning.rounds import NetworkTask  # noqa: E402
from prejudge.spaces import space  # noqa: E402
from prejudge.spaces.nn.supernet import Weighted, uniform  # noqa: E402
from tests.search.pruning import oracles  # noqa: E402

SIGNALS: dict[str, tuple[str, dict[str, Any]]] = {
    "regions": ("regions", {}),
    "regions, Kaiming": ("regions", {"initialization": "kaiming"}),
    "fixed-bn, 32 images": ("condition", {"batch_size": 32}),
    "fixed-bn, 72 images": ("condition", {}),
    "fixed-bn, 72 images, Kaiming": ("condition", {"initialization": "kaiming"}),
    "fixed-bn, 144 images": ("condition", {"batch_size": 144}),
    "exact, 16 images": ("condition", {"kernel": "exact", "batch_size": 16}),
    "exact, 32 images": ("condition", {"kernel": "exact", "batch_size": 32}),
}
"""Which figure, and the settings that differ from the default."""


def images() -> np.ndarray:
    """Random ones: timings do not depend on their content."""
    return np.random.default_rng(0).integers(0, 256, (4000, 32, 32, 3), dtype=np.uint8)


def rounds_of(found: PruningSpace, number: int) -> list[tuple[Active, int]]:
    """What is left in each round with how many candidates, if the last operations of each edge always go."""
    active = found.start
    stages = []
    while candidates := operations_of(active):
        stages.append((active, len(candidates)))
        first_gone = {(r.cell, r.edge): max(1, len(active[r.cell][r.edge]) - number) for r in candidates}
        gone = [r for r in candidates if active[r.cell][r.edge].index(r.operation) >= first_gone[r.cell, r.edge]]
        active = without(active, gone)
    groups = [len(group) for group in found.groups if len(group) > 2] * len(active)
    return [*stages, (active, sum(groups))] if groups else stages


def ways(name: str, found: PruningSpace, active: Active) -> dict[str, Callable[[], Any]]:
    """One network measured in the plain way, and by each convention."""
    data = image_set(images())
    task = NetworkTask(0, 0, "without one", active)
    tasks: dict[str, Callable[[], Any]] = {}
    for convention, protocol in CONVENTIONS.items():
        draws = {0: draw_inputs(data, protocol, protocol.batch_size or found.batch_size, 0, 0, 0)}
        measure = measurer(space(name), found, protocol, draws, 10, "cpu")
        tasks[convention] = lambda measure=measure: measure(task)
    with own_random_state(0):
        options = found.supernet_options
        wide, thin = (
            Weighted(space(name).supernet(**options, **numbers), uniform(active)).train()
            for numbers in (found.kernel, found.thin)
        )
    return {
        "plain kernel": lambda: oracles.condition(wide, draws[0].images),
        "plain regions": lambda: oracles.regions(thin, draws[0].crops),
        **tasks,
    }


def extrapolated(name: str, repeats: int) -> dict[str, Any]:
    """Processor seconds of a network in each round, and of a whole search."""
    found = pruning_space(space(name))
    totals = dict.fromkeys(["plain", *CONVENTIONS], 0.0)
    rows = []
    for active, candidates in rounds_of(found, found.prune_number):
        one = next(iter(operations_of(active)), None)
        tasks = ways(name, found, without(active, [one]) if one else active)
        seconds: dict[str, list[float]] = {way: [] for way in tasks}
        for _ in range(repeats):
            for way, run in tasks.items():
                start = time.process_time()
                run()
                seconds[way].append(time.process_time() - start)
        medians = {way: statistics.median(values) for way, values in seconds.items()}
        rows.append({"candidates": candidates, "seconds_per_network": medians})
        print(name, json.dumps(rows[-1]), flush=True)
        totals["plain"] += candidates * 3 * 2 * (medians["plain kernel"] + medians["plain regions"])
        for convention, protocol in CONVENTIONS.items():
            totals[convention] += (candidates + 1) * protocol.repeats * medians[convention]
    result = {
        "rounds": rows,
        "search_seconds_extrapolated": totals,
        "plain_over": {convention: totals["plain"] / totals[convention] for convention in CONVENTIONS},
    }
    print(json.dumps(result, indent=1), flush=True)
    return result


def whole_search(workers: int) -> dict[str, Any]:
    """A whole default search of nasbench201, wall clock."""
    data = image_set(images())
    (result,) = search_run("te-nas", space="nasbench201", data=data, workers=workers).trajectories
    found = {
        "workers": workers,
        "seconds": float(result.seconds[0]),
        "compute_seconds": result.metadata["compute_seconds"],
    }
    print(json.dumps(found), flush=True)
    return found


def signal(data: ImageDataset | None, repeats: int) -> dict[str, Any]:
    """Mean Spearman between independent measurements of one figure, and its cost, for two rounds of nasbench201."""
    if data is None or repeats < 2:
        raise SystemExit("signal needs real images (--data) and --repeats of at least 2")
    found = pruning_space(space("nasbench201"))
    convolutions = {"cell": tuple(tuple(op for op in edge if op in (2, 3)) for edge in found.start["cell"])}
    result: dict[str, Any] = {"repeats": repeats, "data": data.digest}
    for stage, active in (("first round", found.start), ("two convolutions an edge", convolutions)):
        result[stage] = {}
        for name, (figure, changes) in SIGNALS.items():
            start = time.process_time()
            rows = [_changes(found, data, active, figure, changes, repeat) for repeat in range(repeats)]
            pairs = [float(spearmanr(a, b).statistic) for a, b in combinations(rows, 2)]
            networks = repeats * (1 + len(operations_of(active)))
            row = {
                "spearman": round(statistics.mean(pairs), 3),
                "seconds_per_network": round((time.process_time() - start) / networks, 4),
            }
            result[stage][name] = row
            print(stage, name, json.dumps(row), flush=True)
    return result


def _changes(
    found: PruningSpace, data: ImageDataset, active: Active, figure: str, changes: dict[str, Any], repeat: int
) -> np.ndarray:
    """The relative change of a figure by every removal, with images and weights of the repeat's own."""
    protocol = replace(CONVENTIONS["default"], **changes)
    draws = {repeat: draw_inputs(data, protocol, protocol.batch_size or found.batch_size, 0, 0, repeat)}
    measure = measurer(space("nasbench201"), found, protocol, draws, data.num_classes, "cpu")
    networks = [active, *(without(active, [removal]) for removal in operations_of(active))]
    wanted = {"kernel": figure == "condition", "regions": figure == "regions"}
    values = np.array([getattr(measure(NetworkTask(0, repeat, "", left, **wanted)), figure) for left in networks])
    return (values[0] - values[1:]) / values[0]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="of the whole search")
    parser.add_argument("--only", choices=["nasbench201", "darts", "whole_search", "signal"])
    parser.add_argument("--data", help="images of signal, as for prejudge; without them it is left out")
    parser.add_argument("--normalization")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pruning.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts: dict[str, Callable[[], Any]] = {
        "nasbench201": lambda: extrapolated("nasbench201", options.repeats),
        "darts": lambda: extrapolated("darts", options.repeats),
        "whole_search": lambda: whole_search(options.workers),
    }
    if options.data or options.only == "signal":
        data = load(options.data, normalization=options.normalization) if options.data else None
        parts["signal"] = lambda: signal(data, options.repeats)
    measure_parts(parts, options.only, options.out, options.threads)


if __name__ == "__main__":
    main()
