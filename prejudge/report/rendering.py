"""From a template, a style and scripts to one HTML file that needs nothing else: no network, no fonts, no server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LIMIT = 2_000_000  # bytes of a whole page


def render(name: str, content: Mapping[str, Any], payload: Callable[[int], Any], parts: Sequence[str] = ()) -> str:
    """Render a page; a content security policy forbids it every request and every script but its own.

    Args:
        name: Of the page: ``{name}.html.jinja``, and ``{name}.js`` and ``{name}.css`` where they exist, which
            complete ``base.js`` and ``base.css``.
        content: What the template shows; all texts are escaped.
        payload: What the page's script reads, given the most bytes that it may take as JSON.
        parts: Scripts and styles that several pages share, between those of all pages and this page's own.

    Returns:
        The page; the same for the same content.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prejudge.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (_source(environment, ("base", *parts, name), kind) for kind in ("js", "css"))
    frame = {
        "style": style,
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "payload": "",
    }
    template = environment.get_template(f"{name}.html.jinja")
    spent = len(template.render({**content, **frame}).encode())
    frame["payload"] = script_json(payload(LIMIT - spent))
    return template.render({**content, **frame})


def script_json(content: object) -> str:
    """JSON that may stand inside a ``<script>`` element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _source(environment: Any, names: Sequence[str], kind: str) -> str:
    known = set(environment.list_templates())
    return "".join(
        environment.loader.get_source(environment, file)[0]
        for file in (f"{name}.{kind}" for name in names)
        if file in known
    )
