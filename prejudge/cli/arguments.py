"""Arguments that are lists or ``NAME=VALUE`` pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from prejudge.errors import InputError, quoted
from prejudge.formats.text import parse_literal

if TYPE_CHECKING:
    from cyclopts import App, ArgumentCollection

_MOST_DIGITS = 18


def split_list(text: str) -> list[str]:
    """Split at commas, except inside brackets: ``"a,zen(images=32, scale=1)"`` has two items."""
    items, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            items.append(text[start:place])
            start = place + 1
    return [item.strip() for item in (*items, text[start:]) if item.strip()]


def pairs(texts: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` items; a value is a number, True, False, or text.

    Raises:
        InputError: An item has another form.
    """
    found = {}
    for item in (i for text in texts for i in split_list(text)):
        name, equals, value = item.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(f"cannot read {quoted(item)}; write NAME=VALUE")
        found[name.strip().replace("-", "_")] = _literal(value.strip())
    return found


def _literal(text: str) -> Any:
    try:
        return parse_literal(text)
    except ValueError:
        return text


def check_values(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse what is no integer for an option that is one, no finite number for a number, and nothing for a place.

    Called by the parser, which would round 2.6 and take an empty path for the current folder, before it converts words
    of the command line and values of a recipe.
    """
    for argument in arguments:
        kinds = {argument.hint, *get_args(argument.hint)}
        for token in argument.tokens:
            if int in kinds and str not in kinds and not _is_integer(token.value):
                raise InputError(f"{argument.name} must be an integer, not {quoted(token.value)}")
            if float in kinds and str not in kinds and token.value.strip("+- ").lower() in ("nan", "inf", "infinity"):
                raise InputError(f"{argument.name} must be a finite number, not {quoted(token.value)}")
            if Path in kinds and not token.value:
                raise InputError(f"{argument.name} is empty; name a file or a folder")


def _is_integer(text: str) -> bool:
    digits = text[1:] if text[:1] in ("+", "-") else text
    return digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
