"""The register of proxies: the name, quantities, needs and direction of each. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar

from prejudge.errors import InputError, PrejudgeError
from prejudge.plugins import Register, digest_of_function, meet, options_of, summary_of
from prejudge.proxies.quantities import LABELED, Quantity, checked

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.proxies.probe import Probe

    ProxyFunction = Callable[Concatenate[Probe, ...], float | Tensor]

Function = TypeVar("Function", bound="ProxyFunction")


@dataclass(frozen=True)
class Proxy:
    """A registered proxy.

    Attributes:
        name: The name that users type.
        function: ``function(probe, **options) -> float`` (or a 0-dimensional tensor).
        reference: The paper, and the convention where officials differ.
        reads: Names of the :class:`~prejudge.proxies.probe.Probe` quantities that it reads.
        higher_is_better: The declared direction.
        needs_labels: Whether the value depends on the targets.
        deterministic: Whether network and batch fix the value (no random draw of its own).
        invariant_to_dead_edges: Whether edges that cannot reach the output leave the value alone, so that a benchmark's
            equivalence class may share one score.
        invariant_unless: Options of which another value than the default ends that.
        min_batch: Fewest images for which it is defined.
        version: Raised when the definition changes, so that stale cached scores are never mixed in.
        options: Keyword options of ``function`` with their defaults.
        source: Digest of the file that it was read from; empty where it was registered by an import.
    """

    name: str
    function: ProxyFunction
    reference: str
    reads: tuple[Quantity, ...] = ()
    higher_is_better: bool = True
    needs_labels: bool = False
    deterministic: bool = True
    invariant_to_dead_edges: bool = True
    min_batch: int = 1
    version: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    invariant_unless: tuple[str, ...] = ()

    @property
    def built_in(self) -> bool:
        """Whether it comes with prejudge."""
        return self.function.__module__.startswith("prejudge.")

    @property
    def definition(self) -> str:
        """The digest of the source of a third-party proxy, empty for a built-in one, which has a version instead.

        Raises:
            InputError: A module that it uses has changed since this process imported it.
        """
        return "" if self.built_in else self.source or digest_of_function(self.function)

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return summary_of(self.function)


@dataclass(frozen=True)
class ProxyRequest:
    """A proxy with its options; ``str(request)`` names its column, e.g. ``"synflow"`` or ``"zen(images=32)"``."""

    proxy: Proxy
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        changed = [f"{k}={v!r}" for k, v in self.options if v != self.proxy.options[k]]
        return f"{self.proxy.name}({', '.join(changed)})" if changed else self.proxy.name

    @property
    def invariant_to_dead_edges(self) -> bool:
        """Whether that is so with these options; see :class:`Proxy`."""
        defaults, unless = self.proxy.options, self.proxy.invariant_unless
        return self.proxy.invariant_to_dead_edges and all(v == defaults[k] for k, v in self.options if k in unless)


register: Register[Proxy] = Register("proxy", "prejudge.proxies")


def proxy(
    name: str,
    *,
    reference: str,
    reads: Iterable[Quantity] = (),
    higher_is_better: bool = True,
    needs_labels: bool = False,
    deterministic: bool = True,
    invariant_to_dead_edges: bool = True,
    invariant_unless: Iterable[str] = (),
    min_batch: int = 1,
    version: int = 1,
) -> Callable[[Function], Function]:
    """Decorator: register a function over a probe as a proxy; see :class:`Proxy` for what is declared.

    Args:
        name: The name that users type.
        reference: The paper or note that defines the score.
        reads: The probe quantities that the function reads; the probe plans its passes by them.
        higher_is_better: The declared direction.
        needs_labels: Whether the value depends on the targets.
        deterministic: Whether network and batch fix the value.
        invariant_to_dead_edges: Whether edges that cannot reach the output leave the value alone.
        invariant_unless: Options of which another value than the default ends that.
        min_batch: Fewest images for which it is defined.
        version: Raised when the definition changes.

    Raises:
        InputError: A quantity does not exist, one needs labels but the proxy does not, an option has no default, or a
            built-in proxy has that name.

    Example:
        >>> @proxy("weight_sum", reference="mine, 2026", reads=["weights"])
        ... def weight_sum(probe: Probe) -> Tensor:
        ...     "Sum of all weights."
        ...     return sum(w.sum() for w in probe.weights.values())
    """
    quantities = checked(reads)
    labeled = [quantity for quantity in quantities if quantity in LABELED]
    if labeled and not needs_labels:
        raise InputError(f"proxy {name!r} reads {labeled[0]}, which depends on the targets; declare needs_labels=True")

    def add(function: Function) -> Function:
        known = register.items.get(name)
        if known is not None and known.built_in and not function.__module__.startswith("prejudge."):
            raise InputError(f"proxy {name!r} is built in; give yours another name")
        if not function.__module__.startswith("prejudge."):
            meet(function)
        register.add(
            Proxy(
                name,
                function,
                reference,
                quantities,
                higher_is_better=higher_is_better,
                needs_labels=needs_labels,
                deterministic=deterministic,
                invariant_to_dead_edges=invariant_to_dead_edges,
                min_batch=min_batch,
                version=version,
                options=options_of("proxy", name, function),
                invariant_unless=tuple(invariant_unless),
            )
        )
        return function

    return add


def names() -> list[str]:
    """Names of all proxies, third-party ones included."""
    return register.names()


def default_names(*, labels: bool = True) -> list[str]:
    """Names of the built-in proxies that are scored when none is named: all but TE-NAS's exact kernel, which is slow.

    Args:
        labels: Whether those that need labels are wanted.
    """
    return [
        name
        for name, p in register.items.items()
        if p.built_in and "jacobian_kernel" not in p.reads and (labels or not p.needs_labels)
    ]


def get(name: str) -> Proxy:
    """The proxy called ``name``; raises :class:`InputError` where there is none."""
    return register.get(name)


def resolve(requests: str | ProxyRequest | Iterable[str | ProxyRequest]) -> list[ProxyRequest]:
    """Read proxy names as users write them.

    Args:
        requests: One or several, each ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME``, or already resolved.

    Returns:
        The requests in the given order, duplicates dropped.

    Raises:
        InputError: An unknown proxy or option, or none requested.
    """
    if isinstance(requests, str | ProxyRequest):
        requests = [requests]
    found: dict[str, ProxyRequest] = {}
    for request in (r if isinstance(r, ProxyRequest) else _read(r) for r in requests):
        first = found.setdefault(str(request), request)
        if first.proxy.source != request.proxy.source:
            raise InputError(f"two different proxies are called {request.proxy.name}; give one another name")
    if not found:
        raise InputError(f"no proxy requested (known: {', '.join(names())})")
    return list(found.values())


def resolve_unchanged(proxy: str | ProxyRequest, definition: str) -> ProxyRequest:
    """The request, in a process that may read its file later than the one that planned the work.

    Raises:
        PrejudgeError: Its source is not the one whose digest is ``definition``.
        InputError: It cannot be resolved.
    """
    (request,) = resolve([proxy])
    if request.proxy.definition != definition:
        raise PrejudgeError(f"the source of {request} has changed since this run began; run it again")
    return request


def _read(text: str) -> ProxyRequest:
    chosen, options = register.read(text)
    return ProxyRequest(chosen, tuple(sorted(options.items())))
