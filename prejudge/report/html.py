"""From a page's blocks to one HTML file that needs nothing else: no network, no fonts, no server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from prejudge.errors import visible
from prejudge.report.blocks import Charts, ReportPage

LIMIT = 2_000_000
"""Bytes of a whole page."""


def render_html(page: ReportPage) -> str:
    """Render a page.

    Everything but the charts is plain HTML and readable without JavaScript; a script draws the charts, sorts tables and
    shows the chosen variants. A content security policy forbids the page every request and every script but its own.

    Args:
        page: The page; all its texts are escaped, and what cannot be seen of them is shown by escapes.

    Returns:
        The same text for the same page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prejudge.report", "page"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["block"] = lambda value, name: type(value).__name__ == name
    environment.filters["shown"] = _shown
    charts = [block for section in page.sections for block in section.blocks if isinstance(block, Charts)]
    script = "".join(_source(environment, f"{name}.js") for name in ("page", *(chart.kind for chart in charts)))
    content = {
        "page": page,
        "chosen": page.chosen,
        "style": _source(environment, "page.css"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "payload": "",
    }
    template = environment.get_template("page.html.jinja")
    budget = LIMIT - len(template.render(content).encode())
    return template.render(content | {"payload": script_json(_shown(_payload(page, charts, budget)))})


def script_json(content: object) -> str:
    """JSON that may stand inside a ``<script>`` element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _shown(value: Any) -> Any:
    """The same value, whose texts hide nothing; what is markup already stays as it is."""
    if type(value) is str:
        return visible(value, keep="\n\t")
    if isinstance(value, Mapping):
        return {_shown(key): _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def _payload(page: ReportPage, charts: list[Charts], budget: int) -> Mapping[str, Any]:
    return {
        "chosen": list(page.chosen),
        **{chart.kind: chart.content(budget // len(charts)) for chart in charts},
    }


def _source(environment: Any, name: str) -> str:
    return str(environment.loader.get_source(environment, name)[0])
