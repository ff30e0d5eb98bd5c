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
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from prejudge.errors import InputError

_INSTALLED = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(__file__).resolve().parents[1])}
)
USER_MODULE = "prejudge_user_"
"""The beginning of the names of the modules that files of plugins are run as, each time anew."""

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
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _imported(file, alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                dotted = ".".join(filter(None, (node.module, alias.name)))
                if node.level:
                    yield from filter(_is_local, _files([file.parents[min(node.level, len(file.parents)) - 1]], dotted))
                else:
                    yield from _imported(file, dotted)


def _imported(file: Path, dotted: str) -> list[Path]:
    """The local files that importing a module runs: of the one that this process has, or of the first on its path.

    Raises:
        InputError: The file's folder, of which its author thinks, has another module of that name.
    """
    top = dotted.partition(".")[0]
    path = [Path(entry or ".").resolve() for entry in sys.path]
    beside = _files([file.parent], dotted) if file.parent in path else []
    roots = [*path, file.parent]
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if isinstance(loaded, str):
        roots = [Path(loaded).resolve().parents[Path(loaded).name.startswith("__init__.")]]
    elif top in sys.stdlib_module_names:
        roots = []
    found = _files(roots, dotted)
    if beside and (not found or found[0] != beside[0]):
        other = found[0] if found else "Python's own"
        raise InputError(f"{file} imports {top}, which is {beside[0]} beside it, but {other} here; rename one of them")
    return [path for path in found if _is_local(path)]


def _files(roots: list[Path], dotted: str) -> list[Path]:
    """The files of a module and of the packages that it is in, from the first root that has any."""
    for root in roots:
        files, folder = [], root
        for part in dotted.split("."):
            files += [p for p in (folder / part / "__init__.py", folder / f"{part}.py") if p.is_file()][:1]
            folder = folder / part
        if files:
            return [path.resolve() for path in files]
    return []


def _is_local(path: Path) -> bool:
    return not any(path.resolve().is_relative_to(folder) for folder in _INSTALLED)


def _unchanged(path: Path) -> bytes:
    """The content of a module's file, which must be what this process runs if it has imported it."""
    text = path.read_bytes()
    for name, module in list(sys.modules.items()):
        file = None if name.startswith(USER_MODULE) else getattr(module, "__file__", None)
        same = isinstance(file, str) and file.endswith(path.name) and Path(file).resolve() == path
        if same and _as_imported(module, text) != text:
            raise InputError(f"{path.name} has changed since this process imported it; start Python anew")
    return text


def _as_imported(module: ModuleType, text: bytes) -> bytes:
    """The file of a module as it was when this process first met it, or met it after a reload."""
    spec, seen = module.__dict__.get(_SEEN, (None, None))
    if seen is None or spec is not getattr(module, "__spec__", None):
        module.__dict__[_SEEN] = getattr(module, "__spec__", None), text
        return text
    return bytes(seen)


def meet(function: Callable[..., Any]) -> None:
    """Remember the files of a function that is being registered, and of what it uses: edited, they run as they are."""
    with suppress(InputError, OSError):
        digest_of_function(function)
        path, module = Path(function.__code__.co_filename), sys.modules.get(function.__module__)
        if module is not None and path.is_file() and not module.__name__.startswith(USER_MODULE) and _is_local(path):
            digest_of_file(path, _as_imported(module, path.read_bytes()))


def _source_text(value: Any) -> bytes:
    """The source of a function or class that runs, not that of its file by now; raises OSError where there is none."""
    module, path = sys.modules.get(value.__module__), Path(inspect.getfile(value))
    if module is None or not path.is_file():
        return inspect.getsource(value).encode()
    now = path.read_bytes()
    seen = _as_imported(module, now) if getattr(module, "__file__", None) == inspect.getfile(value) else now
    if inspect.isfunction(value):
        lines = seen.decode(errors="replace").splitlines(keepends=True)
        return "".join(inspect.getblock(lines[value.__code__.co_firstlineno - 1 :])).encode()
    if seen != now:
        raise OSError(f"{path} has changed")
    return inspect.getsource(value).encode()


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
        parts[name] = _source_text(value)
    except (OSError, TypeError, IndexError, SyntaxError):  # typed at a prompt
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
        constant = _constant(value)
        if constant is not None:
            parts[f"{code.co_name}: {name}"] = constant
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


def _constant(value: Any) -> bytes | None:
    """The content of a plain value, an array, or a container of such; None for anything else."""
    if isinstance(value, _PLAIN):
        return repr(value).encode()
    if isinstance(value, list | tuple | dict | set | frozenset):
        items = [_constant(item) for item in (value.items() if isinstance(value, dict) else value)]
        if isinstance(value, set | frozenset):
            items.sort(key=repr)
        return None if None in items else type(value).__name__.encode() + repr(items).encode()
    if hasattr(type(value), "detach") and hasattr(type(value), "cpu"):  # a tensor; the module torch has both, too
        value = value.detach().cpu()
        return f"{value.dtype} {value.tolist()!r}".encode()
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return f"{value.dtype} {value.shape} ".encode() + bytes(value.tobytes())
    return None
