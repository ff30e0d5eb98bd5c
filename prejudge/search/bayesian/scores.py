"""Where the candidates' scores come from: a score cache, filled before or now."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.errors import InputError, MissingDataError, unknown
from prejudge.search.bayesian.ranking import Candidates
from prejudge.spaces.base import Architecture, EnumerableSpace, Space, require_enumerable

if TYPE_CHECKING:
    from prejudge.cache import Protocol, ScoreCache
    from prejudge.data.dataset import ImageDataset
    from prejudge.engine import Progress

METRICS = ("ntk_trace", "grad_norm", "snip", "grasp")
"""The metrics of the paper."""

CONDITION = "ntk_condition"
"""The condition number of the paper."""

POOL_MACRO = {"channels": 16, "cells": 5}
"""The networks of DARTS's pool while they are scored, as in the original."""

SAMPLINGS = ("uniform", "hnas")


def read_candidates(
    path: str | Path,
    space: Space[Any],
    metric: str,
    condition: str = CONDITION,
    *,
    protocol: str | None = None,
    architectures: str = "cached",
    at_least: int = 1,
) -> Candidates:
    """Candidates from a score cache, in ascending order of their text, so that how the cache was filled is no matter.

    Args:
        path: The cache.
        space: The space that is searched.
        metric: Column of M.
        condition: Column of kappa.
        protocol: Start of the protocol's digest; needed where the cache has several.
        architectures: ``"cached"`` (all that have both scores), ``"all"`` of the space, or a file with one a line.
        at_least: How many candidates are needed.

    Raises:
        MissingDataError: There is no such file.
        InputError: The cache is of another space, or lacks scores; the message says of how many architectures, and the
            command that computes them.
    """
    from prejudge.cache import ScoreCache

    cache = ScoreCache(path, "r")
    chosen = cache.protocol(protocol)
    if chosen.space != space.name:
        raise InputError(f"{path} has scores of {chosen.space}; this search is over {space.name}")
    columns = list(dict.fromkeys((metric, condition)))
    strict = architectures != "cached"
    wanted = sorted(_wanted(space, architectures) if strict else cache.architectures(chosen))
    known = [_known(cache, chosen, space, name, wanted) for name in columns]
    kept = [text for text in wanted if all(text in values for values in known)]
    lacking = len(wanted) - len(kept)
    if (strict and lacking) or len(kept) < at_least:
        total = max(at_least, len(wanted))
        which = architectures if strict else f"random:{total}"
        raise InputError(
            f"{path} lacks {' or '.join(columns)} of {total - len(kept):,} of {total:,} architectures; "
            f"compute them with: {fill_command(path, chosen, space, columns, which)}"
        )
    found = [np.array([values[text] for text in kept], dtype=float) for values in known]
    return Candidates(kept, found[0], found[-1], lacking)


def _known(
    cache: ScoreCache, protocol: Protocol, space: Space[Any], column: str, wanted: list[str]
) -> dict[str, float]:
    """Scores of those that have one, NaN where it failed; where a proxy allows it, that of the class's representative.

    A score that was never computed has no entry.
    """
    if column not in cache.columns(protocol):
        return {}
    means = cache.frame(protocol, columns=[column])[column].to_dict()
    lacking = _lacking(cache, protocol, column, wanted)
    found = {text: means[text] for text in wanted if text not in lacking}
    if (
        lacking
        and isinstance(space, EnumerableSpace)
        and cache.column_info(column, protocol)["invariant_to_dead_edges"]
    ):
        answering = {text: str(space.representative(space.parse(text))) for text in lacking}
        neither = _lacking(cache, protocol, column, answering.values())
        found |= {text: means[other] for text, other in answering.items() if other not in neither}
    return found


def _lacking(cache: ScoreCache, protocol: Protocol, column: str, texts: Iterable[str]) -> set[str]:
    return {text for text, _, _ in cache.missing(protocol, texts, [column])}


