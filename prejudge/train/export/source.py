"""Source text of a class with all that it needs, collected from the modules that define it."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType

PACKAGE = "prejudge"
_IGNORED = re.compile(r"  # (?:type: ignore|noqa).*$", re.MULTILINE)


class SourceCollector:
    """Collects definitions and imports in an order in which they can be run.

    What a definition uses of the modules of prejudge is collected before it; what it uses of others is imported.

    Args:
        replaced: Names that are not followed, because the file defines them in another way.

    Attributes:
        definitions: The source of each definition; a statement that defines several names is there once.
        imports: Import statements for everything that is not of prejudge.
        attributes: Every attribute name that the definitions read.
        used: The replaced names that the definitions use.
    """

    def __init__(self, replaced: Iterable[str]) -> None:
        self._replaced = frozenset(replaced)
        self._seen: dict[str, str] = {}
        self.definitions: list[str] = []
        self.imports: set[str] = set()
        self.attributes: set[str] = set()
        self.used: set[str] = set()

    def add(self, name: str, module: ModuleType) -> None:
        """Collect what a module calls ``name``, and before it what that uses.

        Raises:
            ValueError: Two modules define different things of this name.
        """
        if name in self._replaced:
            self.used.add(name)
            return
        if name in self._seen:
            if self._seen[name] != module.__name__ and name in _definitions(module):
                raise ValueError(f"{name} is defined in {self._seen[name]} and in {module.__name__}")
            return
        statement = _definitions(module).get(name)
        if statement is not None:
            self._seen[name] = module.__name__
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and not hasattr(builtins, node.id):
                    self.add(node.id, module)
                elif isinstance(node, ast.Attribute):
                    self.attributes.add(node.attr)
            if (text := _text(statement, module)) not in self.definitions:
                self.definitions.append(text)
        elif (origin := _imports(module).get(name)) is not None:
            path, member = origin
            if member is not None and path.partition(".")[0] == PACKAGE:
                self.add(member, sys.modules[path])
            else:
                self.imports.add(f"import {path}" if member is None else f"from {path} import {member}")


def import_lines(imports: Iterable[str]) -> list[str]:
    """Import statements in the usual order, with one line for each module of torch and of the standard library."""
    plain = sorted(line for line in imports if line.startswith("import "))
    members: dict[str, list[str]] = {}
    for line in sorted(set(imports) - set(plain)):
        path, member = line.removeprefix("from ").split(" import ")
        members.setdefault(path, []).append(member)
    lines = plain + [f"from {path} import {', '.join(names)}" for path, names in sorted(members.items())]
    standard = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    return [*standard, *([""] if standard else []), *(line for line in lines if line not in standard)]


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


@cache
def _definitions(module: ModuleType) -> Mapping[str, ast.stmt]:
    """The statements at the top of a module that define something, by name."""
    found: dict[str, ast.stmt] = {}
    for statement in _tree(module).body:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found[name] = statement
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
                found |= {node.id: statement for node in ast.walk(target) if isinstance(node, ast.Name)}
    return found


@cache
def _imports(module: ModuleType) -> Mapping[str, tuple[str, str | None]]:
    """The imports at the top of a module, those for type checkers too: path and member by name."""
    found: dict[str, tuple[str, str | None]] = {}
    for statement in _tree(module).body:
        for node in statement.body if isinstance(statement, ast.If) else [statement]:
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.name: (alias.name, None) for alias in node.names}
    return found


def _text(statement: ast.stmt, module: ModuleType) -> str:
    """The lines of a definition, with its decorators and the comment right above it."""
    lines = inspect.getsource(module).splitlines()
    decorators = getattr(statement, "decorator_list", [])
    first, last = min([statement.lineno, *(d.lineno for d in decorators)]) - 1, statement.end_lineno
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return _IGNORED.sub("", "\n".join(lines[first:last]))
