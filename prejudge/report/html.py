"""The correlation report as one HTML file."""

from __future__ import annotations

from prejudge.report.columns import columns
from prejudge.report.data import ReportData
from prejudge.report.rendering import render
from prejudge.report.view import axis_low, costs, facts, failures, matrix, panels, payload

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
    tables = panels(data)
    content = {
        "data": data,
        "columns": columns(data),
        "panel": tables[0] if tables else None,
        "facts": facts(tables[0]) if tables else [],
        "axis_low": axis_low(tables),
        "matrix": matrix(data),
        "costs": costs(data),
        "failures": failures(data),
        "architectures": len(data.scores),
        "connected": None if data.connected is None else int(data.connected.sum()),
    }
    return render("report", content, lambda budget: payload(data, tables, min(_POINTS_BUDGET, budget)))
