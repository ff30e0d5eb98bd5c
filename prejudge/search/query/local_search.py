"""Local search: walk to better neighbors until there is none, then start again somewhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prejudge.search.protocol import Questions, SearchContext
from prejudge.search.registry import search_method
from prejudge.spaces.base import Architecture

_TRIES = 1000
"""Draws without a new architecture after which the space counts as exhausted."""


@search_method("local-search", reference="White et al., UAI 2021 (arXiv:2005.02960), set as in naszilla")
def local_search(search: SearchContext, draws: int = 10, first_improvement: bool = True) -> Questions:
    """Walk from the best of some random architectures to better neighbors, until there is none; then start again.

    No architecture is asked twice: a neighbor that is known already costs nothing and can be walked to. What failed
    (NaN) is worse than anything else. The search ends early where the space is exhausted.

    Args:
        search: The context.
        draws: New random architectures for each start.
        first_improvement: Take the first better neighbor, in random order; otherwise ask all and take the best.
    """
    known: dict[Architecture, float] = {}

    while fresh := _new_architectures(search, known, draws):
        here: Architecture | None = yield from _best(fresh, known)
        while here is not None:
            listed = search.space.neighbors(here)
            neighbors = [listed[i] for i in search.rng.permutation(len(listed)).tolist()]
            best = _first_better(neighbors, known, known[here]) if first_improvement else _best(neighbors, known)
            better = yield from best
            here = better if better is not None and known[better] > known[here] else None
    return None


def _best(archs: Sequence[Architecture], known: dict[Architecture, float]) -> Questions:
    """Ask all that are new at once; the best, or None where there are none."""
    new = list(dict.fromkeys(arch for arch in archs if arch not in known))
    if new:
        values = yield new
        known.update((arch, _worth(value)) for arch, value in zip(new, values, strict=True))
    return max(archs, key=known.__getitem__, default=None)


def _first_better(archs: Sequence[Architecture], known: dict[Architecture, float], least: float) -> Questions:
    """Ask one after the other until one is better; None where none is."""
    for arch in archs:
        if arch not in known:
            known[arch] = _worth((yield arch))
        if known[arch] > least:
            return arch
    return None


def _worth(value: float) -> float:
    return value if value == value else -math.inf


def _new_architectures(search: SearchContext, known: dict[Architecture, float], count: int) -> list[Architecture]:
    found: dict[Architecture, None] = {}
    for _ in range(_TRIES + count):
        if len(found) == count:
            break
        arch = search.space.sample(search.rng)
        if arch not in known:
            found[arch] = None
    return list(found)
