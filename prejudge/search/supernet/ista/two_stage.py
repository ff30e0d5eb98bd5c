"""ISTA-NAS, two-stage: a supernet of which only a sparse choice of operations runs, recovered anew every epoch.

Yang et al., *ISTA-NAS: Efficient and Consistent Neural Architecture Search by Sparse Coding*, NeurIPS 2020,
arXiv:2010.06176, with the numbers of the command in the README of iboing/ISTA-NAS (226e49f).
"""

from __future__ import annotations

from prejudge.errors import InputError
from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.ista.sparse_solvers import solver as solver_of
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.train.recipes.recipe import Recipe

REFERENCE = "Yang et al., NeurIPS 2020, arXiv:2010.06176"

SPACES = ("darts", "darts-s1", "darts-s2", "darts-s4")
"""Those of the DARTS cell without ``none`` among their candidates: there is nothing to recover on an edge of zeros."""

RECIPE = Recipe(
    epochs=50,
    batch_size=256,
    learning_rate=0.1,
    min_learning_rate=1e-3,
    nesterov=False,
    weight_decay=3e-4,
    max_grad_norm=5.0,
    augment=True,
    schedule="cosine-epochs",
)
"""Training of the weights, by the command that the README gives. The script's own defaults are batches of 64 and
learning rates of 0.025 for the weights and 3e-4 for the architecture."""


@search_method("ista", reference=REFERENCE, spaces=SPACES, context=SupernetContext)
def ista(
    search: SupernetContext,
    solver: str = "exact",
    arch_learning_rate: float = 6e-4,
    arch_weight_decay: float = 1e-3,
    train_portion: float = 0.5,
    proj_dims: int = 7,
    sparseness: int = 2,
) -> Stages:
    """ISTA-NAS, two-stage: two operations for each node, recovered by LASSO from a few learned numbers.

    Unlike in the original code, the train/valid split is drawn at random, and the gradients of the architecture do
    not count in the norm to which those of the weights are clipped.

    Args:
        search: Space, images, device and seed, of the random matrices too (2 in the original).
        solver: ``"exact"``, ``"cvxpy-clarabel"`` or ``"cvxpy-mosek"``: who solves the LASSO problems.
        arch_learning_rate: Of the compressed architecture parameters.
        arch_weight_decay: Likewise.
        train_portion: Share of the images that the weights learn from; the architecture learns from the others.
        proj_dims: Numbers that are learned for each node.
        sparseness: Operations of each node that run in the search; the genotype has the two strongest of them.
    """
    from prejudge.search.supernet.architect import AdamConfig, FirstOrderArchitect
    from prejudge.search.supernet.ista.compressed import CompressedParameters
    from prejudge.search.supernet.ista.learners import SparseLearner

    if sparseness < 2:
        raise InputError(
            f"ista: sparseness must be 2 or more, as a genotype has two operations a node, not {sparseness}"
        )
    solve = solver_of(solver)
    recipe = search.recipe(RECIPE)
    train, held_out = search.train_valid_split(train_portion)
    supernet = search.supernet()
    compressed = CompressedParameters(supernet.candidates, search.seed, dimensions=proj_dims, sparseness=sparseness)
    arch_parameters = compressed.to(search.device_config.device)
    adam = AdamConfig(learning_rate=arch_learning_rate, weight_decay=arch_weight_decay)
    architect = FirstOrderArchitect(arch_parameters.parameters(), search.batches(held_out, recipe, stream=1), adam)
    learner = SparseLearner(supernet, arch_parameters, recipe, search.device_config, architect, solve)
    yield Stage("supernet", learner, search.batches(train, recipe), recipe.epochs, held_out)
    learner.recover()
    return learner.architecture()
