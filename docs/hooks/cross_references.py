"""References of docstrings (``:class:`~prejudge.spaces.Space```) as plain code in the pages of the Python interface."""

from __future__ import annotations

import re
from typing import Any

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>(~?)([\w.]+)</code>")


def on_page_content(html: str, **_: Any) -> str:
    """Write the last part of a name with a tilde, and the whole of any other; called by MkDocs for every page."""
    return _ROLE.sub(lambda role: f"<code>{role[2].rpartition('.')[2] if role[1] else role[2]}</code>", html)
