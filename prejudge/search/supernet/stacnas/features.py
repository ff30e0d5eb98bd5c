"""The similarity of the operations of a supernet's edge, by the features that they make of the same images.

StacNAS (Li et al., 2019, arXiv:1909.11926) groups operations by the correlation of their outputs. The moments are
summed up batch by batch, as hooks see the outputs go by: nothing is kept of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prejudge.spaces.nn.supernet import Mixture, Supernet

CLUSTERS = (2, 3, 4)
"""Numbers of clusters that StacNAS looks at."""

EDGES = (0, 13)
"""The edges that StacNAS looks at: from the first input to the first node, and from the third node to the last."""


@dataclass(frozen=True, eq=False)
class EdgeFeatures:
    """The operations of one edge, compared.

    Attributes:
        cell: Number of the cell, from 0.
        edge: Number of the edge in its cell.
        operations: Names of the operations compared, ``none`` left out.
        covariance: Sums over images and features of products of deviations from the mean feature, ``(K, K)``.
        means: Mean features, flattened, ``(K, D)``.
        images: How many images went by.
    """

    cell: int
    edge: int
    operations: tuple[str, ...]
    covariance: np.ndarray
    means: np.ndarray
    images: int

    @property
    def correlation(self) -> np.ndarray:
        """Correlations of the operations' features, ``(K, K)``; 0 with an operation whose output never changes."""
        deviation = np.sqrt(np.diag(self.covariance))
        scale = np.outer(deviation, deviation)
        result: np.ndarray = np.divide(self.covariance, scale, out=np.zeros_like(scale), where=scale > 0)
        return result

    def clusters(self, count: int, *, seed: int = 0) -> list[int]:
        """K-means of the mean features: the cluster of each operation, numbered in order of appearance.

        Raises:
            InputError: There are fewer operations than clusters.
        """
        from sklearn.cluster import KMeans

        if not 1 <= count <= len(self.operations):
            raise InputError(
                f"{len(self.operations)} operations make 1 to {len(self.operations)} clusters, not {count}"
            )
        labels = KMeans(count, n_init=10, random_state=seed).fit_predict(self.means)
        first: dict[int, int] = {}
        return [first.setdefault(int(label), len(first)) for label in labels]

    def plane(self) -> np.ndarray:
        """The mean features on their two principal axes, ``(K, 2)``."""
        centered = self.means - self.means.mean(0)
        u, s, _ = np.linalg.svd(centered, full_matrices=False)
        found = np.zeros((len(centered), 2))
        found[:, : min(2, len(s))] = (u * s)[:, :2]
        return found


class FeatureMoments:
    """Means and co-moments of several outputs over images that come in batches (Chan et al., 1983).

    Args:
        count: How many outputs there are, K.
    """

    def __init__(self, count: int) -> None:
        self._batch: list[np.ndarray | None] = [None] * count
        self.means: np.ndarray | None = None
        self.covariance = np.zeros((count, count))
        self.images = 0

    def see(self, position: int, output: np.ndarray) -> None:
        """One output on the next batch, ``(N, …)``; once all of them are there, they are added."""
        self._batch[position] = output.reshape(len(output), -1).astype(np.float64)
        if all(features is not None for features in self._batch):
            self._add(np.stack([features for features in self._batch if features is not None]))
            self._batch = [None] * len(self._batch)

    def _add(self, features: np.ndarray) -> None:
        """Add a batch, ``(K, N, D)``."""
        n = features.shape[1]
        means = features.mean(1)
        flat = (features - means[:, None]).reshape(len(features), -1)
        self.covariance += flat @ flat.T
        if self.means is None:
            self.means, self.images = means, n
            return
        shift = means - self.means
        self.covariance += shift @ shift.T * (self.images * n / (self.images + n))
        self.means = self.means + shift * (n / (self.images + n))
        self.images += n


def compare_operations(
    supernet: Supernet,
    mixture: Mixture,
    batches: Iterable[tuple[Tensor, Any]],
    *,
    cells: Sequence[int] | None = None,
    edges: Sequence[int] = EDGES,
) -> list[EdgeFeatures]:
    """Compare the operations of some edges while images pass through a supernet, in evaluation mode.

    Args:
        supernet: A supernet of a DARTS space; its mode is restored.
        mixture: What runs on its edges; operations that do not run cannot be compared.
        batches: Images ``(N, C, H, W)`` on the supernet's device, and anything.
        cells: Numbers of the cells; all if left out.
        edges: Numbers of the edges in each of them.

    Returns:
        One entry for every cell and edge, cell by cell.

    Raises:
        InputError: The supernet has no cells with such edges, or there was no image.
    """
    import torch

    chosen = range(len(getattr(supernet, "kinds", [0]))) if cells is None else cells
    watched = {(cell, edge): _operations_of(supernet, cell, edge) for cell in chosen for edge in edges}
    moments = {place: FeatureMoments(len(operations)) for place, operations in watched.items()}
    was_training = supernet.training
    supernet.eval()
    with ExitStack() as hooks, torch.inference_mode():
        for place, operations in watched.items():
            for position, (_, module) in enumerate(operations):
                hook = module.register_forward_hook(partial(_seen, moments[place], position))
                hooks.callback(hook.remove)
        for inputs, _ in batches:
            supernet(inputs, mixture)
    supernet.train(was_training)
    found = []
    for (cell, edge), operations in watched.items():
        seen = moments[cell, edge]
        if seen.means is None:
            raise InputError(f"no image passed through all operations of edge {edge} of cell {cell}")
        names = tuple(name for name, _ in operations)
        found.append(EdgeFeatures(cell, edge, names, seen.covariance, seen.means, seen.images))
    return found


def _seen(moments: FeatureMoments, position: int, module: nn.Module, inputs: Any, output: Tensor) -> None:
    moments.see(position, output.float().cpu().numpy())


def _operations_of(supernet: Any, cell: int, edge: int) -> list[tuple[str, nn.Module]]:
    """Name and module of every operation of an edge that makes something of its input."""
    kinds = getattr(supernet, "kinds", [])
    if not 0 <= cell < len(kinds) or not 0 <= edge < len(supernet.candidates[kinds[cell]]):
        raise InputError(f"the supernet has no cell {cell} with an edge {edge}")
    names = supernet.candidates[kinds[cell]][edge]
    modules = supernet.cells[cell]._ops[edge]._ops
    return [(name, module) for name, module in zip(names, modules, strict=True) if name not in ("none", "noise")]
