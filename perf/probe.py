"""Cost of scoring NAS-Bench-201 networks (C=16, N=5, batch 64). Writes ``results/probe.json``.

    python perf/probe.py [--threads 2] [--repeats 5]

Shared passes against the plain way (tests/proxies/oracles.py): each proxy by itself on a copy of its own, as the
originals do. Every figure that is compared is taken in this run, in turns, and quoted as a median. It takes some ten
minutes on two cores; keep the machine idle.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.environment import measure_parts  # noqa: E402
from prejudge.proxies import default_names  # noqa: E402
from prejudge.proxies.passes import jacobian  # noqa: E402
from prejudge.proxies.scoring import score  # noqa: E402
from prejudge.spaces import space  # noqa: E402
from tests.proxies import oracles  # noqa: E402

CELLS = {
    "resnet-like": "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    "all conv3x3": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "mixed": "|nor_conv_1x1~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|none~1|avg_pool_3x3~2|",
}
KERNELS_APART = ("ntk_condition_fixed_bn",)  # TE-NAS's kernel in its cheap form: measured on its own
WITHOUT_GRASP = [name for name in default_names() if name != "grasp" and name not in KERNELS_APART]
WITH_GRASP = [*WITHOUT_GRASP, "grasp"]
PLAIN = [name for name in WITH_GRASP if name in oracles.ORACLES and name != "params"]
ORIGINALS = [
    "grad_norm",
    "snip",
    "grasp",
    "fisher",
    "jacob_cov",
    "synflow",
    "naswot_hnas",
    "ntk_trace",
    "ntk_condition",
]
"""What zero-cost-nas and HNAS compute, one after the other."""


def in_turns(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each task; the tasks take turns, so that a drift of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(repeats + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if round_:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def training_step(network: nn.Module, x: Tensor, y: Tensor, memory_format: torch.memory_format) -> Callable[[], None]:
    """One bare forward and backward pass."""
    import copy

    network = copy.deepcopy(network).to(memory_format=memory_format).train()
    x = x.to(memory_format=memory_format)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network(x), y).backward()

    return step


def batch(images: int = 64) -> tuple[Tensor, Tensor]:
    """Gaussian images and labels; timings do not depend on their content."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images, 3, 32, 32, generator=generator), torch.arange(images) % 10


