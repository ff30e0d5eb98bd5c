"""Reading numbers, JSON, literals and paths from people and files, with one exception for whatever is wrong."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

_MOST_DIGITS = 18


def whole_number(text: str) -> int | None:
    """The number that a text of decimal digits writes; None for any other text, or for more than 18 digits."""
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def parse_json(text: str | bytes) -> Any:
    """``json.loads`` whose only exception is ``ValueError``: no text nests too deeply for another one."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def parse_literal(text: str | ast.expr) -> Any:
    """``ast.literal_eval`` whose only exception is ``ValueError``, also for an integer that Python does not print."""
    try:
        value = ast.literal_eval(text)
        repr(value)
        return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a literal of Python: {type(error).__name__}") from None


def is_file(path: str | Path) -> bool:
    """Whether the file exists; a name that is too long, or is not a name at all, has none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def user_path(text: str) -> Path:
    """A path in which ``~`` and ``~NAME`` are home folders, where there are such."""
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):
        return Path(text)
