"""The report as one HTML file that needs nothing else: no network, no fonts, no server."""

from __future__ import annotations

import base64
import hashlib

from prejudge.report.columns import columns
from prejudge.report.data import ReportData
from prejudge.report.view import axis_low, costs, facts, failures, matrix, panels, payload, script_json

LIMIT = 2_000_000  # bytes of the whole page
_POINTS_BUDGET = 1_300_000


def to_html(data: ReportData) -> str:
    """The report as the text of a self-contained web page.

    The correlation table of the first metric and stratum is plain HTML and readable without JavaScript, as are matrix,
    costs, failures, protocol and provenance; a script adds sorting, the other tables and the scatter plots. A content
    security policy forbids the page every request and every script but its own.

    Args:
        data: The report's content.

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
    assert environment.loader is not None
    style, script = (environment.loader.get_source(environment, f"report.{kind}")[0] for kind in ("css", "js"))
    tables = panels(data)
    content = {
        "data": data,
        "style": style,
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "columns": columns(data),
        "panel": tables[0] if tables else None,
        "facts": facts(tables[0]) if tables else [],
        "axis_low": axis_low(tables),
        "matrix": matrix(data),
        "costs": costs(data),
        "failures": failures(data),
        "architectures": len(data.scores),
        "connected": None if data.connected is None else int(data.connected.sum()),
        "payload": "",
    }
    template = environment.get_template("report.html.jinja")
    spent = len(template.render(content).encode())
    content["payload"] = script_json(payload(data, tables, min(_POINTS_BUDGET, LIMIT - spent)))
    return template.render(content)
