"""The built-in query-based methods; each module registers its own."""

from prejudge.search.methods import random_search

__all__ = ["random_search"]
