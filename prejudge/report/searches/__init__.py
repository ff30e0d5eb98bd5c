"""The report on searches: which method found what, at which cost, and which differences are certain."""

from prejudge.report.searches.data import SearchReportData
from prejudge.report.searches.page import search_page

__all__ = ["SearchReportData", "search_page"]
