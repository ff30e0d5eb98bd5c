"""DARTS-PT: the operations of a trained supernet are chosen by what their removal costs, not by their weights.

Wang et al., ICLR 2021, arXiv:2108.04392, with the numbers of ruocwang/darts-pt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from prejudge.errors import InputError, unknown
from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.darts.method import SPACES, adam_config, bilevel, candidates_of, family
from prejudge.search.supernet.darts_pt.earlier_run import described, find_supernet, take_supernet
from prejudge.search.supernet.sdarts.method import EPSILON, perturbed
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.spaces.base import Architecture
from prejudge.spaces.darts.candidates import edge_index
from prejudge.spaces.darts.genotype import Genotype

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.search.supernet.darts_pt.candidate_evaluation import CandidateEvaluation
    from prejudge.search.supernet.darts_pt.projection import EdgeProjection
    from prejudge.search.supernet.learner import Perturbation
    from prejudge.train.loop import Batches

SUPERNETS = ("darts", "blank", "sdarts")
EVALUATIONS = ("repeatable", "original")

UNCHANGED: Mapping[str, Any] = {
    "augment": False, "vertical_flip": False, "cutout": 0, "autoaugment": "", "noise_std": 0.0
}  # fmt: skip
"""Options of a recipe whose images are as they are."""

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
    criterion_normal: str | None = None,
    criterion_reduce: str | None = None,
    criterion_edge: str | None = None,
    epsilon_alpha: float = EPSILON,
    arch_learning_rate: float = 3e-4,
    arch_weight_decay: float = 1e-3,
    train_portion: float = 0.5,
    ckpt_interval: int | None = None,
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
        criterion_normal: What tells it where operations of normal cells are fixed; ``criterion`` if left out.
        criterion_reduce: Where operations of reduction cells are fixed, likewise.
        criterion_edge: Where edges are removed, likewise.
        epsilon_alpha: Of ``sdarts``: its largest radius, which is that of the tuning, too.
        arch_learning_rate: As for ``darts``, as are the others.
    """
    from prejudge.search.supernet.sdarts.perturbation import SoftmaxPerturbation, constant

    if supernet not in SUPERNETS:
        raise unknown("supernet", supernet, SUPERNETS)
    if evaluation not in EVALUATIONS:
        raise unknown("evaluation", evaluation, EVALUATIONS)
    if isinstance(tune_epochs, bool) or not isinstance(tune_epochs, int) or tune_epochs < 1:
        raise InputError(f"tune_epochs must be a positive integer, not {tune_epochs!r}")
    found = None if search.resume_from is None else find_supernet(search)
    if found is not None:
        search.split_seed = int(found.plan["seed"])  # what its weights have learned is not held out
    chosen: dict[str, Any] = {
        "adam": adam_config(arch_learning_rate, arch_weight_decay),
        "train_portion": train_portion,
        "keep_every": ckpt_interval,
    }
    if supernet == "sdarts":
        trained = perturbed(search, perturbation, zero=zero, epsilon_alpha=epsilon_alpha, **chosen)
    else:
        order = "none" if supernet == "blank" else "first"
        trained = bilevel(search, order, candidates=candidates_of(search.space, zero=zero), **chosen)
    origin, after = {}, trained.epochs
    if found is not None:
        take_supernet(found, trained, search, (supernet,), zero=zero, train_portion=train_portion)
        origin, after = {"supernet": described(found)}, found.epoch
    own = {"normal": criterion_normal, "reduce": criterion_reduce, "edge": criterion_edge}
    criteria = {kind: own.get(kind) or criterion for kind in (*trained.learner.supernet.candidates, "edge")}
    stage = projecting(
        trained,
        search,
        criteria=criteria,
        tune_epochs=tune_epochs,
        evaluation=evaluation,
        perturbation=SoftmaxPerturbation(perturbation, constant(epsilon_alpha)) if supernet == "sdarts" else None,
        after=after,
    )
    if found is None:
        yield trained
    yield replace(stage, origin=origin)
    recommended = cast(Architecture, stage.learner.architecture())
    if isinstance(recommended, Genotype):
        for edge in unchosen(recommended, stage.learner.projection):
            search.warn(edge)
    return recommended


def unchosen(genotype: Genotype, projection: EdgeProjection) -> Iterator[str]:
    """The edges of a genotype that no projection has chosen so, one sentence each.

    A genotype has two operations for every node. Where fewer edges are left, because ``none`` was chosen on one (S3),
    the rule by which it is read puts the first other operation there, as the original's does.
    """
    for cell, edges, _ in genotype.cells():
        for number, (operation, source) in enumerate(edges):
            edge = edge_index(number // 2, source)
            choice, names = projection.choices[cell][edge], projection.candidates[cell][edge]
            if choice < 0 or names[choice] != operation:
                was = f"{names[choice]} was chosen" if choice >= 0 else "no operation was left"
                yield (
                    f"{cell} cell, node {number // 2}: {operation} from state {source} was not chosen by the "
                    "projection: "
                    f"{was} on that edge, and a genotype has two operations for every node"
                )


def projecting(
    trained: Stage[Any],
    search: SupernetContext,
    *,
    criteria: Mapping[str, str],
    tune_epochs: int,
    evaluation: str,
    perturbation: Perturbation | None,
    after: int,
) -> Stage[Any]:
    """The second stage, ready to begin once the first has been run.

    Args:
        trained: The first stage, whose network and architecture parameters are taken over.
        search: Space, images, device and seed.
        criteria: By the kind of cell, and for ``"edge"``: see :class:`EdgeProjection`.
        tune_epochs: As for :func:`darts_pt`, as is ``evaluation``.
        perturbation: What the weights are tuned with; None for the projected mixture itself.
        after: Epochs of the first stage: order and augmentation go on from there.

    Raises:
        InputError: A criterion is unknown.
    """
    from prejudge.search.supernet.darts_pt.candidate_evaluation import OriginalEvaluation, RepeatableEvaluation
    from prejudge.search.supernet.darts_pt.learner import ProjectionLearner
    from prejudge.search.supernet.darts_pt.projection import EdgeProjection, projection_epochs

    learner, held_out = trained.learner, trained.held_out
    assert held_out is not None
    projection = EdgeProjection(learner.supernet.candidates, criteria=criteria, seed=search.seed)
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
        scored = RepeatableEvaluation(search.batches(held_out, replace(before, **UNCHANGED)), search.device_config)
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
            perturbation=perturbation,
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
