"""ISTA-NAS, one-stage: search in the network of the final size, and train it on without a break.

Yang et al., *ISTA-NAS: Efficient and Consistent Neural Architecture Search by Sparse Coding*, NeurIPS 2020,
arXiv:2010.06176, with the numbers of iboing/ISTA-NAS (226e49f).
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prejudge.errors import InputError, unknown
from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.ista.sparse_solvers import solver as solver_of
from prejudge.search.supernet.ista.two_stage import REFERENCE
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.spaces.darts.genotype import Genotype
from prejudge.train.recipes.recipe import Recipe

if TYPE_CHECKING:
    from prejudge.search.supernet.architect import AdamConfig
    from prejudge.search.supernet.ista.compressed import CompressedParameters
    from prejudge.search.supernet.ista.learners import DerivedNetworkLearner, FreezingLearner
    from prejudge.spaces.darts.supernet import SupernetDARTS

SPACES = ("darts", "darts-s1", "darts-s2")
"""Those of the DARTS cell without ``none`` and ``noise``: a batch norm must follow every operation."""

RECIPE = Recipe(
    epochs=600,
    batch_size=96,
    learning_rate=0.025,
    min_learning_rate=1e-3,
    nesterov=False,
    weight_decay=3e-4,
    max_grad_norm=5.0,
    augment=True,
    cutout=16,
    drop_path=0.2,
    auxiliary_weight=0.4,
    schedule="cosine-epochs",
)
"""The final phase; the search phase has the same number of epochs at most, a constant learning rate and no
drop-path."""

NORMS = {"affine": True, "pool_norm": True, "skip_norm": True}
"""Batch norms of the supernet: those of the final network."""

FOLDS = ("start", "end")

SMALL_WEIGHT = 0.1
"""Median weight of the chosen operations below which a search has hardly moved them from their first, random values."""

WEIGHTS = "network.safetensors"
"""Where a run's folder has the trained network, as :func:`prejudge.train.export.weights.load_weights` reads it."""


@search_method("ista-onestage", reference=REFERENCE, spaces=SPACES, context=SupernetContext)
def ista_onestage(
    search: SupernetContext,
    solver: str = "exact",
    arch_learning_rate: float = 3e-4,
    arch_weight_decay: float = 1e-3,
    proj_dims: int = 7,
    max_params: float = 3.7e6,
    final_epochs: int | None = None,
    fold: str = "start",
) -> Stages:
    """ISTA-NAS, one-stage: search in the network of the final size, then train it on with what it has learnt.

    All images are learned from, by weights and architecture, so that no accuracy on others is known. The trained
    network is written into the run's folder, without its auxiliary head.

    Args:
        search: Space, images, device and seed, of the random matrices too (5 in the original).
        solver: ``"exact"``, ``"cvxpy-clarabel"`` or ``"cvxpy-mosek"``: who solves the LASSO problems.
        arch_learning_rate: Of the compressed architecture parameters.
        arch_weight_decay: Likewise.
        proj_dims: Numbers that are learned for each node.
        max_params: Choices whose CIFAR-10 network of the published size (36 channels, 20 cells) has so many parameters
            or more are refused; 0 refuses none.
        final_epochs: Epochs of the final phase; by default as many as the search phase has at most; 0 leaves it out.
        fold: When the weights of the operations become part of their batch norms: ``"start"``, before the final
            phase, or ``"end"``, after it, as in the original code. The network is the same, its training is not: as
            factors w they also scale the norms' steps, by w². Where the search has been too short for weights of the
            size of 1, the norms then hardly learn; that is said in the result's warnings.
    """
    from prejudge.search.supernet.architect import AdamConfig
    from prejudge.search.supernet.ista.batch_norm_folding import fold as fold_batch_norms

    _check(search, final_epochs, fold)
    search.metadata["form"] = "ista-onestage"
    recipe = _recipe(search)
    adam = AdamConfig(learning_rate=arch_learning_rate, weight_decay=arch_weight_decay)
    first = search_phase(search, recipe, solver, adam, max_params, proj_dims)
    yield first
    final = final_phase(search, replace(recipe, epochs=final_epochs or recipe.epochs), first.learner, fold)
    _say_weights(search, first.learner.sparse, fold)
    if final_epochs != 0:
        yield final
    fold_batch_norms(final.learner.evaluated)
    if search.folder is not None and search.is_writer:
        _export(search.folder / WEIGHTS, search, final.learner, first.learner.whole)
    return final.learner.architecture()


