"""The architectures of a table's rows, where the space's own order is not at hand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from prejudge.errors import InputError, quoted
from prejudge.spaces.base import Architecture, EnumerableSpace, Space, require_enumerable

_HASH = re.compile(r"[0-9a-f]{32}")


class NotListed(InputError):
    """A table that lists its architectures does not have this one."""


class Rows(Protocol):
    """An ordered collection of architectures: an enumerable space, or the list that a table brings along."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Architecture]: ...

    def __getitem__(self, index: int) -> Architecture: ...

    def index(self, arch: Any) -> int:
        """Row of ``arch``; raises :class:`NotListed` where it has none."""


def has_own_order(space: Space[Any]) -> bool:
    """Whether tables of this space have a row for each of its architectures, in the space's order, and list none."""
    return isinstance(space, EnumerableSpace) and not space.slow_index


def row_key(canonical: str) -> int:
    """64 bits that stand for a canonical key; of a hash its first 16 digits, so that rows ascend as hashes do."""
    if _HASH.fullmatch(canonical):
        return int(canonical[:16], 16)
    return int.from_bytes(hashlib.blake2b(canonical.encode(errors="surrogatepass"), digest_size=8).digest())


class RowNumbers:
    """Numbers the rows of a table that is being made: by the space's index, or in order of arrival where it lists them.

    Args:
        space: Their search space.
    """

    def __init__(self, space: Space[Any]) -> None:
        self._own = require_enumerable(space) if has_own_order(space) else None
        self._space = space
        self._rows: dict[str, int] = {}
        self._arrived: list[Architecture] = []

    def row(self, arch: Architecture) -> int:
        """Row of an architecture; equal architectures of a listing have one row, that of the first."""
        if self._own is not None:
            return self._own.index(arch)
        row = self._rows.setdefault(self._space.canonical(arch), len(self._arrived))
        if row == len(self._arrived):
            self._arrived.append(arch)
        return row

    def __len__(self) -> int:
        """Rows of the table."""
        return len(self._arrived) if self._own is None else len(self._own)

    @property
    def architectures(self) -> list[Architecture] | None:
        """The listing for :func:`~prejudge.benchmarks.write_table`, if the table has one."""
        return self._arrived if self._own is None else None

    @property
    def keys(self) -> list[str] | None:
        """Canonical keys of :attr:`architectures`."""
        return list(self._rows) if self._own is None else None


class ListedRows:
    """Architectures in ascending order of their :func:`row_key`.

    Args:
        space: Their search space.
        keys: Their row keys, ascending, shape ``(rows,)``.
        texts: Gives their texts; called when the first one is asked for.
    """

    def __init__(self, space: Space[Any], keys: np.ndarray, texts: Callable[[], list[str]]) -> None:
        self.space = space
        self._keys = keys
        self._read = texts

    @cached_property
    def texts(self) -> list[str]:
        """Text of each architecture."""
        return self._read()

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Architecture]:
        return map(self.space.parse, self.texts)

    def __getitem__(self, index: int) -> Architecture:
        if not 0 <= index < len(self):
            raise InputError(f"row {quoted(index)} is outside 0..{len(self) - 1}")
        result: Architecture = self.space.parse(self.texts[index])
        return result

    def index(self, arch: Any) -> int:
        """Row of an architecture, of an equal one, or of its canonical key; raises :class:`NotListed` if it has none.

        An integer is the index in the space, which is the row where all of the space is listed.
        """
        if isinstance(arch, str):
            row = self._row(arch.strip())
            if row is not None:
                return row
        everything = isinstance(self.space, EnumerableSpace) and len(self) == len(self.space)
        if everything and isinstance(arch, int | np.integer) and 0 <= arch < len(self):
            return int(arch)
        row = self._row(self.space.canonical(self.space.parse(arch)))
        if row is None:
            raise NotListed(f"{arch} is none of the {len(self):,} architectures listed")
        return row

    def _row(self, canonical: str) -> int | None:
        key = np.uint64(row_key(canonical))
        row = int(np.searchsorted(self._keys, key))
        return row if row < len(self) and self._keys[row] == key else None
