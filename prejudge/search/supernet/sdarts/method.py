"""SDARTS: DARTS whose weights learn with perturbed mixtures, so that the loss is flat around the architecture.

Chen & Hsieh, ICML 2020, arXiv:2002.05283, with the numbers of ruocwang/darts-pt.
"""

from __future__ import annotations

from typing import Any, cast

from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.darts.method import RECIPES, SPACES, bilevel, candidates_of, family
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.spaces.base import Architecture


@search_method("sdarts", reference="Chen & Hsieh, ICML 2020, arXiv:2002.05283", spaces=SPACES, context=SupernetContext)
def sdarts(search: SupernetContext, perturbation: str = "random", zero: bool = False) -> Stages:
    """DARTS, first order, with weights that learn near the architecture's softmax instead of with it.

    Args:
        search: Space, images, device and seed.
        perturbation: ``"random"`` (SDARTS-RS) or ``"adversarial"`` (SDARTS-ADV).
        zero: Whether, in the space ``darts``, ``none`` takes part in the softmax.
    """
    stage = perturbed(search, perturbation, zero=zero)
    yield stage
    return cast(Architecture, stage.learner.architecture())


def perturbed(search: SupernetContext, perturbation: str, *, zero: bool) -> Stage[Any]:
    """The supernet of SDARTS, ready to learn.

    Args:
        search: Space, images, device and seed.
        perturbation: As for :func:`sdarts`.
        zero: Likewise.

    Raises:
        InputError: The perturbation is unknown, or a number is out of range.
    """
    from prejudge.search.supernet.sdarts.perturbation import SoftmaxPerturbation, growing

    epochs = search.recipe(RECIPES[family(search.space)]).epochs
    nearby = SoftmaxPerturbation(perturbation, growing(epochs))
    return bilevel(search, "first", candidates=candidates_of(search.space, zero=zero), perturbation=nearby)
