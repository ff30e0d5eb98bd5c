"""Every format of every report, as text and as a file that is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prejudge.errors import InputError, unknown
from prejudge.formats.atomic import write_atomically
from prejudge.report.blocks import ReportPage
from prejudge.report.correlation import ReportData, correlation_page
from prejudge.report.html import render_html
from prejudge.report.searches import SearchReportData, search_page
from prejudge.report.training import TrainingReportData, training_page
from prejudge.report.typesetting import render_csv, render_latex, render_markdown

Report = ReportData | SearchReportData | TrainingReportData | ReportPage
"""The content of a report on scores, on searches or on trainings; or a page that was composed already."""


def compose(report: Report) -> ReportPage:
    """Compose the page of a report: :func:`correlation_page`, :func:`search_page` or :func:`training_page`."""
    if isinstance(report, ReportData):
        return correlation_page(report)
    if isinstance(report, SearchReportData):
        return search_page(report)
    return training_page(report) if isinstance(report, TrainingReportData) else report


def to_html(report: Report) -> str:
    """The report as the text of one self-contained web page; the same for the same content."""
    return render_html(compose(report))


def to_csv(report: Report) -> str:
    """The numbers of the report in full precision, as CSV with a header; a missing number is an empty field."""
    return render_csv(compose(report))


def to_markdown(report: Report) -> str:
    """The tables of the report as Markdown."""
    return render_markdown(compose(report))


def to_latex(report: Report) -> str:
    r"""The tables of the report as LaTeX that needs ``\usepackage{booktabs}`` and nothing else."""
    return render_latex(compose(report))


FORMATS: dict[str, Callable[[Report], str]] = {
    "html": to_html,
    "csv": to_csv,
    "md": to_markdown,
    "latex": to_latex,
}
_SUFFIXES = {".html": "html", ".htm": "html", ".csv": "csv", ".md": "md", ".markdown": "md", ".tex": "latex"}


def write_report(report: Report, path: str | os.PathLike[str], format: str | None = None) -> Path:
    """Write a report in any of its formats.

    Args:
        report: The content of a report.
        path: The file to write; its folder must exist.
        format: ``html``, ``csv``, ``md`` or ``latex`` (``tex`` is the same); None takes it from the file's ending.

    Returns:
        The path written.

    Raises:
        InputError: An unknown format, the folder does not exist, or ``path`` is a folder.
        PrejudgeError: The file cannot be written.
    """
    path = Path(path)
    chosen = (
        _SUFFIXES.get(path.suffix.lower()) if format is None else {"tex": "latex", "markdown": "md"}.get(format, format)
    )
    if chosen is None:
        raise InputError(
            f"cannot tell the format from {path.name!r}; end it in .html, .csv, .md or .tex, or name a format"
        )
    if chosen not in FORMATS:
        raise unknown("report format", chosen, FORMATS)
    write_atomically(path, FORMATS[chosen](report).encode())
    return path
