"""Registers of what third parties may add: by a decorator, by a package's entry point, or from a file of the user's."""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Generic, Protocol, SupportsFloat, TypeVar

from prejudge.errors import InputError, MissingDataError, check_integer, quoted, unknown
from prejudge.formats.text import is_file, parse_literal
from prejudge.plugins.source import USER_MODULE, digest_of_file


class Plugin(Protocol):
    """Anything that can be registered, a frozen dataclass: a name, keyword options with defaults, and its source."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> Mapping[str, Any]: ...

    @property
    def source(self) -> str: ...

    @property
    def function(self) -> Callable[..., Any]: ...


P = TypeVar("P", bound=Plugin)
_NAME = re.compile(r"[A-Za-z_][\w-]*")


class Register(Generic[P]):
    """Plugins of one kind, by name.

    Args:
        kind: What one is called in messages, e.g. ``"proxy"``.
        group: The entry-point group that other packages announce theirs in; loaded when a name is first asked for.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self.items: dict[str, P] = {}
        self._announced = False

    def add(self, plugin: P) -> None:
        """Register; a later one of the same name replaces an earlier one."""
        self.items[plugin.name] = plugin

    def names(self) -> list[str]:
        """All names, third-party ones included."""
        self._load_announced()
        return sorted(self.items)

    def get(self, name: str) -> P:
        """The plugin of this name; raises :class:`InputError` where there is none."""
        self._load_announced()
        if name not in self.items:
            raise unknown(self.kind, name, self.items)
        return self.items[name]

    def read(self, text: str) -> tuple[P, dict[str, Any]]:
        """Read ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME``.

        Returns:
            The plugin and all of its options, defaults included.

        Raises:
            InputError: An unknown name or option, or another form.
            MissingDataError: The file does not exist.
        """
        source, of_file = None, re.match(r"([^(]*\.py):(.*)", text.strip(), re.DOTALL)  # options may have colons too
        if of_file is not None:
            path, text = of_file.groups()
            source = self.load_file(Path(path))
        name, bracket, arguments = text.strip().partition("(")
        name = name.strip()
        try:
            call = ast.parse(f"f({arguments}" if bracket else "f()", mode="eval").body
            if not _NAME.fullmatch(name) or not isinstance(call, ast.Call) or call.args:
                raise ValueError
            if not isinstance(call.func, ast.Name):  # NAME(…)(…)
                raise ValueError
            options: dict[Any, Any] = {k.arg: parse_literal(k.value) for k in call.keywords}
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise InputError(f"cannot read {self.kind} {quoted(text)}; write NAME or NAME(option=value)") from None
        chosen = self.get(name)
        if source is not None and chosen.source != source:
            raise InputError(f"{path} registers no {self.kind} {name!r}")
        return chosen, {**chosen.options, **checked_options(chosen, options)}

    def load_file(self, path: Path) -> str:
        """Run a Python file of the user's own that registers plugins; returns the digest of its source.

        Raises:
            MissingDataError: The file does not exist.
            InputError: The file cannot be imported, or a module that it imports has changed since this process did.
        """
        if not is_file(path):
            raise MissingDataError(f"no {self.kind} file {path}")
        text = _content(path, self.kind)
        folder = str(path.resolve().parent)
        if folder not in sys.path:
            sys.path.append(folder)  # for the modules beside it; last, so that they hide none
        module = ModuleType(f"{USER_MODULE}{path.stem}")
        module.__file__ = str(path)
        sys.modules[module.__name__] = module  # dataclasses look there
        before = dict(self.items)
        try:
            # Compiled here: what runs is what the digest is of, where Python's own cache goes by whole seconds.
            exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: it would end the command without a word
            raise InputError(f"{self.kind} file {path} failed: {type(error).__name__}: {error}") from error
        source = digest_of_file(path, text)
        for name, plugin in self.items.items():
            if before.get(name) is not plugin:
                self.items[name] = replace(plugin, source=source)
        return source

    def _load_announced(self) -> None:
        if not self._announced:
            self._announced = True
            for point in entry_points(group=self.group):
                point.load()


def _content(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {kind} file {path}: {error.strerror}") from None


def options_of(kind: str, name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """The options of a plugin's function: its parameters but the first, which all need defaults."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(p.default is p.empty for p in parameters):
        raise InputError(f"{kind} {name!r}: every option of {function.__name__} needs a default")
    return {p.name: p.default for p in parameters}


def checked_options(plugin: Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a plugin, those annotated as ``int`` as integers.

    Raises:
        InputError: An option is unknown, or is not of the kind that its annotation names (``int``, ``float``, ``bool``,
            ``str``, also ``… | None``); what is not annotated, or otherwise, may be anything.
    """
    parameters, found = inspect.signature(plugin.function).parameters, dict(given)
    for option, value in given.items():
        if option not in plugin.options:
            raise unknown(f"option of {plugin.name}", option, plugin.options)
        annotation = parameters[option].annotation
        kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        if value is None and kind.endswith(" | None"):
            continue
        what, kind = f"{plugin.name}: {option}", kind.removesuffix(" | None")
        if kind == "int":
            found[option] = check_integer(what, value, least=None)
        elif kind == "float" and not _is_finite(value):
            raise InputError(f"{what} must be a number, not {quoted(value)}")
        elif kind == "bool" and not isinstance(value, bool):
            raise InputError(f"{what} must be True or False, not {quoted(value)}")
        elif kind == "str" and not isinstance(value, str):
            raise InputError(f"{what} must be a text, not {quoted(value)}")
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, SupportsFloat) and not isinstance(value, bool | str) and math.isfinite(value)


def summary_of(function: Callable[..., Any]) -> str:
    """First line of a function's docstring."""
    return (inspect.getdoc(function) or "").partition("\n")[0]
