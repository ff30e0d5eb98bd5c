"""DARTS-PT: the operations of a trained supernet are chosen by what their removal costs, not by their weights.

Wang et al., ICLR 2021, arXiv:2108.04392, with the numbers of ruocwang/darts-pt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from prejudge.errors import InputError, unknown
from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.darts.method import SPACES, bilevel, candidates_of, family
from prejudge.search.supernet.darts_pt.earlier_run import described, take_supernet
from prejudge.search.supernet.sdarts.method import perturbed
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.spaces.base import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.search.supernet.darts_pt.candidate_evaluation import CandidateEvaluation
    from prejudge.train.loop import Batches

SUPERNETS = ("darts", "blank", "sdarts")
EVALUATIONS = ("repeatable", "original")

SLOWER = 10
"""The learning rate of the tuning is the supernet's first one divided by this, and constant."""


@search_method(
    "darts-pt",
    reference="Wang et al., ICLR 2021, arXiv:2108.04392",
    spaces=SPACES,
    continues=True,
    context=SupernetContext,
)
def darts_pt(
    search: SupernetContext,
    supernet: str = "darts",
    criterion: str = "acc",
    tune_epochs: int = 5,
    evaluation: str = "repeatable",
    perturbation: str = "random",
    zero: bool = False,
) -> Stages:
    """Perturbation-based selection: operations are fixed one by one, those first without which the supernet is worst.

    Args:
        search: Space, images, device and seed; a run to start from is taken instead of training a supernet.
        supernet: How the supernet is trained, and how the architecture moves between projections: ``"darts"``,
            ``"blank"`` or ``"sdarts"``.
        criterion: What tells how good a supernet is: ``"acc"`` or ``"loss"`` on held-out images.
        tune_epochs: Epochs from one projection to the next.
        evaluation: ``"repeatable"``: the same batches for every removal, without augmentation, and without a trace;
            ``"original"``: as in the original, augmented and shuffled anew for each.
        perturbation: Of ``sdarts``: ``"random"`` or ``"adversarial"``.
        zero: Whether, in the space ``darts``, ``none`` is an operation to choose from.
    """
    if supernet not in SUPERNETS:
        raise unknown("supernet", supernet, SUPERNETS)
    if evaluation not in EVALUATIONS:
        raise unknown("evaluation", evaluation, EVALUATIONS)
    if isinstance(tune_epochs, bool) or not isinstance(tune_epochs, int) or tune_epochs < 1:
        raise InputError(f"tune_epochs must be a positive integer, not {tune_epochs!r}")
    if supernet == "sdarts":
        trained = perturbed(search, perturbation, zero=zero)
    else:
        order = "none" if supernet == "blank" else "first"
        trained = bilevel(search, order, candidates=candidates_of(search.space, zero=zero))
    origin, after = {}, trained.epochs
    if search.resume_from is not None:
        found = take_supernet(trained, search, (supernet,), zero=zero)
        origin, after = {"supernet": described(found)}, found.epoch
    stage = projecting(
        trained,
        search,
        criterion=criterion,
        tune_epochs=tune_epochs,
        evaluation=evaluation,
        perturbation=perturbation if supernet == "sdarts" else None,
        after=after,
    )
    if search.resume_from is None:
        yield trained
    yield replace(stage, origin=origin)
    return cast(Architecture, stage.learner.architecture())


def projecting(
    trained: Stage[Any],
    search: SupernetContext,
    *,
    criterion: str,
    tune_epochs: int,
    evaluation: str,
    perturbation: str | None,
    after: int,
) -> Stage[Any]:
    """The second stage, ready to begin once the first has been run.

    Args:
        trained: The first stage, whose network and architecture parameters are taken over.
        search: Space, images, device and seed.
        criterion: As for :func:`darts_pt`, as are ``tune_epochs`` and ``evaluation``.
        perturbation: What the weights are tuned with; None for the projected mixture itself.
        after: Epochs of the first stage: order and augmentation go on from there.

    Raises:
        InputError: The criterion is unknown.
    """
    from prejudge.search.supernet.darts_pt.candidate_evaluation import OriginalEvaluation, RepeatableEvaluation
    from prejudge.search.supernet.darts_pt.learner import ProjectionLearner
    from prejudge.search.supernet.darts_pt.projection import EdgeProjection, projection_epochs
    from prejudge.search.supernet.sdarts.perturbation import SoftmaxPerturbation, constant

    learner, held_out = trained.learner, trained.held_out
    assert held_out is not None
    projection = EdgeProjection(learner.supernet.candidates, criterion=criterion, seed=search.seed)
    at = projection_epochs(projection.rounds, tune_epochs, thinning=family(search.space) == "darts")
    before = learner.recipe
    recipe = replace(
        before,
        epochs=at[-1] + 1,
        learning_rate=before.learning_rate / SLOWER,
        min_learning_rate=0.0,
        schedule="constant",
        warmup_epochs=0,
    )
    scored: CandidateEvaluation
    if evaluation == "repeatable":
        scored = RepeatableEvaluation(
            search.batches(held_out, replace(before, augment=False, noise_std=0.0)), search.device_config
        )
    else:
        scored = OriginalEvaluation(search.batches(held_out, before, stream=1), search.device_config)
    return Stage(
        name="projection",
        learner=ProjectionLearner(
            learner,
            recipe,
            projection,
            scored,
            at=at,
            after=after,
            perturbation=None if perturbation is None else SoftmaxPerturbation(perturbation, constant),
        ),
        batches=_Later(trained.batches, after),
        epochs=recipe.epochs,
        held_out=held_out,
    )


@dataclass(frozen=True)
class _Later:
    """Batches of later epochs."""

    batches: Batches
    after: int

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches.epoch(self.after + number)
