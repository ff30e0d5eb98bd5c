"""DARTS-PT's evaluations: scoring all removals of an edge together against one after the other.

    python perf/projection.py

Writes ``results/projection.json``. Supernets have the published size (16 channels, 8 cells, 17 for NAS-Bench-201) and
random weights; images are random, 32x32, in batches as in the search. Both ways are timed in turns, and must give the
same scores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import measure_parts

from prejudge.data.batches import ImageBatches
from prejudge.data.dataset import ImageDataset
from prejudge.search.supernet.arch_parameters import SoftmaxParameters
from prejudge.search.supernet.darts_pt.candidate_evaluation import RepeatableEvaluation
from prejudge.search.supernet.darts_pt.learner import ProjectedParameters
from prejudge.search.supernet.darts_pt.projection import EdgeProjection, Removal
from prejudge.spaces import space
from prejudge.train.device import DeviceConfig

EDGE = 5
"""Whichever it is: what is shared are whole cells."""

CASES = {
    "darts_normal": ("darts", "normal", 0),
    "darts_reduce": ("darts", "reduce", 0),
    "darts_normal_half_decided": ("darts", "normal", 7),
    "darts_reduce_half_decided": ("darts", "reduce", 7),
    "nasbench201": ("nasbench201", "cell", 0),
}
"""Space, kind of cell, and how many of each kind's edges have been decided."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "projection.json")
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device_config = DeviceConfig(options.device)
    images = _images(options.batch_size * options.batches)
    batches = ImageBatches(images, options.batch_size)

    def part(case: str) -> dict[str, Any]:
        return {
            "device": options.device,
            "images": [options.batches, options.batch_size],
            **_measure(*CASES[case], batches, device_config, options.repeats),
        }

    options.out.parent.mkdir(parents=True, exist_ok=True)
    parts = {case: lambda case=case: part(case) for case in CASES}  # type: ignore[misc]
    measure_parts(parts, options.case, options.out, options.threads)


def _measure(
    name: str, kind: str, decided: int, batches: ImageBatches, device_config: DeviceConfig, repeats: int
) -> dict[str, Any]:
    torch.manual_seed(0)
    supernet = device_config.place(space(name).supernet())
    projection = EdgeProjection(supernet.candidates)
    for choices in projection.choices.values():
        choices[-decided or len(choices) :] = [2] * decided
    with torch.no_grad():
        mixture = ProjectedParameters(
            SoftmaxParameters(supernet.candidates).to(device_config.device), projection
        ).mixture()
    removals = [Removal(kind, EDGE, position) for position in range(len(supernet.candidates[kind][EDGE]))]
    ways = {
        "one_by_one": RepeatableEvaluation(batches, device_config, share=False),
        "together": RepeatableEvaluation(batches, device_config),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    scores: dict[str, Sequence[Any]] = {}
    for repeat in range(repeats + 1):
        for way, evaluation in ways.items():
            start = time.perf_counter()
            scores[way] = evaluation(supernet, mixture, removals, 0)  # reads the sums, so that the device has finished
            if repeat:  # the first is to warm up
                seconds[way].append(time.perf_counter() - start)
    medians = {f"{way}_seconds": round(statistics.median(times), 4) for way, times in seconds.items()}
    ratios = [alone / together for alone, together in zip(*seconds.values(), strict=True)]
    found = {
        "removals": len(removals),
        **medians,
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
        "same_scores": scores["one_by_one"] == scores["together"],
    }
    print(name, kind, decided, found, flush=True)
    return found


def _images(count: int) -> ImageDataset:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return ImageDataset("random", pixels, rng.integers(0, 10, count), 10, (0.5,) * 3, (0.25,) * 3)


if __name__ == "__main__":
    main()
