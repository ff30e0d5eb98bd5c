"""The comparison of searches as one HTML file."""

from __future__ import annotations

from prejudge.report.rendering import render
from prejudge.report.searches.columns import final_tables
from prejudge.report.searches.data import SearchReportData
from prejudge.report.searches.view import facts, matrices, payload


def to_html(data: SearchReportData) -> str:
    """The comparison as the text of a self-contained web page.

    The final tables, the tests, protocol and provenance are plain HTML and readable without JavaScript; a script draws
    the curves. A content security policy forbids the page every request and every script but its own.

    Args:
        data: The comparison's content.

    Returns:
        The page; the same for the same content.
    """
    content = {
        "data": data,
        "facts": facts(data),
        "tables": final_tables(data),
        "matrices": matrices(data),
        "runs": int(data.final.drop_duplicates(["searched", "method"])["runs"].sum()),
        "has_curves": bool(len(data.curves)),
    }
    return render("searches", content, lambda budget: payload(data, budget), ("lines",))
