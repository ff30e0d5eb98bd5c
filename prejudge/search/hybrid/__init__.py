"""HNAS, the hybrid of training-free scores and Bayesian optimisation; importing it registers the method ``hnas``."""

from prejudge.search.hybrid.method import hnas, select
from prejudge.search.hybrid.optimiser import Optimiser, probes
from prejudge.search.hybrid.pool import FixedPool, GrowingPool
from prejudge.search.hybrid.ranking import Candidates, Ranking
from prejudge.search.hybrid.scores import METRICS, draw_pool, read_candidates, score_pool
from prejudge.search.hybrid.settings import SETTINGS, Setting

__all__ = [
    "METRICS",
    "SETTINGS",
    "Candidates",
    "FixedPool",
    "GrowingPool",
    "Optimiser",
    "Ranking",
    "Setting",
    "draw_pool",
    "hnas",
    "probes",
    "read_candidates",
    "score_pool",
    "select",
]
