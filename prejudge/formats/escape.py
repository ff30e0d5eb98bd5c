"""Texts from elsewhere, written so that the target shows them and does nothing else: one function for each target.

Names of architectures, columns, proxies and files may hold anything. Terminals and messages have
:func:`prejudge.errors.visible`, web pages Jinja's escapes besides.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from unicodedata import category

from prejudge.errors import visible

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"[\s\ufeff\u200b-\u200f\u2060]*[=+\-@＝＋－＠]|[\t\r\n]")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}",
    "ρ": r"$\rho$", "τ": r"$\tau$", "−": r"$-$", "±": r"$\pm$", "–": "--", "µ": r"$\mu$", "·": r"$\cdot$",
    "×": r"$\times$", "…": r"\ldots{}",
}  # fmt: skip
_MARKDOWN = re.compile(r"[\\`*_|<>~$&]|\](?=[(\[:])|:(?=//)|(?<=www)\.|(?<=[\w.+-])@(?=[\w-]+\.)", re.IGNORECASE)
"""Brackets only where they would make a link; colons, dots and @ only where they would make an address one."""


def markdown_text(text: str) -> str:
    """A text on one line of Markdown, also in a cell of a table: no markup, no link, no HTML."""
    return _MARKDOWN.sub(r"\\\g<0>", visible(" ".join(text.split())))


def latex_text(text: str) -> str:
    """A text on one line of LaTeX: no command, no formula, no comment."""
    text = visible(" ".join(text.split()))
    start = "{}" if text.startswith(("[", "*")) else ""  # else an argument of the line break before it
    return start + "".join(_LATEX.get(character, character) for character in text)


def spreadsheet_text(text: str) -> str:
    """A text for a cell of a CSV file: one that a spreadsheet would take for a formula gets a ``'`` in front.

    Control characters, which could also begin another row, and lone surrogates, which no file can hold, are visible.
    """
    safe = f"'{text}" if _FORMULA.match(text) else text
    return safe if safe.isprintable() else "".join(visible(c) if category(c) in ("Cc", "Cs") else c for c in safe)


def csv_text(frame: pd.DataFrame) -> str:
    """A frame without its index as CSV, each text of it by :func:`spreadsheet_text`; numbers in full precision."""
    from pandas.api.types import is_numeric_dtype

    safe = frame.set_axis([_cell(name) for name in frame.columns], axis=1)
    for place in range(len(safe.columns)):
        if not is_numeric_dtype(safe.dtypes.iloc[place]):
            safe.isetitem(place, safe.iloc[:, place].map(_cell))  # type: ignore[arg-type]
    return safe.to_csv(index=False, lineterminator="\n")


def json_text(value: Any, **options: Any) -> str:
    r"""Plain values as JSON that a terminal may show and any file can hold.

    What cannot be seen, and lone surrogates, are written as ``\uXXXX``, which reads as the same text.

    Args:
        value: Plain values.
        options: For :func:`json.dumps`.

    Raises:
        ValueError: An integer is too large to print, or, with ``allow_nan=False``, a number is none of JSON.
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(c if c == "\n" or visible(c) == c else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]


def _cell(value: Any) -> Any:
    return spreadsheet_text(value) if isinstance(value, str) else value
