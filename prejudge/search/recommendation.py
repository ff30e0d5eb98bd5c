"""Which architecture is meant: a text, a file, a published name, or the recommendation of a search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.errors import InputError, MissingDataError, quoted
from prejudge.formats.text import is_file
from prejudge.search.result import SearchResult, Trajectory
from prejudge.search.result_file import read_result
from prejudge.spaces import genotype_names, published_genotype
from prejudge.spaces import space as space_named
from prejudge.spaces.base import Architecture, Space
from prejudge.spaces.darts.genotype_file import read_genotype

_HDF5 = b"\x89HDF\r\n\x1a\n"
_LOOKS_LIKE = {
    "nats-size": re.compile(r"^\s*\d+(:\d+){4}\s*$|infer\.shape\.tiny|layer-\d"),
    "nasbench201": re.compile(r"~|\d<-\d|hp_x\d|['\"](edge_)?\d_\d['\"]\s*:|nor_conv_"),
    "nasbench101": re.compile(r"matrix|adjacency|-bn-relu"),
}
_NOTATION = re.compile(r"[|(\[{=]|^\d+(:\d+){4}$")
"""A text with one of these is an architecture, not the name of a genotype or of a file."""

_LEFT_WEIGHTS = "network.safetensors"
"""What ISTA-NAS's one-stage search leaves in the folder of a run: the network that it has trained on the way."""


@dataclass(frozen=True)
class ChosenArchitecture:
    """An architecture to be trained, and where it comes from.

    Attributes:
        space: Its space.
        architecture: The architecture itself.
        form: Form of the final network that it is meant for; None where that is not known.
        method: Name of the search that found it; empty where that is not known.
        origin: Where it comes from, for the reader and for the records: plain values.
        notes: What the user should know, one sentence each.
        weights: A file with weights that the search has left behind; None where there is none.
    """

    space: Space[Any]
    architecture: Architecture
    form: str | None = None
    method: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights: Path | None = None


def choose_architecture(
    given: str, space: str | None = None, *, seed: int | None = None, notation: str | None = None
) -> ChosenArchitecture:
    """Find out which architecture is meant.

    Args:
        given: The result file of a search, a file with a genotype or another architecture in any notation, the name of
            a published genotype, or the architecture's text in any notation of its space.
        space: Name of the space; where it is left out, a file or a published genotype says it, or the notation does.
        seed: Which run of a result file; where it is left out, the one with the best value.
        notation: What integers in an architecture mean, as for the space's ``parse``.

    Returns:
        The architecture.

    Raises:
        MissingDataError: ``given`` is the path of a file that is not there.
        InputError: It is nothing of all this, it is of another space, or there is no run from this seed.
        FileFormatError: The file is damaged or of another kind.
    """
    path = Path(given)
    if not _NOTATION.search(given) and is_file(path):
        with path.open("rb") as file:
            is_result = file.read(len(_HDF5)) == _HDF5
        return _from_result(path, space, seed) if is_result else _from_text_file(path, space, seed, notation)
    if seed is not None:
        raise InputError(f"a seed chooses among the runs of a search; {quoted(given)} is not a result file of one")
    if _NOTATION.search(given) or given.isdecimal() or (space is not None and not space.startswith("darts")):
        where = space_named(space or _likely_space(given))
        return ChosenArchitecture(where, where.parse(given, notation=notation), origin={"given": given})
    if path.suffix or len(path.parts) > 1:
        raise MissingDataError(f"no file {given} with an architecture or with the result of a search")
    return _published(given, space)


def _published(name: str, space: str | None) -> ChosenArchitecture:
    try:
        found = published_genotype(name)
    except InputError as error:
        if name in genotype_names():
            raise
        raise InputError(
            f"{quoted(name)} is not a file, no architecture and no published genotype: {error}; "
            "see: prejudge list genotypes"
        ) from None
    where = space_named(space or "darts")
    return ChosenArchitecture(
        where,
        where.parse(str(found.genotype)),
        found.network.get("form"),
        origin={"published": found.name, "paper": found.paper},
        notes=(f"{found.name}: {found.note}",) if found.note else (),
    )


def _from_text_file(path: Path, space: str | None, seed: int | None, notation: str | None) -> ChosenArchitecture:
    if seed is not None:
        raise InputError(f"a seed chooses among the runs of a search; {path} is not a result file of one")
    origin = {"file": path.name}
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    where = space_named(space or (_likely_space(text) if text else "darts"))
    if not where.name.startswith("darts"):
        try:
            return ChosenArchitecture(where, where.parse(text, notation=notation), origin=origin)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    saved = read_genotype(path)
    where = space_named(space or saved.space)
    form = saved.network.get("form")
    return ChosenArchitecture(
        where,
        where.parse(str(saved.genotype)),
        form if isinstance(form, str) else None,
        origin={**origin, **saved.origin},
    )


def _from_result(path: Path, space: str | None, seed: int | None) -> ChosenArchitecture:
    result = read_result(path)
    if space is not None and space != result.space:
        raise InputError(f"{path} is of a search in {result.space}, not {space}")
    run, notes = _run(path, result, seed)
    where = space_named(result.space)
    form = run.metadata.get("form")
    left = path.with_name(f"{path.name}.run") / f"seed-{run.seed}" / _LEFT_WEIGHTS
    weights = left if left.is_file() else None
    if weights is not None:
        notes = (
            *notes,
            f"the search has left trained weights of this network in {weights}: "
            f"`prejudge test {weights}` evaluates them; here it is trained from scratch",
        )
    origin = {"search": result.method, "result": path.name, "search seed": run.seed, "searched": _searched(result)}
    return ChosenArchitecture(
        where, where.parse(run.recommendation), form, result.method, origin, notes, weights
    )  # fmt: skip


def _run(path: Path, result: SearchResult, seed: int | None) -> tuple[Trajectory, tuple[str, ...]]:
    runs = result.trajectories
    if seed is not None:
        for run in runs:
            if run.seed == seed:
                return run, ()
        raise InputError(f"{path} has no run from seed {seed} (it has {', '.join(str(r.seed) for r in runs)})")
    best = result.best_run
    if len(runs) == 1:
        return best, ()
    known = any(np.isfinite(r.values).any() for r in runs)
    why = "the one with the best value" if known else "the first: no run says how good its recommendation is"
    return best, (f"of {len(runs)} runs in {path} that from seed {best.seed} is taken, {why}",)


def _searched(result: SearchResult) -> str:
    data = result.objective.get("data") or result.objective.get("dataset") or result.objective.get("table") or ""
    return str(data.get("name", "")) if isinstance(data, Mapping) else str(data)


def _likely_space(text: str) -> str:
    """The space whose notation a text looks like."""
    return next((name for name, pattern in _LOOKS_LIKE.items() if pattern.search(text)), "darts")
