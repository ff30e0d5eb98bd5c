"""DARTS: weights and architecture of a supernet learn in turns, each from its own half of the images.

Liu et al., ICLR 2019, arXiv:1806.09055, with the numbers of quark0/darts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prejudge.errors import InputError, unknown
from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.spaces.base import Space
from prejudge.spaces.darts.candidates import DARTS8
from prejudge.train.recipes.recipe import Recipe

if TYPE_CHECKING:
    from prejudge.search.supernet.architect import AdamConfig
    from prejudge.search.supernet.learner import Perturbation, SupernetLearner

SPACES = ("darts", "darts-s?", "nasbench201")

_DARTS = Recipe(
    epochs=50,
    batch_size=64,
    learning_rate=0.025,
    min_learning_rate=1e-3,
    nesterov=False,
    weight_decay=3e-4,
    max_grad_norm=5.0,
    augment=True,
    schedule="cosine-epochs",
)

RECIPES: Mapping[str, Recipe] = {
    "darts": _DARTS,
    "nasbench201": replace(_DARTS, epochs=100),
}
"""Training of the weights: the numbers of DARTS, and of DARTS-PT on NAS-Bench-201, which differ in epochs alone."""

KEEP_EVERY = {"darts": 10, "nasbench201": 20}
"""Epochs between the checkpoints that are kept, which DARTS-PT can start from."""

UPDATES = ("first", "second", "none")


def family(space: Space[Any]) -> str:
    """``"nasbench201"`` or ``"darts"``: which published numbers a space goes by."""
    return "nasbench201" if space.name == "nasbench201" else "darts"


@search_method("darts", reference="Liu et al., ICLR 2019, arXiv:1806.09055", spaces=SPACES, context=SupernetContext)
def darts(
    search: SupernetContext,
    order: str = "first",
    zero: bool = True,
    arch_learning_rate: float = 3e-4,
    arch_weight_decay: float = 1e-3,
    train_portion: float = 0.5,
    ckpt_interval: int | None = None,
) -> Stages:
    """Differentiable architecture search: softmax weights, learned on held-out images.

    Args:
        search: Space, images, device and seed.
        order: ``"first"`` or ``"second"`` order of the architecture's gradient.
        zero: Whether, in the space ``darts``, ``none`` takes part in the softmax, as in the original; it is never
            chosen. The other spaces have their own candidates.
        arch_learning_rate: Of the architecture parameters.
        arch_weight_decay: Likewise.
        train_portion: Share of the images that the weights learn from; the architecture learns from the others.
        ckpt_interval: Epochs between the checkpoints that are kept, which DARTS-PT can start from; 0 keeps the last
            one alone.
    """
    stage = bilevel(
        search,
        order,
        candidates=candidates_of(search.space, zero=zero),
        adam=adam_config(arch_learning_rate, arch_weight_decay),
        train_portion=train_portion,
        keep_every=ckpt_interval,
    )
    yield stage
    return stage.learner.architecture()


@search_method("blank", reference="Wang et al., ICLR 2021, arXiv:2108.04392", spaces=SPACES, context=SupernetContext)
def blank(
    search: SupernetContext, zero: bool = False, train_portion: float = 0.5, ckpt_interval: int | None = None
) -> Stages:
    """A supernet whose architecture parameters never move: what DARTS-PT compares with, and projects.

    Args:
        search: Space, images, device and seed.
        zero: As for ``darts``, as are the others.
    """
    stage = bilevel(
        search,
        "none",
        candidates=candidates_of(search.space, zero=zero),
        train_portion=train_portion,
        keep_every=ckpt_interval,
    )
    yield stage
    return stage.learner.architecture()


def candidates_of(space: Space[Any], *, zero: bool) -> dict[str, Any]:
    """The candidates as an option of the supernet: left out, unless ``none`` is to join those of ``darts``."""
    return {"candidates": DARTS8} if zero and space.name == "darts" else {}


def adam_config(learning_rate: float, weight_decay: float) -> AdamConfig:
    """The optimizer of architecture parameters; raises :class:`InputError` for a number that is out of range."""
    from prejudge.search.supernet.architect import AdamConfig

    return AdamConfig(learning_rate=learning_rate, weight_decay=weight_decay)


def bilevel(
    search: SupernetContext,
    order: str,
    *,
    candidates: Mapping[str, Any],
    adam: AdamConfig | None = None,
    train_portion: float = 0.5,
    keep_every: int | None = None,
    perturbation: Perturbation | None = None,
    name: str = "supernet",
) -> Stage[SupernetLearner]:
    """The supernet of DARTS and its kin, ready to learn.

    Args:
        search: Space, images, device and seed.
        order: The update of the architecture parameters, one of :data:`UPDATES`.
        candidates: Options of the supernet.
        adam: The optimizer of the architecture parameters; the published one if left out.
        train_portion: Share of the images that the weights learn from.
        keep_every: Epochs between the checkpoints that are kept; those of :data:`KEEP_EVERY` if left out.
        perturbation: What the weights learn with in place of the softmax (SDARTS).
        name: Of the stage.

    Raises:
        InputError: The order is unknown, or a number is out of range.
    """
    from prejudge.search.supernet.arch_parameters import SoftmaxParameters
    from prejudge.search.supernet.architect import AdamConfig, FirstOrderArchitect
    from prejudge.search.supernet.darts.second_order import SecondOrderArchitect
    from prejudge.search.supernet.learner import Architect, SupernetLearner

    if order not in UPDATES:
        raise unknown("order", order, UPDATES)
    keep_every = KEEP_EVERY[family(search.space)] if keep_every is None else keep_every
    if keep_every < 0:
        raise InputError(f"ckpt_interval must be 0 or more, not {keep_every}")
    recipe = search.recipe(RECIPES[family(search.space)])
    train, held_out = search.train_valid_split(train_portion)
    supernet = search.supernet(**candidates)
    arch_parameters = SoftmaxParameters(supernet.candidates).to(search.device_config.device)
    architect = Architect()
    if order != "none":
        kind = SecondOrderArchitect if order == "second" else FirstOrderArchitect
        architect = kind(arch_parameters.parameters(), search.batches(held_out, recipe, stream=1), adam or AdamConfig())
    learner = SupernetLearner(supernet, arch_parameters, recipe, search.device_config, architect, perturbation)
    return Stage(
        name=name,
        learner=learner,
        batches=search.batches(train, recipe),
        epochs=recipe.epochs,
        held_out=held_out,
        keep_every=keep_every,
    )
