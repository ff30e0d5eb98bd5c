"""Gradient searches on supernets: DARTS and what followed it."""

from prejudge.search.supernet.darts import method as darts
from prejudge.search.supernet.darts_pt import method as darts_pt
from prejudge.search.supernet.ista import one_stage as ista_onestage
from prejudge.search.supernet.ista import two_stage as ista
from prejudge.search.supernet.registry import Setup, Stage, gradient_method, register
from prejudge.search.supernet.running import search_gradient, search_result
from prejudge.search.supernet.sdarts import method as sdarts
from prejudge.search.supernet.seeds import SeedRun, search_seeds
from prejudge.search.supernet.stacnas import method as stacnas

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
