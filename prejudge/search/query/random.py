"""Random search: the baseline that every search has to beat."""

from __future__ import annotations

from prejudge.search.registry import search_method
from prejudge.search.run import Run


@search_method("random", reference="Dong & Yang, ICLR 2020 (arXiv:2001.00326)")
def random_search(run: Run) -> None:
    """Evaluate random architectures until the budget is spent."""
    while True:
        run.evaluate(run.space.sample(run.rng))
