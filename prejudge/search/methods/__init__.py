"""The built-in query-based methods; each module registers its own."""

from prejudge.search.methods import bohb, evolution, local_search, random_search, reinforce, successive_halving

__all__ = ["bohb", "evolution", "local_search", "random_search", "reinforce", "successive_halving"]
