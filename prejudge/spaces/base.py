"""The interface of every search space, and the register of spaces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from prejudge.errors import InputError, quoted, unknown
from prejudge.spaces.architecture import Architecture as Architecture

if TYPE_CHECKING:
    import numpy as np
    import torch

    from prejudge.spaces.cell_graph import CellGraph
    from prejudge.spaces.nn.supernet import Supernet


A = TypeVar("A", bound=Architecture)


class Space(ABC, Generic[A]):
    """A search space: how its architectures are written, varied, compared and built.

    ``A`` is the type of its architectures, such as :class:`~prejudge.spaces.Genotype`. Only :meth:`network` and
    :meth:`supernet` import torch, and only when they are called. A space whose architectures can be listed is an
    :class:`EnumerableSpace`.
    """

    name: str
    macro_type: ClassVar[type]
    """The frozen dataclass of the macro-architecture around the cells, with the published defaults."""
    notations: ClassVar[tuple[str, ...]] = ()
    """The names that ``notation=`` of :meth:`parse` takes."""

    @abstractmethod
    def parse(self, text: Any, *, notation: str | None = None) -> A:
        """Read an architecture in any official notation.

        Args:
            text: A text, or any other value that the space documents.
            notation: One of :attr:`notations`; needed only for values that several of them give different meanings.

        Raises:
            InputError: It cannot be read, or not without ``notation``.
        """

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> A:
        """One architecture, drawn as the space's benchmark draws it."""

    @abstractmethod
    def mutate(self, arch: A, rng: np.random.Generator) -> A:
        """One random edit of ``arch``; never ``arch`` itself."""

    @abstractmethod
    def neighbors(self, arch: A) -> list[A]:
        """All architectures one edit away."""

    @abstractmethod
    def canonical(self, arch: A) -> str:
        """A key that is equal for architectures that the space's benchmark calls the same."""

    @abstractmethod
    def connected(self, arch: A) -> bool:
        """Whether information can flow from the cell's input to its output."""

    @abstractmethod
    def network(self, arch: A, **macro: Any) -> torch.nn.Module:
        """The torch network of ``arch``: images ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``.

        Args:
            arch: The architecture.
            macro: Fields of the macro-architecture, :attr:`macro_type`.

        Raises:
            InputError: A field is unknown or out of range.
        """

    def supernet(self, **options: Any) -> Supernet:
        """The weight-sharing network of the whole space: images ``(N, C, H, W)`` and a mixture to logits.

        Raises:
            InputError: The space has none.
        """
        raise InputError(f"space {self.name} has no supernet; query-based searches work on it")

    @abstractmethod
    def params(self, arch: A, **macro: Any) -> int:
        """Number of trainable parameters of :meth:`network`, by formula."""

    @abstractmethod
    def flops(self, arch: A, image_size: int = 32, **macro: Any) -> int:
        """Multiply-adds of one square image through :meth:`network`, by formula: convolutions and the classifier."""

    @abstractmethod
    def graphs(self, arch: A) -> dict[str, CellGraph]:
        """The cells of ``arch`` as plain graphs, by name, to be drawn."""

    @property
    @abstractmethod
    def choices(self) -> tuple[int, ...]:
        """An architecture as a sequence of decisions: how many options each has. For policies and densities."""

    @abstractmethod
    def encode(self, arch: A) -> tuple[int, ...]:
        """The decisions that make ``arch``, each ``0 .. choices[i] - 1``; :meth:`decode` makes an equal one of them.

        Raises:
            InputError: No decisions make it.
        """

    @abstractmethod
    def decode(self, decisions: Sequence[int]) -> A | None:
        """The architecture that decisions within :attr:`choices` make; None where they make none of this space."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of architectures that :meth:`sample` can give."""

    def representative(self, arch: A) -> A:
        """The architecture that stands for the class that :meth:`canonical` names: in this space, each for itself."""
        return arch

    @property
    def initialization(self) -> str:
        """The distribution that :meth:`network` draws its weights from; part of a score's protocol."""
        return "torch default"

    @property
    def extent(self) -> int | str:
        """The number of architectures, or what stands for it, as a list of spaces shows it; it costs nothing."""
        return f"{self.size:.1e}"

    def matching(self, text: str) -> list[A] | None:
        """The architectures of names and patterns in ``text``; None where the space has no names, as most have none."""
        return None

    @property
    def default_macro(self) -> dict[str, Any]:
        """Every field of the macro-architecture with its published default."""
        return {field.name: field.default for field in fields(self.macro_type)}

    def macro(self, /, **overrides: Any) -> Any:
        """The macro-architecture with some fields replaced; raises :class:`InputError` for a name it does not have."""
        known = self.default_macro
        for name in overrides:
            if name not in known:
                raise unknown(f"{self.name} macro field", name, known)
        return self.macro_type(**overrides)

    def check_notation(self, notation: str | None) -> None:
        """Raise :class:`InputError` for a name that is not among :attr:`notations`."""
        if notation is not None and notation not in self.notations:
            raise unknown(f"{self.name} notation", notation, self.notations)

    def __repr__(self) -> str:
        return f"<space {self.name}>"


class EnumerableSpace(Space[A]):
    """A space whose architectures can all be listed, in an order that is fixed."""

    slow_index: ClassVar[bool] = False
    """Whether the first use of the order costs a long computation; tables of such a space bring their own list."""

    @property
    def size(self) -> int:
        return len(self)

    @property
    def extent(self) -> int | str:
        return len(self)

    @abstractmethod
    def __len__(self) -> int:
        """Number of architectures."""

    @abstractmethod
    def __iter__(self) -> Iterator[A]:
        """All architectures in index order."""

    @abstractmethod
    def __getitem__(self, index: int) -> A:
        """The architecture with this index; raises :class:`InputError` outside ``0..len - 1``."""

    @abstractmethod
    def index(self, arch: A) -> int:
        """Position of ``arch`` in the space's (official) order."""

    @abstractmethod
    def representative(self, arch: A) -> A:
        """The first architecture, in index order, of the class that :meth:`canonical` names."""

    @abstractmethod
    def unique(self) -> list[A]:
        """One representative of each class, in index order."""


def require_enumerable(space: Space[A]) -> EnumerableSpace[A]:
    """The space, if its architectures can be listed; raises :class:`InputError` otherwise."""
    if not isinstance(space, EnumerableSpace):
        raise InputError(f"the architectures of {space.name} cannot all be listed; draw some (random:N) or name them")
    return space


def require_positive(space: str, macro: Any, names: Iterable[str]) -> None:
    """Raise :class:`InputError` unless each of these fields is a positive integer."""
    for name in names:
        value = getattr(macro, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{space}: {name} must be a positive integer, not {quoted(value)}")


Maker = TypeVar("Maker", bound=Callable[[], Space[Any]])

_makers: dict[str, Callable[[], Space[Any]]] = {}
_made: dict[str, Space[Any]] = {}


def register_space(name: str) -> Callable[[Maker], Maker]:
    """Decorator: make a space known under ``name``; the space is built when it is first asked for."""

    def add(maker: Maker) -> Maker:
        _makers[name] = maker
        return maker

    return add


def space_names() -> list[str]:
    """The names that :func:`space` takes."""
    return sorted(_makers)


def space(name: str) -> Space[Any]:
    """The search space called ``name``; ``nats_size`` is read as ``nats-size``.

    Raises:
        InputError: No space has that name.
    """
    if name not in _makers and isinstance(name, str):
        name = name.replace("_", "-")
    if name not in _makers:
        raise unknown("space", name, _makers)
    if name not in _made:
        _made[name] = _makers[name]()
    return _made[name]
