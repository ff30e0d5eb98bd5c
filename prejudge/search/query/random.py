"""Random search: the baseline that every search has to beat."""

from __future__ import annotations

from itertools import count

from prejudge.search.protocol import Questions, SearchContext
from prejudge.search.registry import search_method


@search_method("random", reference="Dong & Yang, ICLR 2020 (arXiv:2001.00326)")
def random_search(search: SearchContext) -> Questions:
    """Evaluate random architectures until the budget is spent."""
    yield (search.space.sample(search.rng) for _ in count())
    return None
