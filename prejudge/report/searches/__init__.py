"""The comparison of searches: plain values in; one self-contained HTML page, CSV, Markdown or LaTeX out."""

from prejudge.report.searches.data import SearchReportData
from prejudge.report.searches.html import to_html
from prejudge.report.searches.tables import to_csv, to_latex, to_markdown

__all__ = ["SearchReportData", "to_csv", "to_html", "to_latex", "to_markdown"]
