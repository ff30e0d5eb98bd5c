"""The second stage of DARTS-PT: a projection from time to time, and tuning of the weights in every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from prejudge.engine.random_state import random_states, restore_random_states
from prejudge.search.supernet.arch_parameters import ArchParameters
from prejudge.search.supernet.darts_pt.candidate_evaluation import CandidateEvaluation
from prejudge.search.supernet.darts_pt.projection import UNDECIDED, EdgeProjection, HeldOutScore, Removal
from prejudge.search.supernet.learner import Perturbation, SupernetLearner
from prejudge.spaces.nn.supernet import Mixture
from prejudge.train.loop import TrainState
from prejudge.train.recipes.recipe import Recipe


class ProjectedParameters(ArchParameters):
    """Other architecture parameters, with one operation or none on the edges that a projection has decided.

    A decided edge has weight 1 on its operation and runs no other; through it no gradient reaches the architecture
    parameters, as in the original.

    Args:
        arch_parameters: Owns the architecture parameters.
        projection: The decisions; those that it makes later count at once.
    """

    def __init__(self, arch_parameters: ArchParameters, projection: EdgeProjection) -> None:
        super().__init__(arch_parameters.candidates)
        self.undecided = arch_parameters
        self.projection = projection

    def weights(self) -> dict[str, Tensor]:
        return {kind: self._rows(kind, matrix) for kind, matrix in self.undecided.weights().items()}

    def mixture(self) -> Mixture:
        return self.mixture_of(self.undecided.weights())

    def mixture_of(self, weights: Mapping[str, Tensor]) -> Mixture:
        """The mixture in which edges that are not decided have these weights."""
        mixture = super().mixture_of(weights)
        return {
            kind: tuple(
                terms if choice == UNDECIDED else ((choice, 1.0),) if choice >= 0 else ()
                for terms, choice in zip(mixture[kind], self.projection.choices[kind], strict=True)
            )
            for kind in mixture
        }

    def _rows(self, kind: str, matrix: Tensor) -> Tensor:
        choices = torch.tensor(self.projection.choices[kind], device=matrix.device)[:, None]
        chosen = torch.arange(matrix.shape[1], device=matrix.device) == choices
        return torch.where(choices == UNDECIDED, matrix, chosen.to(matrix.dtype))


class ProjectionLearner(SupernetLearner):
    """Projects a trained supernet edge by edge, and lets its weights adapt in between.

    The weights get a new optimizer; the architecture parameters go on with theirs until no edge depends on them.

    Args:
        trained: The learner of the supernet; its network and architecture parameters are taken over, not copied.
        recipe: The numbers of the tuning.
        projection: Decides.
        evaluation: Scores what the projection asks for.
        at: The epochs at whose start all kinds of cells decide once.
        after: Epochs that the supernet was trained for; held-out batches go on from there.
        perturbation: What the weights learn with in place of the projected mixture (SDARTS).
    """

    def __init__(
        self,
        trained: SupernetLearner,
        recipe: Recipe,
        projection: EdgeProjection,
        evaluation: CandidateEvaluation,
        *,
        at: Sequence[int],
        after: int,
        perturbation: Perturbation | None = None,
    ) -> None:
        arch_parameters = ProjectedParameters(trained.arch_parameters, projection)
        super().__init__(
            trained.supernet, arch_parameters, recipe, trained.device_config, trained.architect, perturbation
        )
        self.projection = projection
        self._evaluation = evaluation
        self._at = at
        self._after = after

    def begin_epoch(self, epoch: int) -> None:
        self._take_up(epoch)
        due = len(self.projection.choices) * sum(at <= epoch for at in self._at)
        while len(self.projection.decisions) < due:
            self.projection.decide(self._evaluate)
            self._keep(epoch)
        super().begin_epoch(self._after + epoch)

    def move_architecture(self, inputs: Tensor, targets: Tensor, state: TrainState) -> None:
        if not self.projection.operations_decided:
            super().move_architecture(inputs, targets, state)

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        facts = super().end_epoch(epoch)
        if epoch in self._at:
            facts["decisions"] = [d.as_dict() for d in self.projection.decisions[-len(self.projection.choices) :]]
        return facts

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "projection": self.projection.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.projection.load_state_dict(state["projection"])

    def _evaluate(self, removals: Sequence[Removal]) -> Sequence[HeldOutScore]:
        with torch.no_grad():
            mixture = self.arch_parameters.mixture()
        return self._evaluation(self.supernet, mixture, removals, self.projection.evaluations)

    def _keep(self, epoch: int) -> None:
        """A decision takes many passes over the held-out images: none is made twice."""
        if self.within_epoch is not None:
            self.within_epoch.save(epoch, {"learner": self.state_dict(), "random": random_states()})

    def _take_up(self, epoch: int) -> None:
        found = self.within_epoch.latest() if self.within_epoch is not None else None
        if found is not None and found.epoch == epoch:
            self.load_state_dict(found.state["learner"])
            restore_random_states(found.state["random"])
