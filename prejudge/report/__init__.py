"""Reports: plain values in; one self-contained HTML page, CSV, Markdown or LaTeX out."""

from prejudge.report.data import ReportData
from prejudge.report.html import to_html
from prejudge.report.searches import SearchReportData
from prejudge.report.tables import to_csv, to_latex, to_markdown
from prejudge.report.training import TrainingReportData
from prejudge.report.write import FORMATS, write_html, write_report

__all__ = [
    "FORMATS",
    "ReportData",
    "SearchReportData",
    "TrainingReportData",
    "to_csv",
    "to_html",
    "to_latex",
    "to_markdown",
    "write_html",
    "write_report",
]
