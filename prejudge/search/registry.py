"""The register of search methods: what each one is called, does and can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from prejudge.errors import InputError
from prejudge.plugins import Register, checked_options, options_of, summary_of
from prejudge.search.protocol import Questions, SearchContext
from prejudge.spaces.base import Space


@dataclass(frozen=True)
class SearchMethod:
    """A registered search method.

    Attributes:
        name: The name that users type.
        function: ``function(search, **options)``, a generator of questions (:mod:`prejudge.search.protocol`).
        reference: The paper, and whose settings the defaults are.
        context: What ``function`` is called with.
        spaces: Patterns of the names of the spaces that it searches.
        continues: Whether it can start from the supernet of an earlier run.
        options: Keyword options of ``function`` with their defaults.
        source: Digest of the file that it was read from; empty where it was registered by an import.
    """

    name: str
    function: Callable[..., Questions]
    reference: str
    context: type[SearchContext] = SearchContext
    spaces: Sequence[str] = ("*",)
    continues: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return summary_of(self.function)

    def check_space(self, space: Space[Any]) -> None:
        """Raise :class:`InputError` unless the method searches this space."""
        if not any(fnmatch(space.name, pattern) for pattern in self.spaces):
            known = ", ".join(self.spaces)
            raise InputError(f"{self.name} searches {known}; it is not defined on {space.name}")


register: Register[SearchMethod] = Register("search", "prejudge.searches")


def search_method(
    name: str,
    *,
    reference: str,
    context: type[SearchContext] = SearchContext,
    spaces: Sequence[str] = ("*",),
    continues: bool = False,
) -> Callable[[Callable[..., Questions]], Callable[..., Questions]]:
    """Decorator: register a generator function as a search method.

    Args:
        name: The name that users type.
        reference: The paper or note that defines it.
        context: What the function is called with; another one for supernets or pruning.
        spaces: Names of the spaces that it searches; ``*`` stands for any text.
        continues: Whether it looks at the context's ``resume_from``.

    Example:
        >>> @search_method("first-come", reference="mine, 2026")
        ... def first_come(search, tries=10):
        ...     "Take what comes."
        ...     yield [search.space.sample(search.rng) for _ in range(tries)]
    """

    def add(function: Callable[..., Questions]) -> Callable[..., Questions]:
        options = options_of("search", name, function)
        register.add(SearchMethod(name, function, reference, context, tuple(spaces), continues, options))
        return function

    return add


def read_method(text: str, options: Mapping[str, Any] | None) -> tuple[SearchMethod, dict[str, Any]]:
    """A method and all of its options; raises :class:`InputError` for one that is unknown or of another kind."""
    chosen, given = register.read(text)
    return chosen, given | checked_options(chosen, options or {})
