"""Gradient searches on supernets: DARTS and what followed it."""

from prejudge.search.gradient import darts
from prejudge.search.gradient.method import Setup, Stage, gradient_method, register
from prejudge.search.gradient.running import search_gradient, search_result

__all__ = ["Setup", "Stage", "darts", "gradient_method", "register", "search_gradient", "search_result"]
