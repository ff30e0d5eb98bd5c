"""Genotypes that papers have published, by name: to be trained, compared with, or started from.

The file ``genotypes.json`` beside this module holds them. Names are looked up without regard to case and punctuation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from prejudge.errors import InputError, quoted
from prejudge.spaces.darts.genotype import Genotype, fields_of


@dataclass(frozen=True)
class PublishedGenotype:
    """A genotype with what its authors say of it.

    Attributes:
        name: The name in the authors' code, such as ``"DARTS_V2"``.
        aliases: Other names that :func:`published_genotype` takes.
        genotype: The cells.
        paper: Authors, title, venue and arXiv number.
        space: Name of the space in which it was found (NASNet's and AmoebaNet's cells are read by ``darts``).
        dataset: The data on which it was found; ``None`` where the source does not say.
        network: The macro-architecture, beyond :class:`~prejudge.spaces.darts.macro.MacroConfigDARTS`, of the
            network in which it was published: ``space.network(entry.genotype, **entry.network)`` builds it.
            (For cells found in S1 to S4 on CIFAR-100 and SVHN the authors give this size too, but train with
            ``channels=16, cells=8``.)
        params: Parameters of that network, without auxiliary head, by formula.
        published_millions: The size that the source gives, in millions; ``None`` where it gives none.
        note: What one should know of it, else ``""``.
    """

    name: str
    aliases: tuple[str, ...]
    genotype: Genotype
    paper: str
    space: str
    dataset: str | None
    network: Mapping[str, Any]
    params: int
    published_millions: float | None
    note: str


def genotype_names() -> list[str]:
    """The names of all published genotypes, in the order of the register (aliases not among them)."""
    return list(_register())


def published_genotype(name: str) -> PublishedGenotype:
    """The published genotype of this name or alias.

    Raises:
        InputError: No genotype has that name; the closest one is named.
    """
    known = _by_plain_name()
    found = known.get(_plain(name))
    if found is None:
        close = get_close_matches(_plain(name), known, n=1)
        hint = f"; did you mean {known[close[0]].name!r}?" if close else ""
        known_ones = f"genotype_names() lists the {len(_register())} known ones"
        raise InputError(f"unknown genotype {quoted(name)}{hint} ({known_ones})")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def _register() -> dict[str, PublishedGenotype]:
    text = files("prejudge.spaces.darts").joinpath("genotypes.json").read_text(encoding="utf-8")
    content = json.loads(text)
    entries = {}
    for row in content["genotypes"]:
        fields = fields_of(row["genotype"])
        assert fields is not None, row["name"]
        entries[row["name"]] = PublishedGenotype(
            name=row["name"],
            aliases=tuple(row["aliases"]),
            genotype=Genotype(**fields),
            paper=content["papers"][row["paper"]],
            space=row["space"],
            dataset=row["dataset"],
            network=MappingProxyType(row["network"]),
            params=row["params"],
            published_millions=row["published_millions"],
            note=row.get("note", ""),
        )
    return entries


@cache
def _by_plain_name() -> dict[str, PublishedGenotype]:
    return {_plain(name): entry for entry in _register().values() for name in (entry.name, *entry.aliases)}
