"""What importers share about the files they read: which table they become, and whether that is there already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from prejudge._version import __version__
from prejudge.benchmarks.table.index import read_index
from prejudge.benchmarks.table.library import place_for
from prejudge.errors import MissingDataError, PrejudgeError

Progress = Callable[[int, int, float], None]
"""Told (done, all, seconds): parts of the source that were read."""


def place(out: str | os.PathLike[str] | None, name: str | None, default: str) -> tuple[Path, str]:
    """File and name of the table to write: ``out``, or a place among the user's own benchmarks.

    Args:
        out: The table file that was asked for.
        name: The table's name that was asked for; that of ``out`` or ``default`` if None.
        default: Name where neither is given.

    Raises:
        InputError: The name is no file name, or belongs to a table that comes with prejudge.
    """
    name = name or (Path(out).stem if out is not None else default)
    return (Path(out) if out is not None else place_for(name)), name


def is_there(target: Path, name: str, facts: Mapping[str, object], sha256: Callable[[], str]) -> bool:
    """Whether ``target`` is the table of this name, made of the same source with the same options.

    Args:
        target: The table file.
        name: The name that the table would have.
        facts: What its provenance must say; compared first, since it is known at once (the source's size, options).
        sha256: Gives the source's digest, which must be the provenance's.
    """
    try:
        index = read_index(target)
    except PrejudgeError:
        return False
    known = index.provenance
    same = index.name == name and all(known.get(key) == str(value) for key, value in facts.items())
    return same and known.get("sha256") == sha256()


def file_sha256(path: Path) -> str:
    """Digest of a file, which may be larger than memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_file(path: Path, kind: str) -> Path:
    """The path, if it is a file; raises :class:`MissingDataError` otherwise."""
    if not path.is_file():
        found = "is a folder, not" if path.is_dir() else "does not exist; it must be"
        raise MissingDataError(f"{path} {found} {kind}")
    return path


def imported_by() -> dict[str, str]:
    """The provenance's entry about this prejudge."""
    return {"imported by": f"prejudge {__version__}"}
