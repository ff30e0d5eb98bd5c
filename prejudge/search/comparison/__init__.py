"""Comparing searches: what was comparable, how good each was at every budget, and which differences are certain."""

from prejudge.search.comparison.comparisons import ComparedSearch, Comparison, contests
from prejudge.search.comparison.progress import Progress
from prejudge.search.comparison.report import compare
from prejudge.search.comparison.significance import holm, paired

__all__ = ["ComparedSearch", "Comparison", "Progress", "compare", "contests", "holm", "paired"]
