"""The register of search methods: what each one is called, does and can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prejudge.plugins import Register, options_of, summary_of
from prejudge.search.run import Run


@dataclass(frozen=True)
class Method:
    """A registered search method.

    Attributes:
        name: The name that users type.
        function: ``function(run, **options)``; it asks ``run.evaluate`` until the budget is spent, or returns earlier.
        reference: The paper, and whose settings the defaults are.
        options: Keyword options of ``function`` with their defaults.
    """

    name: str
    function: Callable[..., None]
    reference: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return summary_of(self.function)

    def __call__(self, run: Run, **options: Any) -> None:
        self.function(run, **{**self.options, **options})


register: Register[Method] = Register("search", "prejudge.searches")


def search_method(name: str, *, reference: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: register a function over a :class:`~prejudge.search.run.Run` as a search method.

    Args:
        name: The name that users type.
        reference: The paper or note that defines it.

    Example:
        >>> @search_method("first-come", reference="mine, 2026")
        ... def first_come(run, tries=10):
        ...     "Takes what comes."
        ...     for _ in range(tries):
        ...         run.evaluate(run.space.sample(run.rng))
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        register.add(Method(name, function, reference, options_of("search", name, function)))
        return function

    return add