def fill_command(path: str | Path, protocol: Protocol, space: Space[Any], columns: Sequence[str], archs: str) -> str:
    """The command that adds scores to a cache under one of its protocols.

    Where the protocol's images came from a file, its name is all that is known of it: ``--data`` then says so.
    """
    from prejudge.data.loading import KINDS

    data = protocol.data if protocol.data in KINDS else f"npz:{protocol.data or 'FILE'}.npz"
    words: list[Any] = ["prejudge", "score", space.name, "--data", data, "--archs", archs]
    words += ["--proxies", ",".join(columns)]
    words += ["--batch-size", protocol.batch_size] if protocol.batch_size != 64 else []
    words += ["--seed", protocol.seed] if protocol.seed else []
    words += ["--batch", protocol.batch] if protocol.batch != "fixed" else []
    words += ["--augment"] if protocol.augment else []
    words += ["--mode", protocol.mode] if protocol.mode != "exact" else []
    defaults = space.default_macro | {"num_classes": None, "in_channels": None}
    for name, value in protocol.macro:
        if name in ("form", "channels", "cells") and value != defaults.get(name):
            words += [f"--{name}", value]
        elif defaults.get(name) is not None and value != defaults[name]:
            words += ["--macro", f"{name}={value}"]
    return shlex.join(map(str, [*words, "--out", path]))


def draw_pool(space: Space[Any], size: int, *, seed: int = 0, sampling: str = "uniform") -> list[Architecture]:
    """Distinct random architectures; a larger pool of the same seed begins with a smaller one.

    Args:
        space: The search space.
        size: How many.
        seed: Of the draw.
        sampling: ``"uniform"`` as the space samples, or ``"hnas"``: on ``darts``, without ``dil_conv_5x5``, which the
            original's pool cannot contain by a slip in its sizes.

    Raises:
        InputError: The sampling is neither, does not fit the space, or the space has fewer architectures.
    """
    if sampling not in SAMPLINGS:
        raise unknown("sampling", sampling, SAMPLINGS)
    if not 1 <= size <= space.size:
        raise InputError(f"a pool of {space.name} has 1 to {space.size:,} architectures, not {size}")
    draw: Callable[[np.random.Generator], Architecture] = space.sample
    if sampling == "hnas":
        if not hasattr(space, "sample_hnas"):
            raise InputError(f"{space.name}: HNAS samples the space 'darts' only")
        draw = space.sample_hnas
    rng = np.random.default_rng(seed)
    found: dict[str, Architecture] = {}
    while len(found) < size:
        arch = draw(rng)
        found.setdefault(space.canonical(arch), arch)
    return list(found.values())


def score_pool(
    cache: ScoreCache,
    space: Space[Any],
    data: ImageDataset,
    size: int,
    metric: str = METRICS[0],
    condition: str = CONDITION,
    *,
    seed: int = 0,
    sampling: str = "uniform",
    macro: dict[str, Any] | None = None,
    batch_size: int = 64,
    workers: int = 1,
    device: str | None = None,
    progress: Progress | None = None,
) -> Protocol:
    """Draw a pool and compute the scores of it that the cache lacks; interrupted, it goes on where it was.

    Args:
        cache: Open for writing.
        space: The search space.
        data: Images of the one batch that all networks see.
        size: Architectures in the pool.
        metric: The proxy M.
        condition: The proxy kappa.
        seed: Of the pool, of initializations and of the batch.
        sampling: As in :func:`draw_pool`.
        macro: Macro-architecture of the scored networks; :data:`POOL_MACRO` by default.
        batch_size: Images of the batch.
        workers: Processes.
        device: Where to score.
        progress: Told after every architecture.

    Returns:
        The protocol, which selects these scores in the cache.
    """
    from prejudge.cache import fill

    return fill(
        cache,
        space,
        draw_pool(space, size, seed=seed, sampling=sampling),
        data,
        [metric, condition],
        workers=workers,
        batch_size=batch_size,
        seed=seed,
        macro=POOL_MACRO if macro is None else macro,
        device=device,
        progress=progress,
    )


def _wanted(space: Space[Any], architectures: str) -> list[str]:
    if architectures == "all":
        return [str(arch) for arch in require_enumerable(space)]
    path = Path(architectures)
    if not path.is_file():
        raise MissingDataError(f"no file {architectures} with architectures, one a line; or take cached, or all")
    lines = [line.partition("#")[0].strip().strip('"') for line in path.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(str(space.parse(line)) for line in lines if line))