def search_phase(
    search: SupernetContext, recipe: Recipe, solver: str, adam: AdamConfig, max_params: float, proj_dims: int = 7
) -> Stage[FreezingLearner]:
    """The supernet of the final size, ready to learn.

    Args:
        search: Space, images, device and seed.
        recipe: That of the final phase.
        solver: Name of the LASSO solver.
        adam: Updates the compressed architecture parameters.
        max_params: Size of networks that are refused; 0 for none.
        proj_dims: Numbers that are learned for each node.
    """
    from prejudge.search.supernet.architect import JointArchitect
    from prejudge.search.supernet.ista.compressed import CompressedParameters
    from prejudge.search.supernet.ista.learners import FreezingLearner

    def small_enough(genotype: Genotype) -> bool:
        return not max_params or search.space.params(genotype, form="ista-onestage") < max_params

    solve = solver_of(solver)
    recipe = replace(recipe, schedule="constant", min_learning_rate=0.0, warmup_epochs=0, drop_path=0.0)
    whole = search.supernet(channels=36, cells=20, auxiliary=recipe.auxiliary_weight > 0, **NORMS)
    supernet = cast("SupernetDARTS", whole)  # as all SPACES have them
    compressed = CompressedParameters(supernet.candidates, search.seed, dimensions=proj_dims)
    arch_parameters = compressed.to(search.device_config.device)
    architect = JointArchitect(arch_parameters.parameters(), adam)
    learner = FreezingLearner(supernet, arch_parameters, recipe, search.device_config, architect, solve, small_enough)
    return Stage("search", learner, search.batches(search.images, recipe), recipe.epochs)


def final_phase(
    search: SupernetContext, recipe: Recipe, found: FreezingLearner, fold: str
) -> Stage[DerivedNetworkLearner]:
    """The network of the choice that a search phase has come to, ready to learn on.

    Args:
        search: Space, images, device and seed.
        recipe: The numbers.
        found: What the search phase has left; nodes that its epochs did not suffice for stay as they are now.
        fold: One of :data:`FOLDS`.
    """
    from prejudge.search.supernet.ista import batch_norm_folding as folding
    from prejudge.search.supernet.ista.learners import DerivedNetworkLearner

    found.sparse.freeze(found.sparse.nodes)
    derived = folding.derive(found.whole, found.sparse)
    if fold == "start":
        folding.fold(derived.network)
    learner = DerivedNetworkLearner(derived, found.sparse.genotype(), recipe, search.device_config, found.weight_step)
    return Stage("final", learner, search.batches(search.images, recipe, stream=1), recipe.epochs)


def _recipe(search: SupernetContext) -> Recipe:
    """The numbers of the final phase; on small images cutout covers the same part of them as on CIFAR's."""
    return search.recipe(replace(RECIPE, cutout=min(RECIPE.cutout, search.images.image_size // 2)))


def _say_weights(search: SupernetContext, sparse: CompressedParameters, fold: str) -> None:
    """Keep the sizes of the weights that are folded into batch norms, and warn of weights far below 1."""
    weights = sorted(abs(w) for pair in sparse.selected_weights().values() for w in pair.tolist())
    median = statistics.median(weights)
    search.metadata["folded weights"] = {"smallest": weights[0], "median": median, "largest": weights[-1]}
    if median < SMALL_WEIGHT:
        slow = f"; with fold=end they slow their batch norms' steps by {median**2:.1g}: take fold=start"
        search.warn(
            "the weights of the chosen operations are small as they are folded into batch norms "
            f"(median {median:.2g}): in so few steps the architecture has hardly moved from where it was drawn; "
            f"take more epochs or a larger arch_learning_rate{slow if fold == 'end' else ''}"
        )


def _check(search: SupernetContext, final_epochs: int | None, fold: str) -> None:
    if fold not in FOLDS:
        raise unknown("fold", fold, FOLDS)
    if final_epochs is not None and (not isinstance(final_epochs, int) or final_epochs < 0):
        raise InputError(f"ista-onestage: final_epochs must be 0 or more, not {final_epochs!r}")
    for name in search.macro:
        if name not in ("channels", "cells"):
            raise InputError(f"ista-onestage trains the final network: channels and cells can be chosen, not {name}")


def _export(path: Path, search: SupernetContext, learner: DerivedNetworkLearner, supernet: SupernetDARTS) -> None:
    """Write the trained network, with how it came about."""
    from prejudge.search.supernet.ista.batch_norm_folding import final_macro
    from prejudge.train.export.weights import export_weights

    made = {"method": "ista-onestage", "seed": search.seed, "data": search.images.name, "images": search.images.digest}
    export_weights(
        learner.evaluated,
        path,
        space=search.space,
        architecture=learner.architecture(),
        macro=replace(final_macro(supernet), auxiliary=False),
        mean=search.images.mean,
        std=search.images.std,
        image_size=search.images.image_size,
        provenance={**made, "recipe": learner.recipe.as_dict()},
    )
