"""Gradient searches on supernets: DARTS and what followed it."""

from prejudge.search.gradient import darts, darts_pt, ista, ista_onestage, sdarts, stacnas
from prejudge.search.gradient.method import Setup, Stage, gradient_method, register
from prejudge.search.gradient.running import search_gradient, search_result
from prejudge.search.gradient.seeds import SeedRun, search_seeds

__all__ = [
    "SeedRun",
    "Setup",
    "Stage",
    "darts",
    "darts_pt",
    "gradient_method",
    "ista",
    "ista_onestage",
    "register",
    "sdarts",
    "search_gradient",
    "search_result",
    "search_seeds",
    "stacnas",
]
