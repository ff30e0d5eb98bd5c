"""A whole training: prejudge's against the plain way. Writes ``results/training.json``.

    python perf/training.py [--threads 1] [--repeats 5] [--images 960] [--workers 2] [--only cpu|cuda]

Both train the same networks with the numbers of the papers (crops, flips, cutout, auxiliary head, clipping; DARTS_V2 at
16 channels and 8 cells as in RobustDARTS, and NAS-Bench-201's best cell with one and with five cells a stage). The
plain way is that of the papers' code: a ``DataLoader`` whose data set passes one Pillow image after the other through
torchvision's transforms, contiguous tensors, SGD as torch makes it, loss and accuracy read at every step. Ours is the
loop of ``prejudge train``. Epochs in turns; images per second by the clock and by the processors (workers included), as
medians, and their ratio. Ten minutes on one core.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.batches import OneByOne, measure, measured  # noqa: E402
from prejudge.data.dataset import ImageDataset  # noqa: E402
from prejudge.spaces import space  # noqa: E402
from prejudge.train.device import DeviceConfig  # noqa: E402
from prejudge.train.learner import SupervisedLearner  # noqa: E402
from prejudge.train.loop import run_epochs  # noqa: E402
from prejudge.train.recipes.batches import recipe_batches  # noqa: E402
from prejudge.train.recipes.published import published_recipe  # noqa: E402
from prejudge.train.recipes.recipe import Recipe  # noqa: E402

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "DARTS_V2, 16 channels, 8 cells": ("darts", "DARTS_V2", {"channels": 16, "cells": 8, "auxiliary": True}),
    "NAS-Bench-201's best cell, 1 a stage": ("nasbench201", BEST, {"channels": 16, "cells": 1}),
    "NAS-Bench-201's best cell, 5 a stage": ("nasbench201", BEST, {"channels": 16, "cells": 5}),
}


class PlainTraining:
    """The loop of the papers' code, one epoch at a time."""

    def __init__(self, network: nn.Module, data: ImageDataset, recipe: Recipe, device: str, workers: int):
        self.network, self.recipe, self.device = network.to(device), recipe, device
        self.loader = DataLoader(
            OneByOne(data), recipe.batch_size, shuffle=True, num_workers=workers, pin_memory=device == "cuda"
        )
        self.optimizer = torch.optim.SGD(
            network.parameters(),
            recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )

    def __call__(self) -> int:
        self.network.train()
        loss_sum, hits, images = 0.0, 0, 0
        for x, y in self.loader:
            x, y = x.to(self.device), y.to(self.device)
            self.optimizer.zero_grad()
            if self.recipe.auxiliary_weight:
                logits, auxiliary = self.network(x, auxiliary=True)
                loss = F.cross_entropy(logits, y) + self.recipe.auxiliary_weight * F.cross_entropy(auxiliary, y)
            else:
                logits = self.network(x)
                loss = F.cross_entropy(logits, y)
            loss.backward()
            if self.recipe.max_grad_norm:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.max_grad_norm)
            self.optimizer.step()
            loss_sum += loss.item() * len(y)
            hits += int((logits.argmax(1) == y).sum())
            images += len(y)
        return images


def our_training(network: nn.Module, data: ImageDataset, recipe: Recipe, device: str) -> Callable[[], int]:
    """The loop of ``prejudge train``, one epoch at a time."""
    machine = DeviceConfig(device, channels_last=True)
    learner = SupervisedLearner(network, recipe, machine)
    batches = recipe_batches(data, recipe, device=device)
    return lambda: sum(epoch.images for epoch in run_epochs(learner, batches, 1, device_config=machine))


def compared(data: ImageDataset, device: str, workers: int, repeats: int) -> dict[str, Any]:
    """Every network both ways."""
    found = {}
    for name, (space_name, text, macro) in NETWORKS.items():
        where = space(space_name)
        recipe = published_recipe("darts" if space_name == "darts" else "nasbench201", "cifar10").training
        recipe = replace(recipe, drop_path=0.0, warmup_epochs=0)  # which both would compute alike
        torch.manual_seed(0)
        network = where.network(where.parse(text), **macro)
        ways: dict[str, Callable[[], int]] = {"prejudge": our_training(copy.deepcopy(network), data, recipe, device)}
        for n in (0, workers):
            ways[f"DataLoader, {n} workers"] = PlainTraining(copy.deepcopy(network), data, recipe, device, n)
        figures = measured(ways, repeats)
        fast = figures["prejudge"]
        found[name] = {
            "measured": figures,
            "times_faster": {
                way: {unit: round(fast[unit] / value, 2) for unit, value in figures[way].items()}
                for way in figures
                if way != "prejudge"
            },
        }
        print(json.dumps({name: found[name]}, indent=1), flush=True)
    return found


if __name__ == "__main__":
    measure(__doc__, "training", 960, compared)
