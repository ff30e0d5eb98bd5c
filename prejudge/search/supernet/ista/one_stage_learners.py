"""The two phases of ISTA-NAS one-stage: node after node of the network is decided, then the network learns on."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import nn

from prejudge.search.supernet.architect import JointArchitect
from prejudge.search.supernet.ista.batch_norm_folding import DerivedNetwork
from prejudge.search.supernet.ista.compressed import CompressedParameters
from prejudge.search.supernet.ista.sparse_learner import SparseLearner
from prejudge.search.supernet.ista.sparse_solvers import Solver
from prejudge.search.supernet.learner import ArchitectureLearner
from prejudge.spaces.darts.candidates import EDGES
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.supernet import SupernetDARTS
from prejudge.train.device import DeviceConfig
from prejudge.train.learner import SupervisedLearner
from prejudge.train.optimization.weight_step import WeightStep
from prejudge.train.recipes.recipe import Recipe

TOLERANCE = 1e-3
"""A node's choice is final once a recovery moves its vector by no more than this."""


class FreezingLearner(SparseLearner):
    """Learns a network of the final size while its nodes' choices settle; it is finished when all of them have.

    Before every epoch but the first, nodes whose vector the recovery moves by no more than :data:`TOLERANCE` are
    frozen: their vector and parameters stay. A node's batch norms, with scales of 1 and shifts of 0 until then, learn
    from that epoch on. When all nodes are frozen, that epoch is the last.

    Args:
        supernet: Affine batch norms everywhere; with an auxiliary head if the recipe gives it a weight.
        arch_parameters: The compressed architecture parameters, on the device.
        recipe: The numbers of the weights' training.
        device_config: Where to compute.
        architect: Moves the compressed parameters together with the weights.
        solver: Solves the recovery's LASSO problems.
        accept: Whether a recovery may change the choice to this one; whether it may or not, nodes freeze.

    Attributes:
        whole: The supernet.
    """

    def __init__(
        self,
        supernet: SupernetDARTS,
        arch_parameters: CompressedParameters,
        recipe: Recipe,
        device_config: DeviceConfig,
        architect: JointArchitect,
        solver: Solver,
        accept: Callable[[Genotype], bool],
    ) -> None:
        super().__init__(supernet, arch_parameters, recipe, device_config, architect, solver)
        self.whole = supernet
        self._accept = accept

    @property
    def settled(self) -> bool:
        """Whether all nodes are frozen."""
        return all(map(self.sparse.is_frozen, self.sparse.nodes))

    def choose(self, epoch: int) -> None:
        change = self.recover(self._accept if epoch else None)  # without any choice, the first has to be taken
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
