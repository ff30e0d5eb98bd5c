"""Searches: which architecture should one take?"""

from prejudge.search import bayesian, pruning, query, supernet
from prejudge.search.budget import Budget, BudgetSpent
from prejudge.search.objectives.base import Evaluation, MappingObjective, Objective
from prejudge.search.protocol import Query, Questions, SearchContext, SearchEvent, SearchStep, Work
from prejudge.search.registry import SearchMethod, search_method
from prejudge.search.result import SearchResult, Trajectory, read_result, write_result
from prejudge.search.running import run

__all__ = [
    "Budget",
    "BudgetSpent",
    "Evaluation",
    "MappingObjective",
    "Objective",
    "Query",
    "Questions",
    "SearchContext",
    "SearchEvent",
    "SearchMethod",
    "SearchResult",
    "SearchStep",
    "Trajectory",
    "Work",
    "bayesian",
    "pruning",
    "query",
    "read_result",
    "run",
    "search_method",
    "supernet",
    "write_result",
]
