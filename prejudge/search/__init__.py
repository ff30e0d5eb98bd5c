"""Searches: which architecture should one take?"""

from prejudge.search import bayesian as hybrid
from prejudge.search import query as methods
from prejudge.search.objectives.base import Evaluation, MappingObjective, Objective
from prejudge.search.registry import search_method
from prejudge.search.result import SearchResult, Trajectory, read_result, write_result
from prejudge.search.run import Budget, BudgetSpent, Run
from prejudge.search.running import run_search

__all__ = [
    "Budget",
    "BudgetSpent",
    "Evaluation",
    "MappingObjective",
    "Objective",
    "Run",
    "SearchResult",
    "Trajectory",
    "hybrid",
    "methods",
    "read_result",
    "run_search",
    "search_method",
    "write_result",
]
