"""Searches: which architecture should one take?"""

from prejudge.search import bayesian, pruning, query, supernet
from prejudge.search.asking import AskedQuestion, AskTell, ask_tell
from prejudge.search.budget import Budget, BudgetSpent
from prejudge.search.objectives import (
    Evaluation,
    MappingObjective,
    Objective,
    ProxyObjective,
    TableObjective,
    TrainingObjective,
)
from prejudge.search.protocol import Query, Questions, SearchContext, SearchEvent, SearchStep, Work
from prejudge.search.registry import SearchMethod, search_method
from prejudge.search.result import SearchResult, Trajectory
from prejudge.search.result_file import read_result, write_result
from prejudge.search.running import run

__all__ = [
    "AskTell",
    "AskedQuestion",
    "Budget",
    "BudgetSpent",
    "Evaluation",
    "MappingObjective",
    "Objective",
    "ProxyObjective",
    "Query",
    "Questions",
    "SearchContext",
    "SearchEvent",
    "SearchMethod",
    "SearchResult",
    "SearchStep",
    "TableObjective",
    "TrainingObjective",
    "Trajectory",
    "Work",
    "ask_tell",
    "bayesian",
    "pruning",
    "query",
    "read_result",
    "run",
    "search_method",
    "supernet",
    "write_result",
]