def shared_passes(repeats: int) -> dict[str, Any]:
    """Shared passes against a bare step and against each proxy by itself."""
    x, y = batch()
    results = {}
    for name, text in CELLS.items():
        torch.manual_seed(0)
        network = space("nasbench201").network(text)
        tasks: dict[str, Callable[[], Any]] = {
            "step, contiguous": training_step(network, x, y, torch.contiguous_format),
            "step, channels last": training_step(network, x, y, torch.channels_last),
            "shared without grasp": lambda network=network: score(network, x, y, WITHOUT_GRASP),
            "shared with grasp": lambda network=network: score(network, x, y, WITH_GRASP),
            "shared, what the originals compute": lambda network=network: score(network, x, y, ORIGINALS),
            "fixed_bn kernel alone": lambda network=network: score(network, x, y, ["ntk_condition_fixed_bn"]),
            "fast with grasp": lambda network=network: score(network, x, y, WITH_GRASP, mode="fast"),
            "fast without grasp": lambda network=network: score(network, x, y, WITHOUT_GRASP, mode="fast"),
        }
        medians = in_turns(tasks, repeats)
        each = in_turns({p: lambda p=p, n=network: oracles.ORACLES[p](n, x, y) for p in PLAIN}, max(1, repeats // 2))
        step = min(medians["step, contiguous"], medians["step, channels last"])
        results[name] = {
            "seconds": medians,
            "plain_seconds": each,
            "without_grasp_over_step": medians["shared without grasp"] / step,
            "with_grasp_over_step": medians["shared with grasp"] / step,
            "plain_over_shared": sum(each.values()) / medians["shared with grasp"],
            "plain_over_shared_of_the_originals": sum(each[p] for p in ORIGINALS)
            / medians["shared, what the originals compute"],
            "exact_over_fast_with_grasp": medians["shared with grasp"] / medians["fast with grasp"],
            "exact_over_fast_without_grasp": medians["shared without grasp"] / medians["fast without grasp"],
        }
        print(name, json.dumps(results[name], indent=1), flush=True)
    return results


def exact_kernel(repeats: int) -> dict[str, Any]:
    """TE-NAS's exact kernel against the per-image loop, and against the kernel with fixed statistics."""
    network = space("nasbench201").network(CELLS["resnet-like"])
    results: dict[str, Any] = {}
    x, _ = batch(16)
    last = x.to(memory_format=torch.channels_last)
    private = network.to(memory_format=torch.channels_last).train()
    medians = in_turns(
        {
            "per-image loop": lambda: oracles.jacobian_kernel(network.to(memory_format=torch.contiguous_format), x),
            "layer groups": lambda: jacobian.exact_kernel(private.to(memory_format=torch.channels_last), last),
        },
        max(2, repeats // 2),
    )
    results["batch 16"] = medians | {"loop_over_groups": medians["per-image loop"] / medians["layer groups"]}
    x, y = batch(64)
    medians = in_turns({"fixed": lambda: score(network, x, y, ["ntk_condition_fixed_bn"])}, repeats)
    start = time.perf_counter()
    score(network, x, y, ["ntk_condition_tenas"])
    exact = time.perf_counter() - start
    results["batch 64"] = {"exact": exact, "fixed": medians["fixed"], "exact_over_fixed": exact / medians["fixed"]}
    print(json.dumps(results, indent=1), flush=True)
    return results


def agreement(architectures: int) -> dict[str, Any]:
    """Rank agreement of approximate with exact scores over random cells (N=1: the exact kernel is affordable)."""
    cells = space("nasbench201")
    rng = np.random.default_rng(0)
    chosen = []
    while len(chosen) < architectures:
        cell = cells.sample(rng)
        if cells.connected(cell):
            chosen.append(cell)
    rows: list[dict[str, float]] = []
    for cell in chosen:
        torch.manual_seed(0)
        network = cells.network(cell, cells=1)
        x, y = batch(32)
        exact = score(network, x, y, [*WITH_GRASP, "ntk_condition_fixed_bn", "ntk_condition_tenas"])
        fast = score(network, x, y, [*WITH_GRASP, "ntk_condition_fixed_bn"], mode="fast")
        rows.append({n: float(s) for n, s in exact.items()} | {f"fast {n}": float(s) for n, s in fast.items()})

    def rho(a: str, b: str) -> float:
        pairs = np.array([(row[a], row[b]) for row in rows])
        pairs = pairs[np.isfinite(pairs).all(1)]
        return (
            float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
            if len(pairs) > 2 and np.ptp(pairs[:, 0])
            else float("nan")
        )

    result = {
        "architectures": architectures,
        "fixed statistics against exact kernel": rho("ntk_condition_fixed_bn", "ntk_condition_tenas"),
        "fast against exact": {n: rho(n, f"fast {n}") for n in [*WITH_GRASP, "ntk_condition_fixed_bn"]},
    }
    print(json.dumps(result, indent=1), flush=True)
    return result


_MEMORY = """
import resource, sys
sys.path.insert(0, {root!r})
from perf.probe import *
torch.set_num_threads({threads})
LAST = torch.channels_last
network, (x, y) = space("nasbench201").network(CELLS[{cell!r}]), batch()
small = space("nasbench201").network(CELLS[{cell!r}], cells=1, channels=4)
task, warm = {{
    "step": (training_step(network, x, y, LAST), training_step(small, x[:4], y[:4], LAST)),
    "with grasp": (lambda: score(network, x, y, WITH_GRASP), lambda: score(small, x[:4], y[:4], WITH_GRASP)),
    "without grasp": (lambda: score(network, x, y, WITHOUT_GRASP), lambda: score(small, x[:4], y[:4], WITHOUT_GRASP)),
    "te-nas": (lambda: jacobian.exact_kernel(network.train(), x[:16]), lambda: jacobian.exact_kernel(small, x[:2])),
    "step of 16": (training_step(network, x[:16], y[:16], LAST), training_step(small, x[:4], y[:4], LAST)),
}}[{task!r}]
warm()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
task()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def peak_memory(threads: int) -> dict[str, Any]:
    """Peak resident memory (MiB) above the start, each task in a process of its own."""

    def measure(task: str, cell: str) -> float:
        code = _MEMORY.format(root=str(ROOT), threads=threads, cell=cell, task=task)
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    results = {}
    for cell in ("resnet-like", "all conv3x3"):
        mib = {task: measure(task, cell) for task in ("step", "without grasp", "with grasp")}
        results[cell] = mib | {f"{task} over step": mib[task] / mib["step"] for task in ("without grasp", "with grasp")}
    mib = {task: measure(task, "all conv3x3") for task in ("step of 16", "te-nas")}
    results["exact kernel, batch 16"] = mib | {"over step": mib["te-nas"] / mib["step of 16"]}
    print(json.dumps(results, indent=1), flush=True)
    return results


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--architectures", type=int, default=60, help="for the rank agreement")
    parser.add_argument("--only", choices=["shared_passes", "exact_kernel", "peak_memory", "agreement"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "probe.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts: dict[str, Callable[[], Any]] = {
        "shared_passes": lambda: shared_passes(options.repeats),
        "exact_kernel": lambda: exact_kernel(options.repeats),
        "peak_memory": lambda: peak_memory(options.threads),
        "agreement": lambda: agreement(options.architectures),
    }
    measure_parts(parts, options.only, options.out, options.threads)


if __name__ == "__main__":
    main()
