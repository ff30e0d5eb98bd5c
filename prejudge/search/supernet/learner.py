"""The learner of a supernet search: in every step the architecture parameters are updated, then the weights learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.search.supernet.arch_parameters import ArchParameters, entropy, share_of
from prejudge.spaces.base import Architecture
from prejudge.spaces.nn.supernet import Mixture, Supernet
from prejudge.train.checkpoint import CheckpointManager
from prejudge.train.device import DeviceConfig
from prejudge.train.loop import Learner, StepOutput, TrainState
from prejudge.train.optimization.weight_step import WeightStep, loss_and_logits
from prejudge.train.recipes.recipe import Recipe


class ParametrizedSupernet(nn.Module):
    """A supernet with the architecture parameters that weigh its operations: a module from images to logits.

    Args:
        supernet: The network.
        arch_parameters: The architecture parameters.
    """

    def __init__(self, supernet: Supernet, arch_parameters: ArchParameters) -> None:
        super().__init__()
        self.supernet = supernet
        self.arch_parameters = arch_parameters

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.supernet(x, self.arch_parameters.mixture())
        return result


class Perturbation(Protocol):
    """A mixture that the weights learn with in place of the architecture parameters' own."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch."""

    def __call__(self, learner: SupernetLearner, inputs: Tensor, targets: Tensor) -> Mixture:
        """The mixture that the weights are about to learn this batch with; it requires no gradient."""


class Architect:
    """The update of a learner's architecture parameters; this one leaves them as they are.

    Attributes:
        optimizer: The optimizer of the parameters; None where they are not updated.
        joint: An optimizer whose step is part of the weights' own, from the gradients of the same loss; None where
            weights learn with the architecture held fixed, or nothing of it is left to learn.
    """

    optimizer: torch.optim.Optimizer | None = None
    joint: torch.optim.Optimizer | None = None

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch."""

    def before(self, learner: SupernetLearner, inputs: Tensor, targets: Tensor, state: TrainState) -> None:
        """Called before each step of the weights, with the batch that they are about to learn."""

    def state_dict(self) -> dict[str, Any]:
        """The state on which later steps depend."""
        return {} if self.optimizer is None else {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` gave."""
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])


class ArchitectureLearner(Learner):
    """The learner of a search stage; it stands for an architecture at any time.

    Among what :meth:`end_epoch` returns is ``"architecture"``, its text.

    Attributes:
        recipe: The numbers of the weights' training.
        within_epoch: Where a learner keeps its state after a long piece of work within an epoch; None for nowhere.
    """

    recipe: Recipe
    within_epoch: CheckpointManager | None = None

    @abstractmethod
    def architecture(self) -> Architecture:
        """The architecture that the search would recommend now."""


class SupernetLearner(ArchitectureLearner):
    """Learns a supernet's weights and its architecture parameters.

    Args:
        supernet: The network; it is moved to the device.
        arch_parameters: The architecture parameters, likewise.
        recipe: The numbers of the weights' training.
        device_config: Where to compute.
        architect: The update of the architecture parameters, made for parameters that are on the device already.
        perturbation: What the weights learn with in place of the architecture parameters' own mixture (SDARTS).
        select: The architecture that architecture parameters stand for; that of the largest weights if left out.
    """

    def __init__(
        self,
        supernet: Supernet,
        arch_parameters: ArchParameters,
        recipe: Recipe,
        device_config: DeviceConfig,
        architect: Architect,
        perturbation: Perturbation | None = None,
        select: Callable[[Any], Architecture] | None = None,
    ) -> None:
        self.network: ParametrizedSupernet = ParametrizedSupernet(supernet, arch_parameters)
        self.recipe = recipe
        self.device_config = device_config
        self.architect = architect
        self.perturbation = perturbation
        self._select = select
        _check(supernet, recipe, device_config)
        self.weight_step = WeightStep(device_config.place(supernet).parameters(), recipe, device_config)

    @property
    def supernet(self) -> Supernet:
        """The weight-sharing network."""
        return self.network.supernet

    @property
    def arch_parameters(self) -> ArchParameters:
        """The architecture parameters."""
        return self.network.arch_parameters

    def architecture(self) -> Architecture:
        """The architecture that the search would recommend now."""
        if self._select is not None:
            return self._select(self.arch_parameters)
        weights = self.arch_parameters.weights()
        return self.supernet.discretize({kind: w.detach().double().cpu().numpy() for kind, w in weights.items()})

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        self.architect.begin_epoch(epoch)
        if self.perturbation is not None:
            self.perturbation.begin_epoch(epoch)

    def step(self, inputs: Tensor, targets: Tensor, state: TrainState) -> StepOutput:
        self.move_architecture(inputs, targets, state)
        mixture = None if self.architect.joint is not None else self._for_weights(inputs, targets)
        return self.weight_step(
            inputs, targets, state, lambda x, y: self._loss_and_logits(x, y, mixture), also=self.architect.joint
        )

    def move_architecture(self, inputs: Tensor, targets: Tensor, state: TrainState) -> None:
        """Called before each step of the weights, with the batch that they are about to learn."""
        self.architect.before(self, inputs, targets, state)

    def loss(self, inputs: Tensor, targets: Tensor, mixture: Mixture | None = None) -> Tensor:
        """Mean cross-entropy of a batch in the device's precision, ``()``.

        Args:
            inputs: ``(N, C, H, W)``.
            targets: ``(N,)``.
            mixture: What runs on the edges; the architecture parameters' own, differentiable one if left out.
        """
        with self.device_config.autocast():
            return self._loss_and_logits(inputs, targets, mixture)[0]

    def learning_rate(self, state: TrainState) -> float:
        return self.weight_step.learning_rate(state)

    def end_epoch(self, epoch: int) -> dict[str, Any]:
        with torch.no_grad():
            weights = self.arch_parameters.weights()
            skips = share_of("skip_connect", weights, self.arch_parameters.candidates)
            return {
                "architecture": str(self.architecture()),
                "entropy": entropy(weights),
                "skip_share": skips,
                "parameters": self.arch_parameters.record(),
            }

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "weight_step": self.weight_step.state_dict(),
            "architect": self.architect.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.weight_step.load_state_dict(state["weight_step"])
        self.architect.load_state_dict(state["architect"])

    def _for_weights(self, inputs: Tensor, targets: Tensor) -> Mixture:
        if self.perturbation is not None:
            return self.perturbation(self, inputs, targets)
        with torch.no_grad():
            return self.arch_parameters.mixture()

    def _loss_and_logits(self, inputs: Tensor, targets: Tensor, mixture: Mixture | None) -> tuple[Tensor, Tensor]:
        mixture = self.arch_parameters.mixture() if mixture is None else mixture
        auxiliary = {"auxiliary": True} if self.recipe.auxiliary_weight else {}
        return loss_and_logits(self.supernet(inputs, mixture, **auxiliary), targets, self.recipe)


def _check(supernet: Supernet, recipe: Recipe, device_config: DeviceConfig) -> None:
    """Raise :class:`InputError` for what a supernet cannot be trained with."""
    for name in ("drop_path", "ema_decay"):
        if getattr(recipe, name):
            raise InputError(
                f"recipe: {name} is {getattr(recipe, name)}, but supernets are trained without; leave it out"
            )
    if recipe.auxiliary_weight and getattr(supernet, "auxiliary_head", None) is None:
        raise InputError(
            f"recipe: auxiliary_weight is {recipe.auxiliary_weight}, but this supernet has no auxiliary classifier"
        )
    if device_config.compile:
        raise InputError("supernets run other operations from step to step; train them without compile")
