"""Repeats as one network against one by one. Writes ``results/stacked.json``.

    OMP_NUM_THREADS=1 python perf/stacked.py                 # CPU, small networks, minutes
    python perf/stacked.py --device cuda --channels 16 --cells 5 --batch 64 --side 32 --repeats 1 4 16 --times 10

Each figure is the median of tasks that take turns. On a CPU, process time is kept too: a busy machine hardly moves it.
On CUDA the peak memory of each task is kept. The values are compared as well; see docs/gpu.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.environment import measure_parts  # noqa: E402
from prejudge.proxies import default_names, resolve  # noqa: E402
from prejudge.proxies.scoring import score, score_repeats  # noqa: E402
from prejudge.spaces import space  # noqa: E402

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"

Repeats = tuple[list[nn.Module], list[Tensor], list[Tensor]]


def repeats(options: argparse.Namespace, number: int) -> Repeats:
    """Networks of one cell with their batches, on the device."""
    networks, inputs, targets = [], [], []
    for seed in range(number):
        torch.manual_seed(seed)
        networks.append(space("nasbench201").network(CELL, channels=options.channels, cells=options.cells))
        inputs.append(torch.randn(options.batch, 3, options.side, options.side).to(options.device))
        targets.append(torch.arange(options.batch) % 4)  # two images of a class at least
    return networks, inputs, targets


def in_turns(tasks: dict[str, Callable[[], Any]], device: torch.device, times: int) -> dict[str, Any]:
    """Median seconds, process seconds and on CUDA peak MiB of each task; the first round warms up."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in tasks}
    for round_ in range(times + 1):
        for name, task in tasks.items():
            if device.type == "cuda":
                torch.cuda.synchronize(device)
                torch.cuda.reset_peak_memory_stats(device)
            start, process = time.perf_counter(), time.process_time()
            task()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken = {"seconds": time.perf_counter() - start, "process_seconds": time.process_time() - process}
            if device.type == "cuda":
                taken["peak_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
            for figure, value in taken.items():
                found[name].setdefault(figure, []).extend([value] if round_ else [])
    return {name: {f: statistics.median(v) for f, v in figures.items()} for name, figures in found.items()}


def stacked(options: argparse.Namespace) -> dict[str, Any]:
    """All default proxies of R repeats as one network, and one by one."""
    device, results = torch.device(options.device), {}
    for number in options.repeats:
        networks, inputs, targets = repeats(options, number)

        def together(given: Repeats = (networks, inputs, targets)) -> list[dict[str, Any]]:
            return score_repeats(*given, device=device)

        def one_by_one(given: Repeats = (networks, inputs, targets)) -> list[dict[str, Any]]:
            return [score(n, x, y, device=device) for n, x, y in zip(*given, strict=True)]

        medians = in_turns({"stacked": together, "one by one": one_by_one}, device, options.times)
        figure = "seconds" if device.type == "cuda" else "process_seconds"
        results[str(number)] = medians | {
            "one_by_one_over_stacked": medians["one by one"][figure] / medians["stacked"][figure],
            "largest_relative_difference": differences(together(), one_by_one()),
        }
        print(number, results[str(number)], flush=True)
    return {"of": vars_of(options), "repeats": results}


def differences(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> dict[str, float]:
    """By proxy, over the repeats; those that draw on the device's generator differ by their draws there."""
    pairs = {
        name: [(float(f[name]), float(e[name])) for f, e in zip(found, expected, strict=True)] for name in found[0]
    }
    return {name: max(abs(a - b) / max(abs(b), 1e-12) for a, b in values) for name, values in pairs.items()}


def vars_of(options: argparse.Namespace) -> dict[str, Any]:
    """The setting, as plain values."""
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    kept = ("channels", "cells", "batch", "side", "times")
    return {key: getattr(options, key) for key in kept} | {
        "device": name,
        "proxies": [str(request) for request in resolve(default_names())],
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=12)
    parser.add_argument("--repeats", type=int, nargs="+", default=[1, 3, 8])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "stacked.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    suffix = "" if options.device == "cpu" else f" on {options.device}"
    measure_parts({f"stacked{suffix}": lambda: stacked(options)}, None, options.out, options.threads)


if __name__ == "__main__":
    main()
