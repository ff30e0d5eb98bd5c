"""Learning between sparse recoveries, as both searches of ISTA-NAS do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from prejudge.search.supernet.architect import Architect
from prejudge.search.supernet.ista.compressed import CompressedParameters, SparseRecovery
from prejudge.search.supernet.ista.sparse_solvers import Solver
from prejudge.search.supernet.learner import SupernetLearner
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.nn.supernet import Supernet
from prejudge.train.device import DeviceConfig
from prejudge.train.recipes.recipe import Recipe


class SparseLearner(SupernetLearner):
    """Recovers the sparse choice of operations before every epoch, and learns with these operations alone.

    The recovery comes before an epoch rather than after the one before it, so that what has been trained is what is
    evaluated and written down with the epoch. After the last epoch one more is due: :meth:`recover`.

    Operations that are not chosen rest: their weights have no gradient, so that neither momentum nor weight decay moves
    them. The original code does the same under PyTorch 2; under the versions of its time, whose ``zero_grad`` wrote
    zeros, an operation that had once run went on to be decayed and moved by its momentum.

    Args:
        supernet: The network; it is moved to the device.
        arch_parameters: The compressed architecture parameters, on the device.
        recipe: The numbers of the weights' training.
        device_config: Where to compute.
        architect: The update of the compressed parameters.
        solver: Solves the recovery's LASSO problems.

    Attributes:
        sparse: The compressed architecture parameters.
    """

    def __init__(
        self,
        supernet: Supernet,
        arch_parameters: CompressedParameters,
        recipe: Recipe,
        device_config: DeviceConfig,
        architect: Architect,
        solver: Solver,
    ) -> None:
        super().__init__(
            supernet, arch_parameters, recipe, device_config, architect, select=CompressedParameters.genotype
        )
        self.sparse = arch_parameters
        self._solver = solver
        self._moved = math.inf

    def recover(self, accept: Callable[[Genotype], bool] | None = None) -> SparseRecovery:
        """Find the sparse vectors that the parameters now stand for; see :meth:`CompressedParameters.recover`."""
        change = self.sparse.recover(self._solver, accept)
        self._moved = max(change.distance.values())
        return change

    def choose(self, epoch: int) -> None:
        """Decide what runs in an epoch; called before its first step."""
        self.recover()

    def begin_epoch(self, epoch: int) -> None:
        self.choose(epoch)
        super().begin_epoch(epoch)

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        """The epoch's choice, how far the recovery before it moved a node's vector at most, and the skips among it."""
        genotype = self.sparse.genotype()
        chosen = [operation for operation, _ in (*genotype.normal, *genotype.reduce)]
        return {
            "architecture": str(genotype),
            "distance": self._moved if math.isfinite(self._moved) else None,
            "skip_share": chosen.count("skip_connect") / len(chosen),
            "parameters": self.sparse.record(),
        }
