"""Genotype files: the cells that a search has found, with what is needed to train them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prejudge.errors import FileFormatError, InputError, MissingDataError, quoted
from prejudge.formats.atomic import write_atomically
from prejudge.formats.escape import json_text
from prejudge.formats.text import parse_json
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.notations import parse_genotype, to_dict

FORMAT = "prejudge genotype"
VERSION = 1


@dataclass(frozen=True)
class SavedGenotype:
    """The content of a genotype file.

    Attributes:
        genotype: The cells.
        space: Name of the space in which they were found.
        network: The fields of the macro-architecture that they were found for, beyond the defaults, such as
            ``{"form": "ista-onestage"}``.
        origin: How they were found, for the reader: method, data, seed, epochs ….
    """

    genotype: Genotype
    space: str = "darts"
    network: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


def write_genotype(
    path: str | os.PathLike[str],
    genotype: Genotype,
    *,
    space: str = "darts",
    network: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write a genotype file (JSON), replacing any that is there in one step.

    Args:
        path: Where; its folder must exist.
        genotype: The cells.
        space: See :class:`SavedGenotype`.
        network: See :class:`SavedGenotype`.
        origin: See :class:`SavedGenotype`.

    Raises:
        InputError: ``network`` or ``origin`` holds what JSON cannot.
        MissingDataError: The folder does not exist.
    """
    target = Path(path)
    head = {"format": FORMAT, "version": VERSION, "space": space}
    content = head | {"network": dict(network or {}), "origin": dict(origin or {})} | to_dict(genotype)
    try:
        lines = [f" {json.dumps(key)}: {json_text(value)}" for key, value in content.items()]
    except (TypeError, ValueError) as error:
        raise InputError(f"{target}: network and origin must be plain values for JSON ({error})") from None
    write_atomically(target, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read_genotype(path: str | os.PathLike[str]) -> SavedGenotype:
    """Read a genotype file, or any text file that holds a genotype in one of the known notations (a search log, say).

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: The file is not text, holds no genotype, or is of a later version.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise MissingDataError(f"{source}: the genotype file does not exist") from None
    except UnicodeDecodeError:
        raise FileFormatError(f"{source}: not a text file; a genotype file is JSON or text, never a pickle") from None
    try:
        content = parse_json(text)
    except ValueError:
        content = None
    try:
        if isinstance(content, dict) and content.get("format") == FORMAT:
            return _saved(content)
        return SavedGenotype(parse_genotype(text))
    except InputError as error:
        raise FileFormatError(f"{source}: {error}") from None


def _saved(content: Mapping[str, Any]) -> SavedGenotype:
    version = content.get("version")
    if version != VERSION:
        raise InputError(f"genotype file of version {quoted(version)}; this prejudge reads version {VERSION}")
    network, origin = content.get("network", {}), content.get("origin", {})
    space = content.get("space", "darts")
    if not isinstance(network, dict) or not isinstance(origin, dict) or not isinstance(space, str):
        raise InputError("space must be a text, network and origin must be JSON objects")
    return SavedGenotype(parse_genotype(content), space, network, origin)
