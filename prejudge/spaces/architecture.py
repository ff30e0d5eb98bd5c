"""The protocol of architectures: what every search space's architectures have in common."""

from __future__ import annotations

from typing import Protocol


class Architecture(Protocol):
    """A small frozen value; ``str(architecture)`` is its canonical text. It never holds a torch object."""

    def __hash__(self) -> int: ...

    def __str__(self) -> str: ...
