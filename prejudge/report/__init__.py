"""Reports: plain values in; one self-contained HTML page, CSV, Markdown or LaTeX out."""

from prejudge.report.data import ReportData

__all__ = ["ReportData"]
