"""Arguments that are lists or ``NAME=VALUE`` pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prejudge.errors import InputError, quoted
from prejudge.formats.text import parse_literal


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
