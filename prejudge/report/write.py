"""Write a report to a file, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prejudge.errors import InputError, unknown
from prejudge.formats.atomic import write_atomically
from prejudge.report import searches, training
from prejudge.report.data import ReportData
from prejudge.report.html import to_html
from prejudge.report.searches.data import SearchReportData
from prejudge.report.tables import to_csv, to_latex, to_markdown
from prejudge.report.training.data import TrainingReportData

FORMATS: dict[str, Callable[[ReportData], str]] = {
    "html": to_html,
    "csv": to_csv,
    "md": to_markdown,
    "latex": to_latex,
}
SEARCH_FORMATS: dict[str, Callable[[SearchReportData], str]] = {
    "html": searches.to_html,
    "csv": searches.to_csv,
    "md": searches.to_markdown,
    "latex": searches.to_latex,
}
TRAINING_FORMATS: dict[str, Callable[[TrainingReportData], str]] = {
    "html": training.to_html,
    "csv": training.to_csv,
    "md": training.to_markdown,
    "latex": training.to_latex,
}
_SUFFIXES = {".html": "html", ".htm": "html", ".csv": "csv", ".md": "md", ".markdown": "md", ".tex": "latex"}


def write_html(data: ReportData, path: str | os.PathLike[str]) -> Path:
    """Write the report as one self-contained HTML page.

    Args:
        data: The report's content.
        path: The file to write; its folder must exist. An older file is replaced only once the new one is complete.

    Returns:
        The path written.

    Raises:
        InputError: The folder does not exist, or ``path`` is a folder.
        PrejudgeError: The file cannot be written.
    """
    return _replace(Path(path), to_html(data))


def write_report(
    data: ReportData | SearchReportData | TrainingReportData, path: str | os.PathLike[str], format: str | None = None
) -> Path:
    """Write a report in any of its formats.

    Args:
        data: The content of a correlation report, of a comparison of searches, or of a report on trainings.
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
    if isinstance(data, ReportData):
        return _replace(path, FORMATS[chosen](data))
    if isinstance(data, SearchReportData):
        return _replace(path, SEARCH_FORMATS[chosen](data))
    return _replace(path, TRAINING_FORMATS[chosen](data))


def _replace(path: Path, text: str) -> Path:
    write_atomically(path, text.encode())
    return path
