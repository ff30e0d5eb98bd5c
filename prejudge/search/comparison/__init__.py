"""Comparison of searches: the incumbents of each at every budget, and paired tests of their differences."""

from prejudge.search.comparison.comparisons import ComparedSearch, Comparison, group_results
from prejudge.search.comparison.incumbents import Incumbents
from prejudge.search.comparison.report import compare
from prejudge.search.comparison.significance import holm, paired

__all__ = ["ComparedSearch", "Comparison", "Incumbents", "compare", "group_results", "holm", "paired"]
