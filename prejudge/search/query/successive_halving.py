"""Successive halving and Hyperband: many architectures on a short schedule, the best of them on longer ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import cycle
from operator import itemgetter
from typing import Any

from prejudge.errors import InputError
from prejudge.search.protocol import Query, Questions, SearchContext
from prejudge.search.registry import search_method
from prejudge.spaces.base import Architecture

Propose = Callable[[], Architecture]
Tell = Callable[[int, Architecture, float], None]
"""Called with the rung (0 is the shortest schedule), the architecture and its value, NaN where it failed."""


@search_method("successive-halving", reference="Jamieson & Talwalkar, AISTATS 2016 (arXiv:1502.07943)")
def successive_halving(search: SearchContext, eta: int = 3, min_epochs: int = 1, max_epochs: int = 0) -> Questions:
    """Train random architectures briefly, the best part of them longer, the best of those longest; again and again.

    Args:
        search: The context.
        eta: Each schedule is so many times longer than the one before, and so many times fewer architectures reach it.
        min_epochs: No schedule is shorter.
        max_epochs: No schedule is longer; 0 for the objective's longest.

    Raises:
        InputError: The objective has fewer than two schedules in this range, or an option is out of range.
    """
    epochs = rungs(search.schedules, eta, min_epochs, max_epochs)
    sizes = bracket(len(epochs), len(epochs) - 1, eta)
    while True:
        yield from race(epochs, sizes, lambda: search.space.sample(search.rng))


@search_method("hyperband", reference="Li et al., JMLR 2018 (arXiv:1603.06560), brackets as hpbandster rounds them")
def hyperband(search: SearchContext, eta: int = 3, min_epochs: int = 1, max_epochs: int = 0) -> Questions:
    """Successive halving that takes turns in how briefly the first schedule is: the ranking there may mislead.

    Args:
        search: The context.
        eta: As in successive halving.
        min_epochs: No schedule is shorter.
        max_epochs: No schedule is longer; 0 for the objective's longest.

    Raises:
        InputError: The objective has fewer than two schedules in this range, or an option is out of range.
    """
    epochs = rungs(search.schedules, eta, min_epochs, max_epochs)
    return (yield from hyperband_races(epochs, eta, lambda: search.space.sample(search.rng)))


def hyperband_races(epochs: Sequence[int | None], eta: int, propose: Propose, tell: Tell | None = None) -> Questions:
    """Race in brackets that begin on the shortest rung, the next one, … the longest, and over again, for ever."""
    for skipped in cycle(range(len(epochs))):
        yield from race(epochs, bracket(len(epochs), len(epochs) - 1 - skipped, eta), propose, tell)
    return None


def rungs(schedules: Sequence[int], eta: int, min_epochs: int, max_epochs: int, least: int = 2) -> tuple[int, ...]:
    """The schedules of a race, ascending: the longest, and for each of its ``eta``-th parts the next shorter there is.

    Args:
        schedules: What an objective offers, ascending.
        eta: The ratio.
        min_epochs: No schedule is shorter.
        max_epochs: No schedule is longer; 0 for no limit.
        least: How many there must be in this range.

    Raises:
        InputError: They are fewer, or an option is out of range.
    """
    if eta < 2 or min_epochs < 1 or max_epochs < 0:
        raise InputError(f"eta must be at least 2 and epochs positive, not {eta}, {min_epochs}..{max_epochs}")
    known = [s for s in schedules if min_epochs <= s <= (max_epochs or s)]
    if len(known) < least:
        offered = ", ".join(map(str, schedules)) or "none can be chosen"
        raise InputError(
            f"this search needs {least} or more schedules of {min_epochs} to {max_epochs or 'any number of'} epochs to "
            f"choose from; the objective has: {offered}; take a table with learning curves, or, of one that was "
            "trained on several schedules, the longest (--epochs)"
        )
    found = [known[-1]]
    part = known[-1] / eta
    while part >= min_epochs:
        found.append(max((s for s in known if s <= part), default=known[0]))
        part /= eta
    return tuple(sorted(set(found)))


def bracket(count: int, halvings: int, eta: int) -> list[int]:
    """How many architectures run on each of the last ``halvings + 1`` of ``count`` rungs, as hpbandster has it."""
    first = count // (halvings + 1) * eta**halvings
    return [first // eta**i for i in range(halvings + 1)]


def race(
    epochs: Sequence[int | None], sizes: Sequence[int], propose: Propose, tell: Tell | None = None
) -> Generator[Any, Any, None]:
    """One bracket: evaluate architectures on a rung, let the best go on to the next one, those that failed never.

    Args:
        epochs: The schedule of each rung, ascending.
        sizes: How many take part in each of the last ``len(sizes)`` rungs.
        propose: Gives one more architecture for the first of them.
        tell: Told of every result; then each proposal may depend on the results before it.
    """
    first = len(epochs) - len(sizes)
    best: list[Architecture] = []
    for rung, size in enumerate(sizes, start=first):
        values: list[float] = []
        if rung > first or tell is None:
            archs = best[:size] if rung > first else [propose() for _ in range(size)]
            if archs:
                values = yield [Query(arch, epochs[rung]) for arch in archs]
            if tell is not None:
                for arch, value in zip(archs, values, strict=True):
                    tell(rung, arch, value)
        else:
            archs = []
            for _ in range(size):
                archs.append(arch := propose())
                values.append(value := (yield Query(arch, epochs[rung])))
                tell(rung, arch, value)
        valued = [entry for entry in zip(values, archs, strict=True) if entry[0] == entry[0]]
        best = [arch for _, arch in sorted(valued, key=itemgetter(0), reverse=True)]
