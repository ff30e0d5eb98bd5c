"""Formulas as MathML, made while the manual is built: pages need neither a script nor the network to show them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    """Replace what the extension ``pymdownx.arithmatex`` marked; called by MkDocs for every page."""
    return _FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    tag, kind, formula = found.groups()
    display = "block" if kind == "[" else "inline"
    return f'<{tag} class="formula">{convert(unescape(formula), display=display)}</{tag}>'
