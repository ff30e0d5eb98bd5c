"""The built-in query-based methods; each module registers its own."""

from prejudge.search.query import bohb, evolution, local_search, reinforce, successive_halving
from prejudge.search.query import random as random_search

__all__ = ["bohb", "evolution", "local_search", "random_search", "reinforce", "successive_halving"]
