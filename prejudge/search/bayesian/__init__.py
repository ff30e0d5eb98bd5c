"""HNAS: training-free scores combined with Bayesian optimization; importing it registers the method ``hnas``."""

from prejudge.search.bayesian.hnas import hnas, select
from prejudge.search.bayesian.optimizer import BayesianOptimizer, probes
from prejudge.search.bayesian.pool import FixedPool, GrowingPool
from prejudge.search.bayesian.ranking import CandidateRanking, Candidates
from prejudge.search.bayesian.scores import METRICS, draw_pool, read_candidates, score_pool
from prejudge.search.bayesian.settings import SETTINGS, Setting

__all__ = [
    "METRICS",
    "SETTINGS",
    "BayesianOptimizer",
    "CandidateRanking",
    "Candidates",
    "FixedPool",
    "GrowingPool",
    "Setting",
    "draw_pool",
    "hnas",
    "probes",
    "read_candidates",
    "score_pool",
    "select",
]
