"""Training batches of 32x32 images: whole batches against images one by one. Writes ``results/batches.json``.

    python perf/batches.py [--threads 1] [--repeats 5] [--images 5000] [--workers 2]

Both ways make the batches of DARTS' training on CIFAR-10: crop from a border of 4, flip, normalization, cutout 16, 96
images. ``ImageBatches`` does it for a batch at once; the other way is that of the papers' code, a ``DataLoader`` whose
data set passes one Pillow image after the other through torchvision's transforms and a cutout. One epoch of each in
turns; images per second of the clock and of the processors (workers included), as medians. A minute on one core.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.environment import measure_parts  # noqa: E402
from prejudge.data.dataset import ImageDataset  # noqa: E402
from prejudge.data.normalization import NORMALIZATIONS  # noqa: E402
from prejudge.train.recipes.batches import recipe_batches  # noqa: E402
from prejudge.train.recipes.published import published_recipe  # noqa: E402

RECIPE = published_recipe("darts", "cifar10").training
MEAN, STD = NORMALIZATIONS["cifar10-darts"]


class Cutout:
    """One square of zeros in one image."""

    def __call__(self, image: Tensor) -> Tensor:
        height, width = image.shape[1:]
        row, column = (int(torch.randint(side, ())) for side in (height, width))
        half = RECIPE.cutout // 2
        top, bottom, left, right = max(0, row - half), row + half, max(0, column - half), column + half
        image[:, top:bottom, left:right] = 0
        return image


class OneByOne(Dataset[tuple[Tensor, int]]):
    """A data set as torchvision's are, with the transforms of the papers."""

    def __init__(self, data: ImageDataset):
        self.data = data
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=RECIPE.padding),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
                Cutout(),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(functional.to_pil_image(self.data.images[index])), int(self.data.labels[index])


def epoch(batches: Iterable[tuple[Tensor, Tensor]]) -> int:
    """Go through the batches; returns how many images they had."""
    return sum(len(targets) for _, targets in batches)


def processor_seconds() -> float:
    """Of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measured(ways: dict[str, Callable[[], int]], repeats: int) -> dict[str, Any]:
    """Images per second of each way, by the clock and by the processors, in turns."""
    clock: dict[str, list[float]] = {name: [] for name in ways}
    processors: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name]()  # what is done once
    for _ in range(repeats):
        for name, way in ways.items():
            before, start = processor_seconds(), time.perf_counter()
            images = way()
            clock[name].append(images / (time.perf_counter() - start))
            processors[name].append(images / (processor_seconds() - before))
    return {
        name: {
            "images_per_second": round(statistics.median(clock[name])),
            "images_per_processor_second": round(statistics.median(processors[name])),
        }
        for name in ways
    }


def compared(data: ImageDataset, device: str, workers: int, repeats: int) -> dict[str, Any]:
    """Both ways; the plain one with and without workers, and its batches moved to the device."""
    ours = recipe_batches(data, RECIPE, device=device)
    plain = {n: DataLoader(OneByOne(data), RECIPE.batch_size, shuffle=True, num_workers=n) for n in (0, workers)}

    def finished(batches: Iterable[tuple[Tensor, Tensor]]) -> int:
        images = epoch((x.to(device), y.to(device)) for x, y in batches)
        if device == "cuda":
            torch.cuda.synchronize()
        return images

    ways: dict[str, Callable[[], int]] = {"ImageBatches": lambda: finished(ours.epoch(0))}
    ways |= {f"DataLoader, {n} workers": lambda n=n: finished(plain[n]) for n in plain}  # type: ignore[misc]
    found = measured(ways, repeats)
    fast = found["ImageBatches"]
    ratios = {
        name: {unit: round(fast[unit] / figures[unit], 1) for unit in figures}
        for name, figures in found.items()
        if name != "ImageBatches"
    }
    result = {"images": len(data), "batch_size": RECIPE.batch_size, "measured": found, "times_faster": ratios}
    print(json.dumps({device: result}, indent=1), flush=True)
    return result


def measure(
    doc: str | None, name: str, images: int, compared: Callable[[ImageDataset, str, int, int], dict[str, Any]]
) -> None:
    """Read the command line of a script, and measure on random images, on every device that is there."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=images)
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader, besides none")
    parser.add_argument("--only", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / f"{name}.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)  # timings do not depend on what is in the images
    pixels = rng.integers(0, 256, (options.images, 32, 32, 3), dtype=np.uint8)
    data = ImageDataset("random", pixels, rng.integers(0, 10, options.images), 10, MEAN, STD)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parts: dict[str, Callable[[], Any]] = {
        device: lambda device=device: compared(data, device, options.workers, options.repeats)  # type: ignore[misc]
        for device in devices
    }
    measure_parts(parts, options.only, options.out, options.threads)


if __name__ == "__main__":
    measure(__doc__, "batches", 5000, compared)
