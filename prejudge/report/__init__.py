"""Reports: plain values in; one self-contained HTML page, CSV, Markdown or LaTeX out."""

from prejudge.report.blocks import ReportPage
from prejudge.report.correlation import ReportData, correlation_page
from prejudge.report.searches import SearchReportData, search_page
from prejudge.report.training import TrainingReportData, training_page
from prejudge.report.write import FORMATS, compose, to_csv, to_html, to_latex, to_markdown, write_report

__all__ = [
    "FORMATS",
    "ReportData",
    "ReportPage",
    "SearchReportData",
    "TrainingReportData",
    "compose",
    "correlation_page",
    "search_page",
    "to_csv",
    "to_html",
    "to_latex",
    "to_markdown",
    "training_page",
    "write_report",
]
