"""What every search space offers, and the register of spaces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from prejudge.errors import unknown

if TYPE_CHECKING:
    import numpy as np
    import torch

Architecture = Hashable
"""A small frozen value; ``str(architecture)`` is its canonical text. It never holds a torch object."""


class Space(ABC):
    """A search space: how its architectures are written, enumerated, varied and built.

    Only :meth:`network` imports torch, and only when it is called.
    """

    name: ClassVar[str]
    default_skeleton: ClassVar[dict[str, Any]]
    """Every macro number of :meth:`network` with its published default."""

    @abstractmethod
    def parse(self, text: Any) -> Architecture:
        """Read an architecture in any official notation; raises :class:`~prejudge.errors.InputError`."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, drawn as the space's benchmark draws it."""

    @abstractmethod
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """One random edit of ``arch``; never ``arch`` itself."""

    @abstractmethod
    def neighbours(self, arch: Architecture) -> list[Architecture]:
        """All architectures one edit away."""

    @abstractmethod
    def canonical(self, arch: Architecture) -> str:
        """A key that is equal for architectures that the space's benchmark calls the same."""

    @abstractmethod
    def representative(self, arch: Architecture) -> Architecture:
        """The first architecture, in index order, of the class that :meth:`canonical` names."""

    @abstractmethod
    def connected(self, arch: Architecture) -> bool:
        """Whether information can flow from the cell's input to its output."""

    @abstractmethod
    def network(self, arch: Architecture, **skeleton: Any) -> torch.nn.Module:
        """The torch network of ``arch``: images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""

    @abstractmethod
    def params(self, arch: Architecture, **skeleton: Any) -> int:
        """Number of trainable parameters of :meth:`network`, by formula."""

    @abstractmethod
    def flops(self, arch: Architecture, **skeleton: Any) -> int:
        """Multiply-adds of one image through :meth:`network`, by formula."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of architectures, where the space is enumerable."""

    @abstractmethod
    def __iter__(self) -> Iterator[Architecture]:
        """All architectures in index order."""

    @abstractmethod
    def __getitem__(self, index: int) -> Architecture:
        """The architecture with this index."""

    @abstractmethod
    def index(self, arch: Architecture) -> int:
        """Position of ``arch`` in the space's (official) order."""

    @abstractmethod
    def unique(self) -> list[Architecture]:
        """One representative of each class, in index order."""

    def __repr__(self) -> str:
        return f"<space {self.name}>"


_makers: dict[str, Callable[[], Space]] = {}
_made: dict[str, Space] = {}


def register_space(name: str) -> Callable[[Callable[[], Space]], Callable[[], Space]]:
    """Decorator: make a space known under ``name``; the space is built when it is first asked for."""

    def add(maker: Callable[[], Space]) -> Callable[[], Space]:
        _makers[name] = maker
        return maker

    return add


def space_names() -> list[str]:
    """The names that :func:`space` takes."""
    return sorted(_makers)


def space(name: str) -> Space:
    """The search space called ``name``.

    Raises:
        InputError: No space has that name.
    """
    if name not in _makers:
        raise unknown("space", name, _makers)
    if name not in _made:
        _made[name] = _makers[name]()
    return _made[name]
