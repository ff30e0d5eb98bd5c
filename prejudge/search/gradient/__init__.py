"""Gradient searches on supernets: DARTS and what followed it."""

from prejudge.search.gradient import darts, darts_pt, ista, ista_onestage, sdarts, stacnas
from prejudge.search.gradient.method import Setup, Stage, gradient_method, register
from prejudge.search.gradient.running import search_gradient, search_result

__all__ = [
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
    "stacnas",
]
