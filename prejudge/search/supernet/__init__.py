"""Gradient-based searches on supernets: DARTS and the methods that followed it."""

import prejudge.search.supernet.darts.method
import prejudge.search.supernet.darts_pt.method
import prejudge.search.supernet.ista.one_stage
import prejudge.search.supernet.ista.two_stage
import prejudge.search.supernet.sdarts.method
import prejudge.search.supernet.stacnas.method  # noqa: F401
from prejudge.search.supernet.registry import Setup, Stage, gradient_method, register
from prejudge.search.supernet.running import search_gradient, search_result
from prejudge.search.supernet.seeds import SeedRun, search_seeds

__all__ = [
    "SeedRun",
    "Setup",
    "Stage",
    "gradient_method",
    "register",
    "search_gradient",
    "search_result",
    "search_seeds",
]
