"""TE-NAS's rule: from two figures of every removal to the removals that are made (Chen et al., ICLR 2021).

Removing an operation changes the condition number of the supernet's kernel and its number of linear regions. Removals
that lower the condition number most, and those that cost the fewest regions, come first; the two ranks are added, and
the first of each edge are made.

The released code (chenwydj/TENAS 9df78ff) rounds: the relative changes to three decimals, then, for the order alone,
their means to three significant digits, while equal ranks go to equal *unrounded* means. With a rule of
:data:`RELEASED` that is reproduced; :data:`UNROUNDED` compares the means themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class EdgeOperation(NamedTuple):
    """One operation that may be removed, or has been.

    Attributes:
        cell: Kind of the cell.
        edge: Number of the edge.
        operation: Position among the edge's candidates.
    """

    cell: str
    edge: int
    operation: int


@dataclass(frozen=True)
class OperationMeasurement:
    """The figures of a removal; NaN where one could not be had.

    Attributes:
        removal: The removal.
        conditions: (without the removal, with it): condition number of the kernel in each repeat.
        regions: The same of the number of linear regions.
    """

    removal: EdgeOperation
    conditions: tuple[tuple[float, float], ...]
    regions: tuple[tuple[float, float], ...]

    @property
    def failed(self) -> int:
        """Figures that could not be had."""
        return sum(math.isnan(value) for pairs in (self.conditions, self.regions) for pair in pairs for value in pair)


@dataclass(frozen=True)
class Rounding:
    """The rounding of figures before they are compared.

    Attributes:
        decimals: Of the relative change in each repeat; None leaves it as it is.
        significant: Digits by which the means are sorted; None sorts them as they are.
    """

    decimals: int | None = None
    significant: int | None = None


RELEASED = Rounding(decimals=3, significant=3)
UNROUNDED = Rounding()


def round_significant(x: float, digits: int) -> float:
    """``x`` to so many significant digits, after 1e-8 has been added to its size, as the released code does.

    What is not finite is returned as it is; there the released code fails.
    """
    if x == 0 or not math.isfinite(x):
        return x
    size = abs(x) + 1e-8
    scale = 10.0 ** (math.floor(math.log10(size)) + 1)
    return math.copysign(round(size / scale, digits) * scale, x)


def mean_change(pairs: Sequence[tuple[float, float]], decimals: int | None) -> float:
    """Mean over the repeats of (before - after) / before; NaN where no repeat has both figures.

    A repeat that lacks a figure is left out, rather than counted as a change.
    """
    changes = []
    for before, after in pairs:
        change = (before - after) / before if before and math.isfinite(before) and math.isfinite(after) else math.nan
        if not math.isnan(change):
            changes.append(change if decimals is None else round(change, decimals))
    return sum(changes) / len(changes) if changes else math.nan


def ranks(values: Sequence[float], rounding: Rounding, *, descending: bool) -> tuple[list[int], list[float]]:
    """The order of some values, and the dense rank of each, from 0.

    Ties keep the order in which they come. A value that is NaN gets the middle rank and the middle place: its removal
    is neither preferred nor avoided for want of a figure.

    Args:
        values: One for each removal.
        rounding: How the values are sorted; equal ranks go to equal unrounded values in either case.
        descending: Whether the highest comes first.

    Returns:
        The indices in order, and the rank of each index.
    """
    digits = rounding.significant
    key = [value if digits is None else round_significant(value, digits) for value in values]
    known = sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=key.__getitem__, reverse=descending)
    found = [0.0] * len(values)
    rank = -1
    for place, index in enumerate(known):
        if not place or values[index] != values[known[place - 1]]:
            rank += 1
        found[index] = float(rank)
    missing = [i for i, v in enumerate(values) if math.isnan(v)]
    for index in missing:
        found[index] = max(rank, 0) / 2
    middle = len(known) // 2
    return [*known[:middle], *missing, *known[middle:]], found


def order(measured: Sequence[OperationMeasurement], rounding: Rounding) -> list[int]:
    """Indices of the removals, the first to be made in front: by ascending sum of ranks, ties in the kernel's order."""
    kernel = [mean_change(m.conditions, rounding.decimals) for m in measured]
    regions = [mean_change(m.regions, rounding.decimals) for m in measured]
    by_kernel, kernel_rank = ranks(kernel, rounding, descending=True)
    _, region_rank = ranks(regions, rounding, descending=False)
    return sorted(by_kernel, key=lambda i: kernel_rank[i] + region_rank[i])


def choose_operations(measured: Sequence[OperationMeasurement], number: int, rounding: Rounding) -> list[EdgeOperation]:
    """The removals of a round: of each edge the first ``number``, but never its last operation.

    Args:
        measured: Every operation of every edge that has more than one.
        number: Operations to remove from an edge.
        rounding: How figures are compared.

    Returns:
        The removals, in the order of their importance.
    """
    left: dict[tuple[str, int], int] = {}
    for m in measured:
        left[m.removal[:2]] = left.get(m.removal[:2], 0) + 1
    quota = {edge: min(number, operations - 1) for edge, operations in left.items()}
    chosen = []
    for index in order(measured, rounding):
        removal = measured[index].removal
        if quota[removal[:2]] > 0:
            quota[removal[:2]] -= 1
            chosen.append(removal)
    return chosen


def choose_edges(measured: Sequence[OperationMeasurement], keep: int, rounding: Rounding) -> list[EdgeOperation]:
    """The edges into one node that go: all but the last ``keep`` in the order of importance."""
    found = order(measured, rounding)
    return [measured[index].removal for index in found[: max(0, len(found) - keep)]]


def by_edge(removals: Iterable[EdgeOperation]) -> dict[tuple[str, int], list[int]]:
    """The operations of some removals, by cell and edge, in the order given."""
    found: dict[tuple[str, int], list[int]] = {}
    for removal in removals:
        found.setdefault((removal.cell, removal.edge), []).append(removal.operation)
    return found
