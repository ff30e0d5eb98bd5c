"""One import: the table that a source becomes, whether that is there already, and how it is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prejudge._version import __version__
from prejudge.benchmarks.table.index import read_index
from prejudge.benchmarks.table.library import place_for
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.writer import write_table
from prejudge.errors import MissingDataError, PrejudgeError


@dataclass(frozen=True)
class ImportResult(os.PathLike[str]):
    """The table of an import; it serves as the path of the table's file.

    Attributes:
        path: The table file.
        already_there: Whether it was there already, made of the same source, so that nothing was written.
        remark: What the user should know of it; empty where there is nothing.
    """

    path: Path
    already_there: bool
    remark: str = ""

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class TableImport:
    """A table that is being made of a source.

    Attributes:
        target: The table file.
        name: Name of the table.
        space: Name of its search space.
        source: Provenance that tells this source and these options from others, known before the source is read.
        digest: Computes the source's SHA-256; None where it has none.
    """

    target: Path
    name: str
    space: str
    source: Mapping[str, object]
    digest: Callable[[], str] | None = None

    @classmethod
    def begin(
        cls,
        out: str | os.PathLike[str] | None,
        name: str | None,
        default: str,
        space: str,
        source: Mapping[str, object],
        digest: Callable[[], str] | None = None,
    ) -> TableImport:
        """Decide where the table goes: to ``out``, or to a place among the user's own benchmarks.

        Args:
            out: The table file that was asked for.
            name: The table's name that was asked for; that of ``out`` or ``default`` if None.
            default: Name where neither is given.
            space: As the attribute, as are ``source`` and ``digest``.

        Raises:
            InputError: The name cannot be a file name, or belongs to a table that comes with prejudge.
        """
        name = name or (Path(out).stem if out is not None else default)
        return cls(Path(out) if out is not None else place_for(name), name, space, source, digest)

    @cached_property
    def sha256(self) -> str:
        """Digest of the source."""
        return "" if self.digest is None else self.digest()

    def existing(self) -> ImportResult | None:
        """The table of this name, where it was made of the same source with the same options."""
        try:
            index = read_index(self.target)
        except PrejudgeError:
            return None
        known = index.provenance
        same = index.name == self.name and all(known.get(key) == str(value) for key, value in self.source.items())
        # Compared last: what is known at once (the source's size, options) mostly tells.
        same = same and self.digest is not None and known.get("sha256") == self.sha256
        return ImportResult(self.target, already_there=True, remark=known.get("remark", "")) if same else None

    def write(
        self, columns: Mapping[Metric, Any], *, provenance: Mapping[str, object] | None = None, **options: Any
    ) -> ImportResult:
        """Write the table.

        Args:
            columns: As for :func:`~prejudge.benchmarks.write_table`, as are the options.
            provenance: Added to that of the source.

        Raises:
            InputError: As :func:`~prejudge.benchmarks.write_table`.
            PrejudgeError: The file cannot be written.
        """
        digest = {} if self.digest is None else {"sha256": self.sha256}
        known = {**self.source, **digest, **(provenance or {}), "imported by": f"prejudge {__version__}"}
        path = write_table(self.target, self.space, columns, name=self.name, provenance=known, **options)
        return ImportResult(path, already_there=False, remark=str(known.get("remark", "")))


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


FROM_FRACTIONS = "accuracies were fractions and are stored as per cent"
"""A remark on a table."""


def parts(rows: int, size: int) -> str:
    """The remark on a table whose source does not have all architectures of the space; else nothing."""
    return f"{rows:,} of {size:,} architectures are in the source; the others are NaN" if rows < size else ""


def remark(*texts: str) -> dict[str, str]:
    """The provenance that holds some remarks, of which some may be empty."""
    found = "; ".join(filter(None, texts))
    return {"remark": found} if found else {}


def said(column: str | None, notation: str | None, fractions: bool | None) -> dict[str, str]:
    """The provenance that says how a file was read, where the caller said so."""
    given = {"column": column, "notation": notation, "fractions": fractions}
    return {name: str(value) for name, value in given.items() if value is not None}
