"""The report on scores: how well each predicts trained accuracies."""

from prejudge.report.correlation.data import ReportData
from prejudge.report.correlation.page import correlation_page

__all__ = ["ReportData", "correlation_page"]
