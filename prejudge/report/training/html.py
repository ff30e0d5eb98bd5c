"""The report on trainings as one HTML file."""

from __future__ import annotations

from prejudge.report.rendering import render
from prejudge.report.training.columns import best_cells, summary_columns, summary_rows
from prejudge.report.training.data import TrainingReportData
from prejudge.report.training.view import confusion, facts, payload, picture


def to_html(data: TrainingReportData) -> str:
    """The report as the text of a self-contained web page.

    Summary, confusion matrices, cells, protocol and provenance are plain HTML and readable without JavaScript; a script
    draws the curves. A content security policy forbids the page every request and every script but its own.

    Args:
        data: The report's content.

    Returns:
        The page; the same for the same content.
    """
    content = {
        "data": data,
        "facts": facts(data),
        "columns": summary_columns(data),
        "rows": summary_rows(data),
        "best": best_cells(data),
        "confusions": [(t.name, found) for t in data.trainings if (found := confusion(t)) is not None],
        "pictures": _pictures(data),
    }
    return render("training", content, lambda budget: payload(data, budget), ("lines",))


def _pictures(data: TrainingReportData) -> list[tuple[str, str, str]]:
    """Names, texts and pictures of the architectures, each once."""
    names: dict[str, list[str]] = {}
    for training in data.trainings:
        names.setdefault(training.architecture, []).append(training.name)
    first = {training.architecture: training for training in reversed(data.trainings)}
    return [(", ".join(of), text, picture(first[text])) for text, of in names.items()]
