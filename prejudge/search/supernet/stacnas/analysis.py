"""The analyses of StacNAS's paper beside its search: similarity of operations, and the accuracy of each alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.stage import Stage
from prejudge.spaces.darts.candidates import same_everywhere

if TYPE_CHECKING:
    from prejudge.search.supernet.learner import SupernetLearner
    from prejudge.train.loop import Epoch
    from prejudge.train.recipes.recipe import Recipe


def compared(search: SupernetContext, learner: SupernetLearner, images: int) -> list[dict[str, Any]]:
    """The similarity of a trained supernet's operations on its first training images, as plain values.

    Args:
        search: The images and the device.
        learner: The supernet and its architecture parameters.
        images: How many images; all if there are fewer.

    Returns:
        For each cell and edge the operations, the correlations of their features, their clusters by number of clusters,
        and their mean features on two principal axes.
    """
    import torch

    from prejudge.search.supernet.stacnas.features import CLUSTERS, compare_operations

    some = search.images.subset(slice(min(images, len(search.images))))
    batches = search.batches(some, replace(learner.recipe, batch_size=64))
    with torch.no_grad():
        mixture = learner.arch_parameters.mixture()
    passing = (search.device_config.take(inputs, targets) for inputs, targets in batches.epoch(0))
    return [
        {
            "cell": found.cell,
            "edge": found.edge,
            "operations": list(found.operations),
            "images": found.images,
            "correlation": found.correlation.round(6).tolist(),
            "clusters": {str(k): found.clusters(k) for k in CLUSTERS if k <= len(found.operations)},
            "plane": found.plane().round(6).tolist(),
        }
        for found in compare_operations(learner.supernet, mixture, passing)
    ]


def single_operations(
    search: SupernetContext, values: np.ndarray, operations: Sequence[str], cells: int, recipe: Recipe
) -> Generator[Stage[Any], list[Epoch], list[dict[str, Any]]]:
    """Train, for each operation but ``none``, the network that has it on every edge.

    Args:
        search: Space, images, device and seed.
        values: Bare architecture parameters of a search, ``(edges, K)``, of all edges of all cells.
        operations: The names of the K operations.
        cells: Cells of the networks.
        recipe: How they are trained.

    Returns:
        For each operation its name, the mean of its softmax weights, and the accuracy of its network in per cent on the
        half of the images that it has not learned.
    """
    from prejudge.search.supernet.arch_parameters import SoftmaxParameters
    from prejudge.search.supernet.learner import Architect, SupernetLearner

    shares = (np.exp(values) / np.exp(values).sum(1, keepdims=True)).mean(0)
    train, held_out = search.train_valid_split()
    found = []
    for name, share in zip(operations, shares, strict=True):
        if name in ("none", "noise"):
            continue
        supernet = search.supernet(candidates=same_everywhere((name,)), cells=cells)
        learner = SupernetLearner(
            supernet, SoftmaxParameters(supernet.candidates), recipe, search.device_config, Architect()
        )
        history = yield Stage(f"only-{name}", learner, search.batches(train, recipe), recipe.epochs, held_out)
        found.append({"operation": name, "share": float(share), "accuracy": history[-1].accuracies["valid"]})
    return found
