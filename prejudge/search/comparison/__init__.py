"""Comparing searches: what was comparable, how good each was at every budget, and which differences are certain."""

from prejudge.search.comparison.grouping import ComparedSearch, Comparison, group_searches
from prejudge.search.comparison.incumbents import Incumbents
from prejudge.search.comparison.report import compare
from prejudge.search.comparison.significance import holm, paired

__all__ = ["ComparedSearch", "Comparison", "Incumbents", "compare", "group_searches", "holm", "paired"]
