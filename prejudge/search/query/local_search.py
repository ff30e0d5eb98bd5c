"""Local search: walk to better neighbors until there is none, then start again somewhere else."""

from __future__ import annotations

import math

from prejudge.search.registry import search_method
from prejudge.search.run import Run
from prejudge.spaces.base import Architecture

_TRIES = 1000
"""Draws without a new architecture after which the space counts as exhausted."""


@search_method("local-search", reference="White et al., UAI 2021 (arXiv:2005.02960), set as in naszilla")
def local_search(run: Run, draws: int = 10, first_improvement: bool = True) -> None:
    """Walk from the best of some random architectures to better neighbors, until there is none; then start again.

    No architecture is asked twice: a neighbor that is known already costs nothing and can be walked to. What failed
    (NaN) is worse than anything else. The search ends early where the space is exhausted.

    Args:
        run: The run.
        draws: New random architectures for each start.
        first_improvement: Take the first better neighbor, in random order; otherwise ask all and take the best.
    """
    known: dict[Architecture, float] = {}

    def ask(arch: Architecture) -> float:
        if arch not in known:
            value = run.evaluate(arch)
            known[arch] = value if value == value else -math.inf
        return known[arch]

    while fresh := _new_architectures(run, known, draws):
        here = max(fresh, key=ask)
        while True:
            listed = run.space.neighbors(here)
            neighbors = [listed[i] for i in run.rng.permutation(len(listed)).tolist()]
            if first_improvement:
                better = next((arch for arch in neighbors if ask(arch) > known[here]), None)
            else:
                better = max(neighbors, key=ask, default=None)
            if better is None or known[better] <= known[here]:
                break
            here = better


def _new_architectures(run: Run, known: dict[Architecture, float], count: int) -> list[Architecture]:
    found: dict[Architecture, None] = {}
    for _ in range(_TRIES + count):
        if len(found) == count:
            break
        arch = run.space.sample(run.rng)
        if arch not in known:
            found[arch] = None
    return list(found)
