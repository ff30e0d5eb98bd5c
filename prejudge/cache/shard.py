"""Dividing the architectures of a run into parts that can be computed anywhere, and merged afterwards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from prejudge.errors import InputError, quoted
from prejudge.formats.text import whole_number

_PART = re.compile(r"\s*(\d+)\s*/\s*(\d+)\s*")


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts of a set of architectures.

    The parts are disjoint, together they are the whole set, and their sizes differ by one at most. Which part an
    architecture is in depends on the set alone: not on its order, nor on what has been computed already. Architectures
    that resemble one another (neighbors in a space's order, with similar costs) are scattered.

    Attributes:
        index: Which part, from 1.
        count: Number of parts.

    Raises:
        InputError: There is no such part.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(f"no part {self.index}/{self.count}: parts are 1/N to N/N")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``I/N``; raises :class:`~prejudge.errors.InputError` for anything else."""
        match = _PART.fullmatch(text)
        if match is None:
            raise InputError(f"cannot read the shard {quoted(text)}; give I/N, from 1/N to N/N")
        index, count = (whole_number(number) for number in match.groups())
        if index is None or count is None:
            raise InputError(f"no part {quoted(text)}: parts are 1/N to N/N")
        return cls(index, count)

    def of(self, architectures: Iterable[str]) -> set[str]:
        """The texts in this part."""
        scattered = sorted(set(architectures), key=lambda text: (hashlib.sha256(text.encode()).digest(), text))
        return set(scattered[self.index - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
