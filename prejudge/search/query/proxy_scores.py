"""Training-free scores that guide a search: counts by formula, or a column of a score cache."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from prejudge.errors import InputError, MissingDataError
from prejudge.spaces.base import Architecture, Space

FORMULAS = ("params", "flops")
"""What can be asked without a cache; more is taken for better."""


class ProxyScores:
    """Scores of architectures, higher is better.

    Args:
        score: Score of an architecture: NaN where the proxy failed, None where it was never computed.
        remedy: How missing scores can be had, for the message.
    """

    def __init__(self, score: Callable[[Architecture], float | None], remedy: str = "") -> None:
        self._score = score
        self._remedy = remedy

    def of(self, archs: Iterable[Architecture]) -> list[float]:
        """The score of each; NaN where the proxy failed.

        Raises:
            InputError: Some were never computed; the message says how many, and how to compute them.
        """
        found = [(arch, self._score(arch)) for arch in archs]
        missing = [arch for arch, score in found if score is None]
        if missing:
            raise InputError(f"{len(missing):,} of {len(found):,} architectures ({missing[0]}, …) {self._remedy}")
        return [score for _, score in found if score is not None]

    def ranked(self, archs: Iterable[Architecture]) -> list[Architecture]:
        """The architectures, best first; of equals the first, failed ones last.

        Raises:
            InputError: As :meth:`of`.
        """
        listed = list(archs)
        scores = [-math.inf if score != score else score for score in self.of(listed)]
        return [listed[i] for i in sorted(range(len(listed)), key=scores.__getitem__, reverse=True)]


def proxy_scores(space: Space[Any], text: str) -> ProxyScores:
    """The scores that a text names.

    Args:
        space: The search space.
        text: ``params`` or ``flops``, of the space's default network; or ``CACHE.h5:COLUMN``, the mean over the
            repeats in a score cache, its sign turned where lower is better. Where the cache holds several protocols,
            ``CACHE.h5:COLUMN@DIGEST``. A proxy that is invariant to dead edges answers for all architectures of a
            class if it answers for one.

    Raises:
        InputError: The text has another form; the cache is of another space, or has no such column.
        MissingDataError: There is no such file.
    """
    if text in FORMULAS:
        formula: Callable[[Architecture], int] = space.params if text == "params" else space.flops
        return ProxyScores(formula)
    name, colon, column = text.rpartition(":")
    if not colon or not name or not column:
        raise InputError(f"a proxy is params, flops or CACHE.h5:COLUMN, not {text!r}")
    path = Path(name)
    if not path.is_file():
        raise MissingDataError(f"no score cache {path}")
    column, _, digest = column.partition("@")
    state = path.stat()
    own, of_class = _read(os.fspath(path.resolve()), column, digest, space.name, (state.st_mtime_ns, state.st_size))

    def score(arch: Architecture) -> float | None:
        found = own.get(str(arch))
        return of_class.get(space.canonical(arch)) if found is None and of_class else found

    remedy = (
        f"have no {column} in {path}; compute them: prejudge score {space.name} --archs all --proxies {column} "
        f"--out {path}"
    )
    return ProxyScores(score, remedy)


@lru_cache(maxsize=4)
def _read(
    path: str, column: str, digest: str, space_name: str, state: tuple[int, int]
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Scores by architecture text and, where they may be shared, by class; ``state`` tells that a file has changed."""
    from prejudge.cache import ScoreCache
    from prejudge.spaces.base import space as find_space

    with ScoreCache(path, "r") as cache:
        protocol = cache.protocol(digest or None)
        if protocol.space != space_name:
            raise InputError(f"{path} holds scores of {protocol.space}; the search is in {space_name}")
        info = cache.column_info(column, protocol)
        means = cache.scores(protocol, column).groupby("architecture")["value"].mean()  # NaN where every repeat failed
    sign = 1.0 if info["higher_is_better"] else -1.0
    own = {str(text): sign * value for text, value in means.items()}
    of_class: dict[str, float] = {}
    if info["invariant_to_dead_edges"]:
        space = find_space(space_name)
        for text, value in own.items():
            of_class.setdefault(space.canonical(space.parse(text)), value)
    return own, of_class
