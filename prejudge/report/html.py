"""From a page's blocks to one HTML file that needs nothing else: no network, no fonts, no server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from prejudge.report.blocks import Charts, ReportPage

LIMIT = 2_000_000
"""Bytes of a whole page."""


def render_html(page: ReportPage) -> str:
    """Render a page.

    Everything but the charts is plain HTML and readable without JavaScript; a script draws the charts, sorts tables and
    shows the chosen variants. A content security policy forbids the page every request and every script but its own.

    Args:
        page: The page; all its texts are escaped.

    Returns:
        The same text for the same page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prejudge.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["block"] = lambda value, name: type(value).__name__ == name
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
    return template.render(content | {"payload": script_json(_payload(page, charts, budget))})


def script_json(content: object) -> str:
    """JSON that may stand inside a ``<script>`` element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _payload(page: ReportPage, charts: list[Charts], budget: int) -> Mapping[str, Any]:
    return {
        "chosen": list(page.chosen),
        **{chart.kind: chart.content(budget // len(charts)) for chart in charts},
    }


def _source(environment: Any, name: str) -> str:
    return str(environment.loader.get_source(environment, name)[0])
