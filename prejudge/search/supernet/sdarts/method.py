"""SDARTS: DARTS whose weights learn with perturbed mixtures, so that the loss is flat around the architecture.

Chen & Hsieh, ICML 2020, arXiv:2002.05283, with the numbers of ruocwang/darts-pt.
"""

from __future__ import annotations

from typing import Any, cast

from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.darts.method import (
    RECIPES,
    SPACES,
    adam_config,
    bilevel,
    candidates_of,
    family,
)
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.spaces.base import Architecture

EPSILON = 0.3
"""Largest radius of the perturbation, in the original."""


@search_method("sdarts", reference="Chen & Hsieh, ICML 2020, arXiv:2002.05283", spaces=SPACES, context=SupernetContext)
def sdarts(
    search: SupernetContext,
    perturbation: str = "random",
    zero: bool = False,
    epsilon_alpha: float = EPSILON,
    arch_learning_rate: float = 3e-4,
    arch_weight_decay: float = 1e-3,
    train_portion: float = 0.5,
    ckpt_interval: int | None = None,
) -> Stages:
    """DARTS, first order, with weights that learn near the architecture's softmax instead of with it.

    Args:
        search: Space, images, device and seed.
        perturbation: ``"random"`` (SDARTS-RS) or ``"adversarial"`` (SDARTS-ADV).
        zero: Whether, in the space ``darts``, ``none`` takes part in the softmax.
        epsilon_alpha: Radius of the perturbation one epoch after the last; it grows from 0.03 by equal steps.
        arch_learning_rate: As for ``darts``, as are the others.
    """
    stage = perturbed(
        search,
        perturbation,
        zero=zero,
        epsilon_alpha=epsilon_alpha,
        adam=adam_config(arch_learning_rate, arch_weight_decay),
        train_portion=train_portion,
        keep_every=ckpt_interval,
    )
    yield stage
    return cast(Architecture, stage.learner.architecture())


def perturbed(
    search: SupernetContext, perturbation: str, *, zero: bool, epsilon_alpha: float = EPSILON, **others: Any
) -> Stage[Any]:
    """The supernet of SDARTS, ready to learn.

    Args:
        search: Space, images, device and seed.
        perturbation: As for :func:`sdarts`.
        zero: Likewise, as is ``epsilon_alpha``.
        others: Arguments of :func:`~prejudge.search.supernet.darts.method.bilevel`.

    Raises:
        InputError: The perturbation is unknown, or a number is out of range.
    """
    from prejudge.search.supernet.sdarts.perturbation import SoftmaxPerturbation, growing

    epochs = search.recipe(RECIPES[family(search.space)]).epochs
    nearby = SoftmaxPerturbation(perturbation, growing(epochs, epsilon_alpha))
    return bilevel(search, "first", candidates=candidates_of(search.space, zero=zero), perturbation=nearby, **others)
