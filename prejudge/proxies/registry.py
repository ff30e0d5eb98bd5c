"""The register of proxies: what each one is called, reads, needs and means. Free of torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from prejudge.errors import InputError, MissingDataError, unknown

ENTRY_POINT_GROUP = "prejudge.proxies"


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
        min_batch: Fewest images for which it is defined.
        version: Raised when the definition changes, so that stale cached scores are never mixed in.
        options: Keyword options of ``function`` with their defaults.
    """

    name: str
    function: Callable[..., Any]
    reference: str
    reads: tuple[str, ...] = ()
    higher_is_better: bool = True
    needs_labels: bool = False
    deterministic: bool = True
    invariant_to_dead_edges: bool = True
    min_batch: int = 1
    version: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]


@dataclass(frozen=True)
class ProxyRequest:
    """A proxy with its options; ``str(request)`` names its column, e.g. ``"synflow"`` or ``"zen(images=32)"``."""

    proxy: Proxy
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        changed = [f"{k}={v!r}" for k, v in self.options if v != self.proxy.options[k]]
        return f"{self.proxy.name}({', '.join(changed)})" if changed else self.proxy.name


_proxies: dict[str, Proxy] = {}
_loaded_entry_points = False


def proxy(
    name: str, *, reference: str, reads: Iterable[str] = (), **declared: Any
) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: register a function over a probe as a proxy.

    Args:
        name: The name that users type.
        reference: The paper or note that defines the score.
        reads: The probe quantities that the function reads; the probe plans its passes by them.
        declared: Any other field of :class:`Proxy` (``higher_is_better``, ``needs_labels`` …).

    Example:
        >>> @proxy("weight_sum", reference="mine, 2026", reads=["weights"])
        ... def weight_sum(probe):
        ...     "Sum of all weights."
        ...     return sum(w.sum() for w in probe.weights.values())
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        options = {p.name: p.default for p in parameters}
        if any(p.default is p.empty for p in parameters):
            raise InputError(f"proxy {name!r}: every option of {function.__name__} needs a default")
        _proxies[name] = Proxy(name, function, reference, tuple(reads), options=options, **declared)
        return function

    return add


def names() -> list[str]:
    """Names of all proxies, third-party ones included."""
    _load_entry_points()
    return sorted(_proxies)


def default_names(*, labels: bool = True) -> list[str]:
    """Names of the built-in proxies that are scored when none is named: all but TE-NAS's exact kernel, which is slow.

    Args:
        labels: Whether those that need labels are wanted.
    """
    return [
        name
        for name, p in _proxies.items()
        if p.function.__module__.startswith("prejudge.")
        and "jacobian_kernel" not in p.reads
        and (labels or not p.needs_labels)
    ]


def get(name: str) -> Proxy:
    """The proxy called ``name``; raises :class:`InputError` where there is none."""
    _load_entry_points()
    if name not in _proxies:
        raise unknown("proxy", name, _proxies)
    return _proxies[name]


def resolve(requests: Iterable[str | ProxyRequest]) -> list[ProxyRequest]:
    """Read proxy names as users write them.

    Args:
        requests: Each one ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME``, or an already resolved request.

    Returns:
        The requests in the given order, duplicates dropped.

    Raises:
        InputError: An unknown proxy or option, or none requested.
    """
    found = {str(r): r for r in (r if isinstance(r, ProxyRequest) else _read(r) for r in requests)}
    if not found:
        raise InputError(f"no proxy requested (known: {', '.join(names())})")
    return list(found.values())


def _read(text: str) -> ProxyRequest:
    path, colon, rest = text.strip().rpartition(":")
    if colon and path.endswith(".py"):
        load_file(Path(path))
        text = rest
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            name, options = call.id, dict[Any, Any]()
        elif isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            name, options = call.func.id, {k.arg: ast.literal_eval(k.value) for k in call.keywords}
        else:
            raise ValueError
    except (ValueError, SyntaxError):
        raise InputError(f"cannot read proxy {text!r}; write NAME or NAME(option=value)") from None
    chosen = get(name)
    for option in options:
        if option not in chosen.options:
            raise unknown(f"option of {name}", option, chosen.options)
    return ProxyRequest(chosen, tuple(sorted({**chosen.options, **options}.items())))


def load_file(path: Path) -> None:
    """Run a Python file of the user's own that registers proxies.

    Raises:
        MissingDataError: There is no such file.
        InputError: The file cannot be imported.
    """
    if not path.is_file():
        raise MissingDataError(f"no proxy file {path}")
    spec = importlib.util.spec_from_file_location(f"prejudge_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"cannot import proxy file {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"proxy file {path} failed: {type(error).__name__}: {error}") from error


def _load_entry_points() -> None:
    global _loaded_entry_points
    if not _loaded_entry_points:
        _loaded_entry_points = True
        for point in entry_points(group=ENTRY_POINT_GROUP):
            point.load()
