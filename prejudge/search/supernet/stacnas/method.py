"""StacNAS: first a group of similar operations for every edge, then an operation of that group.

Li et al., 2019, arXiv:1909.11926, with the numbers of susan0199/stacnas (a3c00dd). Similar operations share what one of
them would earn in a common softmax, so that each group loses against a single, different operation; here one
representative of each group competes first. Architecture and weights learn from the same loss on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.errors import InputError
from prejudge.search.registry import search_method
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.darts.method import adam_config
from prejudge.search.supernet.stacnas.analysis import compared, single_operations
from prejudge.search.supernet.stage import Stage, Stages
from prejudge.spaces.darts.candidates import (
    STACNAS_STAGE1,
    Candidates,
    same_everywhere,
    stacnas_stage2,
)
from prejudge.spaces.darts.discretization import strongest_edges, strongest_in_cell
from prejudge.spaces.darts.genotype import CELLS, Genotype
from prejudge.train.recipes.recipe import Recipe

if TYPE_CHECKING:
    from prejudge.search.supernet.arch_parameters import ArchParameters
    from prejudge.search.supernet.architect import AdamConfig
    from prejudge.train.loop import Epoch

RECIPE = Recipe(
    epochs=80,
    batch_size=64,
    learning_rate=0.025,
    min_learning_rate=1e-3,
    nesterov=False,
    weight_decay=3e-4,
    max_grad_norm=3.0,
    augment=True,
    schedule="cosine-epochs",
)
"""Training of the weights, in both stages."""

Values = Mapping[str, np.ndarray]


@search_method("stacnas", reference="Li et al., 2019, arXiv:1909.11926", spaces=("darts",), context=SupernetContext)
def stacnas(
    search: SupernetContext,
    cells1: int = 14,
    cells2: int = 20,
    train_ratio: float = 1.0,
    share_alphas: bool = True,
    keep_zero: bool = False,
    features: int = 0,
    single_epochs: int = 0,
    arch_learning_rate: float = 3e-4,
    arch_weight_decay: float = 1e-3,
) -> Stages:
    """Groups of similar operations compete first, then the operations of the chosen groups.

    Args:
        search: Space, images, device and seed. A number of cells in its macro goes for both stages.
        cells1: Cells of the first supernet.
        cells2: Cells of the second.
        train_ratio: Share of the images that is learned from. With 1 the last epoch decides, as published; with less
            the one that is best on the other images.
        share_alphas: Whether all cells of a type share their architecture parameters, as published; otherwise each cell
            has its own. Their means decide, and the metadata's ``"cell genotypes"`` has what each cell chose.
        keep_zero: Whether the final network keeps ``none`` beside each operation, so that the two paths into a node
            learn how much each of them counts.
        features: So many training images pass through the first supernet once it is trained, to measure the
            similarity of its operations (10,000 in the original's script); kept with the result.
        single_epochs: So many epochs a network of each single operation is trained, to be compared with what the
            operation won in the first stage; kept with the result. 0 for none.
        arch_learning_rate: Of the architecture parameters.
        arch_weight_decay: Likewise.
    """
    adam = adam_config(arch_learning_rate, arch_weight_decay)
    search.metadata["form"] = "stacnas-zero" if keep_zero else "stacnas"
    first = _stage(search, "groups", same_everywhere(STACNAS_STAGE1), cells1, train_ratio, share_alphas, adam)
    values = alphas_of((yield first), best=train_ratio < 1)
    if features:
        search.metadata["features"] = compared(search, first.learner, features)
    if single_epochs:
        search.metadata["single operations"] = yield from single_operations(
            search,
            np.concatenate(list(values.values())),
            STACNAS_STAGE1,
            cells1,
            replace(search.recipe(RECIPE), epochs=single_epochs),
        )
    second = _stage(search, "operations", stacnas_stage2(winners(values)), cells2, train_ratio, share_alphas, adam)
    history = yield second
    values = alphas_of(history, best=train_ratio < 1)
    candidates = second.learner.arch_parameters.candidates
    if not share_alphas:
        own = _deciding(history, best=train_ratio < 1).metadata["parameters"]
        search.metadata["cell genotypes"] = {
            name: list(map(list, strongest_in_cell(np.array(rows), candidates[name]))) for name, rows in own.items()
        }
    return strongest_edges(values, _by_type(candidates))


def winners(values: Values) -> dict[str, list[str]]:
    """The group that wins on every edge, by the name of its representative: the largest parameter but that of ``none``.

    Args:
        values: Bare architecture parameters of the first stage, ``(14, 5)`` by the type of the cell.
    """
    groups = STACNAS_STAGE1[:-1]
    return {cell: [groups[i] for i in np.argmax(matrix[:, : len(groups)], axis=1)] for cell, matrix in values.items()}


def alphas_of(history: Sequence[Epoch], *, best: bool) -> dict[str, np.ndarray]:
    """Architecture parameters after the last epoch, or after the one that was best on held-out images.

    Returns:
        ``(14, widest)`` by the type of the cell: where every cell has its own, their means.
    """
    parameters = _deciding(history, best=best).metadata["parameters"]
    return _means({kind: np.array(rows) for kind, rows in parameters.items()})


def _deciding(history: Sequence[Epoch], *, best: bool) -> Epoch:
    return max(history, key=lambda e: e.accuracies["valid"]) if best else history[-1]


def _stage(
    search: SupernetContext,
    name: str,
    candidates: Candidates,
    cells: int,
    train_ratio: float,
    share_alphas: bool,
    adam: AdamConfig,
) -> Stage[Any]:
    from prejudge.search.supernet.arch_parameters import SoftmaxParameters
    from prejudge.search.supernet.architect import JointArchitect
    from prejudge.search.supernet.learner import SupernetLearner

    if not 0 < train_ratio <= 1:
        raise InputError(f"stacnas: train_ratio is a share of the images above 0 and up to 1, not {train_ratio}")
    recipe = search.recipe(RECIPE)
    train, held_out = (search.images, None) if train_ratio == 1 else search.train_valid_split(train_ratio)
    supernet = search.supernet(candidates=candidates, cells=cells)
    if not share_alphas:
        _separate(supernet)
    arch_parameters = SoftmaxParameters(supernet.candidates).to(search.device_config.device)
    return Stage(
        name=name,
        learner=SupernetLearner(
            supernet,
            arch_parameters,
            recipe,
            search.device_config,
            JointArchitect(arch_parameters.parameters(), adam),
            select=largest_alphas,
        ),
        batches=search.batches(train, recipe),
        epochs=recipe.epochs,
        held_out=held_out,
    )


def largest_alphas(arch_parameters: ArchParameters) -> Genotype:
    """The genotype of the largest bare parameters, which, unlike the softmax weights, do not compete with ``none``."""
    values = _means({kind: np.array(rows) for kind, rows in arch_parameters.record().items()})
    return strongest_edges(values, _by_type(arch_parameters.candidates))


def _separate(supernet: Any) -> None:
    """From now on every cell of a supernet looks up its own terms, under its type and number."""
    candidates = supernet.candidates
    names = [f"{kind} {number}" for number, kind in enumerate(supernet.kinds)]
    supernet.candidates = {name: candidates[kind] for name, kind in zip(names, supernet.kinds, strict=True)}
    supernet.kinds = names


def _type_of(kind: str) -> str:
    return kind.partition(" ")[0]


def _by_type(candidates: Mapping[str, Any]) -> Candidates:
    return {_type_of(kind): edges for kind, edges in candidates.items()}


def _means(values: Values) -> dict[str, np.ndarray]:
    return {cell: np.mean([m for kind, m in values.items() if _type_of(kind) == cell], axis=0) for cell in CELLS}
