"""SDARTS: the weights learn with a mixture near the architecture's, at random or the worst that is found.

Chen & Hsieh, ICML 2020, arXiv:2002.05283, with the numbers of ruocwang/darts-pt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from prejudge.errors import InputError, unknown
from prejudge.search.supernet.arch_parameters import Candidates
from prejudge.search.supernet.learner import SupernetLearner
from prejudge.spaces.nn.supernet import Mixture

PERTURBATIONS = ("random", "adversarial")

ASCENTS = 7
"""Steps of the adversary, each 2/7 of the radius long."""

FIRST = 0.03
"""Radius in the first epoch of a search."""

Weights = Mapping[str, Tensor]


class SoftmaxPerturbation:
    """The perturbation of the softmax weights of every operation by up to a radius.

    Args:
        kind: One of :data:`PERTURBATIONS`.
        radius: The radius in an epoch (from 0).

    Raises:
        InputError: The kind is unknown.
    """

    def __init__(self, kind: str, radius: Callable[[int], float]) -> None:
        if kind not in PERTURBATIONS:
            raise unknown("perturbation", kind, PERTURBATIONS)
        self.kind = kind
        self.radius = radius
        self._now = radius(0)

    def begin_epoch(self, epoch: int) -> None:
        """Take the epoch's radius."""
        self._now = self.radius(epoch)

    def __call__(self, learner: SupernetLearner, inputs: Tensor, targets: Tensor) -> Mixture:
        """The perturbed mixture for one batch; it requires no gradient."""
        arch_parameters = learner.arch_parameters
        with torch.no_grad():
            weights = arch_parameters.weights()
        present = _present(arch_parameters.candidates, weights)
        if self.kind == "random":
            return arch_parameters.mixture_of(randomly(weights, present, self._now))

        def loss(perturbed: Weights) -> Tensor:
            return learner.loss(inputs, targets, arch_parameters.mixture_of(perturbed))

        learner.supernet.eval()  # as in the original: the adversary leaves no trace in the running statistics
        try:
            return arch_parameters.mixture_of(adversarially(weights, present, self._now, loss))
        finally:
            learner.supernet.train()


def randomly(weights: Weights, present: Weights, radius: float) -> dict[str, Tensor]:
    """Weights with uniform noise from ``-radius`` to ``radius``, made shares again.

    Args:
        weights: ``(edges, widest)`` by the kind of cell.
        present: Where an edge has a candidate, likewise.
        radius: Of the noise.
    """
    return {
        kind: shares(w + torch.empty_like(w).uniform_(-radius, radius), present[kind]) for kind, w in weights.items()
    }


def adversarially(
    weights: Weights, present: Weights, radius: float, loss: Callable[[Weights], Tensor], *, random_start: bool = True
) -> dict[str, Tensor]:
    """Weights within a radius that raise a loss: projected gradient ascent by the gradient's signs.

    Args:
        weights: ``(edges, widest)`` by the kind of cell.
        present: Where an edge has a candidate, likewise.
        radius: Largest difference on an operation, before weights are made shares again.
        loss: What is to become large, ``()``, differentiable.
        random_start: Whether the ascent starts from :func:`randomly` perturbed weights.

    Returns:
        The weights after the last step, or those given where the loss has fallen.
    """
    with torch.no_grad():
        before = loss(weights)
    found = randomly(weights, present, radius) if random_start else dict(weights)
    for _ in range(ASCENTS):
        leaves = {kind: w.detach().requires_grad_() for kind, w in found.items()}
        slopes = torch.autograd.grad(loss(leaves), list(leaves.values()), allow_unused=True, materialize_grads=True)
        step = 2 * radius / ASCENTS
        for (kind, leaf), slope in zip(leaves.items(), slopes, strict=True):
            # The original does not run what has weight 0, which therefore has no gradient and stays out.
            ascent = step * slope.sign().masked_fill(leaf == 0, 0)
            away = (leaf.detach() + ascent - weights[kind]).clamp(-radius, radius)
            found[kind] = shares(weights[kind] + away, present[kind])
    with torch.no_grad():
        fell = before > loss(found)
    return {kind: torch.where(fell, w, found[kind]) for kind, w in weights.items()}


def shares(weights: Tensor, present: Tensor) -> Tensor:
    """Rows cut off at 0 and 1 and divided by their sums; a row with nothing above 0 has all on its largest.

    Args:
        weights: ``(edges, widest)``.
        present: Where an edge has a candidate, likewise; the weight is 0 elsewhere.
    """
    candidates = weights.masked_fill(~present, -torch.inf)
    cut = candidates.clamp(0, 1)
    largest = torch.zeros_like(cut).scatter_(1, candidates.argmax(1, keepdim=True), 1.0)
    cut = torch.where(cut.sum(1, keepdim=True) == 0, largest, cut)
    return cut / cut.sum(1, keepdim=True)


def growing(epochs: int, largest: float = 0.3) -> Callable[[int], float]:
    """The radius of a search: from 0.03 by equal steps, the largest one epoch after the last.

    Raises:
        InputError: The largest is below 0.03 or above 1.
    """
    if not FIRST <= largest <= 1:
        raise InputError(f"epsilon_alpha must be a radius of {FIRST} to 1, not {largest!r}")
    return partial(_grown, epochs, largest)


def constant(radius: float) -> Callable[[int], float]:
    """The radius while projected supernets are tuned: the largest one of their search."""
    return partial(_constant, radius)


def _constant(radius: float, epoch: int) -> float:
    return radius


def _grown(epochs: int, largest: float, epoch: int) -> float:
    return FIRST + (largest - FIRST) * epoch / epochs


def _present(candidates: Candidates, weights: Weights) -> dict[str, Tensor]:
    found = {}
    for kind, matrix in weights.items():
        sizes = torch.tensor([len(edge) for edge in candidates[kind]], device=matrix.device)
        found[kind] = torch.arange(matrix.shape[1], device=matrix.device) < sizes[:, None]
    return found
