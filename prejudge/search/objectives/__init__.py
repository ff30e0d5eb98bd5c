"""Objectives: what searches maximize, and what asking costs."""

from prejudge.search.objectives.base import Evaluation, MappingObjective, Objective
from prejudge.search.objectives.proxy import ProxyObjective
from prejudge.search.objectives.table import TableObjective, open_objective
from prejudge.search.objectives.training import HNAS_TRAINING, TrainingObjective

__all__ = [
    "HNAS_TRAINING",
    "Evaluation",
    "MappingObjective",
    "Objective",
    "ProxyObjective",
    "TableObjective",
    "TrainingObjective",
    "open_objective",
]
