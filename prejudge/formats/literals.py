"""Plain values written as JSON or as Python, NumPy's included; text is parsed and never evaluated."""

from __future__ import annotations

import ast
from typing import Any

from prejudge.errors import quoted
from prejudge.formats.text import parse_json, parse_literal

_WRAPPERS = {"array", "list", "tuple", "int", "int8", "int32", "int64", "intp", "uint8", "str_"}
"""The words that Python code and NumPy print around a value."""

_LONGEST, _SHOWN = 1_000_000, 100


def read_value(text: str) -> Any:
    """The value of a JSON document, or of a Python literal.

    Raises:
        ValueError: It is neither; the message is a sentence for the user.
    """
    try:
        return parse_json(text)
    except ValueError:
        return value_of(syntax(text))


def syntax(text: str) -> ast.expr:
    """The syntax of a Python expression; raises ``ValueError`` for any other text, and for one of over a megabyte."""
    if len(text) > _LONGEST:  # a tree takes a hundred times the memory of its text
        raise ValueError(
            f"{brief(text[:_SHOWN])} has {len(text):,} characters; at most {_LONGEST:,} are read as Python"
        )
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{brief(text)} is neither JSON nor a Python literal") from None


def value_of(node: ast.expr) -> Any:
    """The value of a literal; ``range(2, 6)``, ``np.int64(2)`` and ``array([2, 3], dtype=int64)`` are literals here.

    Raises:
        ValueError: It is none; the message names the part.
    """
    if isinstance(node, ast.Tuple):
        return tuple([value_of(item) for item in node.elts])
    if isinstance(node, ast.List):
        return [value_of(item) for item in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [value_of(key) for key in node.keys if key is not None]
        try:
            return dict(zip(keys, map(value_of, node.values), strict=True))
        except TypeError:
            raise ValueError(f"a list cannot be a key, as in {_source(node)}") from None
    if isinstance(node, ast.Call) and all(keyword.arg == "dtype" for keyword in node.keywords):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        arguments = [value_of(argument) for argument in node.args]
        if name == "range" and len(arguments) in (1, 2) and all(type(a) is int for a in arguments):
            return range(*arguments)
        if name in _WRAPPERS and len(arguments) == 1:
            return arguments[0]
    try:
        return parse_literal(node)
    except ValueError:
        raise ValueError(f"{_source(node)} is not a literal") from None


def brief(value: Any) -> str:
    """A value on one short line, in quotes, for messages."""
    text = " ".join((value if isinstance(value, str) else quoted(value)).split())
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _source(node: ast.expr) -> str:
    try:
        return brief(ast.unparse(node))
    except (ValueError, RecursionError):
        return "a part of the text"
