"""Which operations an edge of a DARTS cell may choose from, in each space and stage that papers search.

A cell of four nodes has 14 candidate edges, numbered node by node as :data:`EDGES` lists them; every list here is in
the order of the official code, since supernets index their operations by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prejudge.errors import InputError, unknown
from prejudge.spaces.darts.genotype import CELLS, OPERATIONS

NODES = 4
"""Intermediate nodes of a cell of these spaces."""

EDGES = tuple((node, predecessor) for node in range(NODES) for predecessor in range(node + 2))
"""(node, predecessor) of the 14 candidate edges of a cell, in the official order."""

Candidates = Mapping[str, tuple[tuple[str, ...], ...]]
"""The operations that each of the 14 edges may choose from, by cell type (``"normal"``, ``"reduce"``)."""

DARTS8 = OPERATIONS[:8]
"""The operations of DARTS' own supernet: ``none`` takes part in the softmax and is never chosen."""

DARTS7 = DARTS8[1:]
"""The same without ``none``: NAS-Bench-301, ISTA-NAS, DARTS-PT's space S5, and what a genotype can hold."""

HNAS6 = DARTS7[:-1]
"""The operations of HNAS: its code pairs eight names with seven columns, so ``dil_conv_5x5`` is out of reach."""

TENAS8 = (
    "none",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "avg_pool_3x3",
    "max_pool_3x3",
)
"""DARTS' eight operations in the order of TE-NAS's supernet."""

STACNAS_STAGE1 = ("max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3", "none")
"""One representative of each of StacNAS's operator groups (Li et al., 2019, arXiv:1909.11926); ``none`` is last."""

STACNAS_GROUPS: Mapping[str, tuple[str, ...]] = {
    "max_pool_3x3": ("avg_pool_3x3", "max_pool_3x3", "none"),
    "skip_connect": ("skip_connect", "skip_connect", "none"),
    "sep_conv_3x3": ("sep_conv_3x3", "sep_conv_5x5", "none"),
    "dil_conv_3x3": ("dil_conv_3x3", "dil_conv_5x5", "none"),
}
"""The choices in stage 2 of an edge that chose this representative in stage 1 (two equal skips are official)."""


def edge_index(node: int, predecessor: int) -> int:
    """Position of an edge in :data:`EDGES`: 0, 2, 5 or 9 for the nodes' first edges, plus the predecessor."""
    return node * (node + 3) // 2 + predecessor


def same_everywhere(operations: Sequence[str]) -> Candidates:
    """The candidates of a space whose edges all choose from the same operations."""
    return {cell: (tuple(operations),) * len(EDGES) for cell in CELLS}


def stacnas_stage2(chosen: Mapping[str, Sequence[str]]) -> Candidates:
    """StacNAS's second stage: each edge chooses within the group whose representative won its first stage.

    Args:
        chosen: By cell type the winner of each of the 14 edges, one of :data:`STACNAS_GROUPS`.

    Raises:
        InputError: A winner represents no group, or there are not 14 of them.
    """
    found = {}
    for cell in CELLS:
        winners = tuple(chosen.get(cell, ()))
        if len(winners) != len(EDGES):
            raise InputError(
                f"StacNAS stage 2: the {cell} cell has {len(winners)} winners of stage 1, not {len(EDGES)}"
            )
        for winner in winners:
            if winner not in STACNAS_GROUPS:
                raise unknown("StacNAS group", winner, STACNAS_GROUPS)
        found[cell] = tuple(STACNAS_GROUPS[winner] for winner in winners)
    return found


def _pairs(*pairs: str) -> tuple[tuple[str, ...], ...]:
    full = {"skip": "skip_connect", "max": "max_pool_3x3", "avg": "avg_pool_3x3", "sep3": "sep_conv_3x3"}
    full |= {"dil3": "dil_conv_3x3", "dil5": "dil_conv_5x5"}
    return tuple(tuple(full[name] for name in pair.split()) for pair in pairs)


S1: Candidates = {
    "normal": _pairs(
        *("skip dil3", "skip dil5"),
        *("skip dil5", "skip sep3", "skip dil3"),
        *("max skip", "skip sep3", "skip sep3", "skip dil3"),
        *("skip sep3", "max skip", "skip dil3", "dil3 dil5", "dil3 dil5"),
    ),
    "reduce": _pairs(
        *("max avg", "max dil3"),
        *("max avg", "max avg", "skip dil5"),
        *("max avg", "max sep3", "skip dil3", "skip dil5"),
        *("max avg", "max avg", "skip dil5", "skip dil5", "skip dil5"),
    ),
}
"""Space S1 of RobustDARTS (Zela et al., ICLR 2020, arXiv:1909.09656): two operations of DARTS' own for each edge."""

S2: Candidates = same_everywhere(("skip_connect", "sep_conv_3x3"))
"""Space S2."""

S3: Candidates = same_everywhere(("none", "skip_connect", "sep_conv_3x3"))
"""Space S3: its genotypes are S2's, since ``none`` is never chosen; its supernets differ."""

S4: Candidates = same_everywhere(("noise", "sep_conv_3x3"))
"""Space S4: ``noise`` replaces its input by standard normal noise."""
