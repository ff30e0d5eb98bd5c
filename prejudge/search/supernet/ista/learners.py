"""The learners of ISTA-NAS: between sparse recoveries, until all nodes are frozen, and of the final network."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

from torch import nn

from prejudge.search.supernet.ista.batch_norm_folding import DerivedNetwork
from prejudge.search.supernet.ista.compressed import CompressedParameters, SparseRecovery
from prejudge.search.supernet.ista.sparse_solvers import Solver
from prejudge.search.supernet.learner import Architect, ArchitectureLearner, SupernetLearner
from prejudge.spaces.darts.candidates import EDGES
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.supernet import SupernetDARTS
from prejudge.spaces.nn.supernet import Supernet
from prejudge.train.device import DeviceConfig
from prejudge.train.learner import SupervisedLearner
from prejudge.train.optimization.weight_step import WeightStep
from prejudge.train.recipes.recipe import Recipe

TOLERANCE = 1e-3
"""A node's choice is final once a recovery moves its vector by no more than this."""


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
        accept: Whether a recovery may change the choice to this one; it always may if left out.

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
        accept: Callable[[Genotype], bool] | None = None,
    ) -> None:
        super().__init__(
            supernet, arch_parameters, recipe, device_config, architect, select=CompressedParameters.genotype
        )
        self.sparse = arch_parameters
        self._solver, self._accept = solver, accept
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


class FreezingLearner(SparseLearner):
    """Learns a network of the final size while its nodes' choices settle; it is finished when all of them have.

    Before every epoch but the first, nodes whose vector the recovery moves by no more than :data:`TOLERANCE` are
    frozen: their vector and parameters stay. A node's batch norms, with scales of 1 and shifts of 0 until then, learn
    from that epoch on. When all nodes are frozen, that epoch is the last.

    Its supernet has affine batch norms everywhere, and an auxiliary head if the recipe gives it a weight; its architect
    moves the compressed parameters together with the weights.
    """

    @property
    def whole(self) -> SupernetDARTS:
        """The supernet."""
        return cast(SupernetDARTS, self.supernet)

    @property
    def settled(self) -> bool:
        """Whether all nodes are frozen."""
        return all(map(self.sparse.is_frozen, self.sparse.nodes))

    def choose(self, epoch: int) -> None:
        change = self.recover(self._accept if epoch else None)  # the first choice has to be taken
        self.sparse.freeze(name for name, distance in change.distance.items() if distance <= TOLERANCE)
        self._release_norms()
        if self.settled:
            self.architect.joint = None

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        self.finished = self.settled
        frozen = sum(map(self.sparse.is_frozen, self.sparse.nodes))
        return {**super().end_epoch(epoch), "frozen_nodes": frozen}

    def _release_norms(self) -> None:
        """The batch norms of frozen nodes' operations learn, those of the others do not."""
        for cell, kind in enumerate(self.whole.kinds):
            for edge, (node, _) in enumerate(EDGES):
                frozen = self.sparse.is_frozen(f"{kind}_{node}")
                for position in range(len(self.whole.candidates[kind][edge])):
                    for module in self.whole.operation_at(cell, edge, position).modules():
                        if isinstance(module, nn.BatchNorm2d):
                            module.requires_grad_(frozen)


class DerivedNetworkLearner(SupervisedLearner, ArchitectureLearner):
    """Trains the derived network on, from the weights and the momenta that the supernet has left.

    Args:
        derived: The network, which is moved to the device.
        genotype: What it is.
        recipe: The numbers.
        device_config: Where to compute.
        before: The steps that the weights have learned by so far.
    """

    def __init__(
        self,
        derived: DerivedNetwork,
        genotype: Genotype,
        recipe: Recipe,
        device_config: DeviceConfig,
        before: WeightStep,
    ) -> None:
        super().__init__(derived.network, recipe, device_config)
        self._genotype = genotype
        for parameter, origin in derived.origins.items():
            if origin in before.optimizer.state:
                self._step.optimizer.state[parameter] = deepcopy(before.optimizer.state[origin])

    def architecture(self) -> Genotype:
        return self._genotype

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        return {**super().end_epoch(epoch), "architecture": str(self._genotype)}
