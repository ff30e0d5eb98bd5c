"""Digests of the source of third-party code: where one differs, results of the two are never mixed.

Local code is what somebody may edit: neither Python's own library, nor an installed package, nor prejudge.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from prejudge.errors import InputError

_INSTALLED = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(__file__).resolve().parents[1])}
)
USER_MODULE = "prejudge_user_"
"""What the names of the modules begin with that files of plugins are run as, each time anew."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_SEEN = "__prejudge_digest__"  # of a local module's file when it was first met in this process


def digest_of_file(path: Path, source: bytes) -> str:
    """16 hexadecimal digits of the SHA-256 of a file and of all local modules that it imports, directly or not.

    Imports are read off the source, those inside functions too; modules that are imported by a computed name, and
    files that are read, are not part of it.

    Args:
        path: The file; modules are looked for beside it and on Python's path.
        source: Its bytes.

    Raises:
        InputError: A module has changed since this process imported it, so that what would run is not what is on disk.
    """
    found: dict[Path, bytes] = {path.resolve(): source}
    waiting = [path.resolve()]
    while waiting:
        file = waiting.pop()
        for imported in _local_imports(file, found[file]):
            if imported not in found:
                found[imported] = _unchanged(imported)
                waiting.append(imported)
    first, *others = found.items()
    return _digest([first[1], *(text for _, text in sorted(others))])


def digest_of_function(function: Callable[..., Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of a function's source and of everything local that it uses.

    That is the functions, classes and plain constants that it names, and theirs, and the local modules that it names
    as a whole: what a notebook or a script has besides does not count.

    Raises:
        InputError: A module that it names has changed since this process imported it.
    """
    parts: dict[str, bytes] = {}
    _collect(function, _package(function), parts)
    return _digest([name.encode() + b"\0" + text for name, text in sorted(parts.items())])


def _digest(parts: list[bytes]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        text = part.replace(b"\r\n", b"\n")
        sha.update(b"%d\n" % len(text) + text)
    return sha.hexdigest()[:16]


def _local_imports(file: Path, source: bytes) -> Iterator[Path]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # importing it says so
    roots = [file.parent, *(Path(entry or ".") for entry in sys.path)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(roots, alias.name)
        elif isinstance(node, ast.ImportFrom):
            within = roots if not node.level else [file.parents[min(node.level, len(file.parents)) - 1]]
            for alias in node.names:
                yield from _files(within, ".".join(filter(None, (node.module, alias.name))))


def _files(roots: list[Path], dotted: str) -> Iterator[Path]:
    """The local files of a module and of the packages that it is in, from the first root that has any."""
    for root in roots:
        files, folder = [], root
        for part in dotted.split("."):
            files += [p for p in (folder / part / "__init__.py", folder / f"{part}.py") if p.is_file()]
            folder = folder / part
        if files:
            yield from (path.resolve() for path in files if _is_local(path))
            return


def _is_local(path: Path) -> bool:
    return not str(path.resolve()).startswith(_INSTALLED)


def _unchanged(path: Path) -> bytes:
    """The content of a module's file, which must be what this process runs if it has imported it."""
    text = path.read_bytes()
    for name, module in list(sys.modules.items()):
        file = None if name.startswith(USER_MODULE) else getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(path.name) and Path(file).resolve() == path:
            seen = module.__dict__.setdefault(_SEEN, _digest([text]))
            if seen != _digest([text]):
                raise InputError(f"{path.name} has changed since this process imported it; start Python anew")
    return text


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "").partition(".")[0]


def _collect(value: Any, package: str, parts: dict[str, bytes]) -> None:
    """Add the source of a function, class or constant, and of what it names in the same package or locally."""
    while True:
        value = inspect.unwrap(value) if callable(value) else value
        if isinstance(value, functools.partial):
            parts[f"partial {value.func!r}"] = repr((value.args, sorted(value.keywords.items()))).encode()
            value = value.func
        elif inspect.ismethod(value):
            value = value.__func__
        else:
            break
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        if not callable(value):
            return
        value = type(value)  # an instance that can be called
    name = f"{value.__module__}.{value.__qualname__}"
    if name in parts or not _belongs(value, package):
        return
    try:
        parts[name] = inspect.getsource(value).encode()
    except (OSError, TypeError):  # typed at a prompt
        parts[name] = b"".join(code.co_code + repr(_constants(code)).encode() for code in _codes(value))
    for code in _codes(value):
        _collect_names(value, code, package, parts)


def _collect_names(owner: Any, code: CodeType, package: str, parts: dict[str, bytes]) -> None:
    known = getattr(owner, "__globals__", None) or vars(sys.modules.get(owner.__module__, ModuleType("")))
    cells = getattr(owner, "__closure__", None) or ()
    values = {name: known[name] for name in code.co_names if name in known}
    for name, cell in zip(code.co_freevars, cells, strict=False):
        try:
            values[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    for name, value in values.items():
        if isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(isinstance(v, _PLAIN) for v in value)):
            parts[f"{code.co_name}: {name}"] = repr(value).encode()
        elif isinstance(value, ModuleType):
            file = getattr(value, "__file__", None)
            if file and file.endswith(".py") and _is_local(Path(file)):
                path = Path(file).resolve()
                parts[f"module {value.__name__}"] = digest_of_file(path, _unchanged(path)).encode()
        elif callable(value):
            _collect(value, package, parts)


def _belongs(value: Any, package: str) -> bool:
    if _package(value) == package:
        return True
    try:
        return _is_local(Path(inspect.getfile(value)))
    except (OSError, TypeError):  # built in, or typed at a prompt
        return False


def _codes(value: Any) -> Iterator[CodeType]:
    """The code of a function, or of the methods of a class, and of everything defined inside."""
    functions = [value] if inspect.isfunction(value) else [f for f in vars(value).values() if inspect.isfunction(f)]
    waiting = [function.__code__ for function in functions]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _constants(code: CodeType) -> list[Any]:
    return [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
