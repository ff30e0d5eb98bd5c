"""Regularized evolution: the oldest member leaves; a training-free proxy may pick the first ones and the moves."""

from __future__ import annotations

from collections import deque
from operator import itemgetter

from prejudge.errors import InputError
from prejudge.search.protocol import Questions, SearchContext
from prejudge.search.query.proxy_scores import ProxyScores, proxy_scores
from prejudge.search.registry import search_method
from prejudge.spaces.base import Architecture


@search_method(
    "evolution",
    reference="Real et al., AAAI 2019 (arXiv:1802.01548), set as Dong & Yang, ICLR 2020 (arXiv:2001.00326); "
    "proxies: Abdelfattah et al., ICLR 2021 (arXiv:2101.08134)",
)
def evolution(
    search: SearchContext,
    population: int = 10,
    sample: int = 3,
    proxy: str = "",
    warmup: int = 0,
    proposal: float = 0.0,
) -> Questions:
    """Mutate the best of a few random members of a population whose oldest member leaves.

    What failed (NaN) never joins the population, so it has no offspring; nobody leaves for it.

    Args:
        search: The context.
        population: Members.
        sample: How many are drawn, with replacement, for each tournament.
        proxy: Where ``warmup`` and ``proposal`` take scores from: ``params``, ``flops`` or ``CACHE.h5:COLUMN``
            (:func:`~prejudge.search.query.proxy_scores.proxy_scores`). Zero-cost-nas uses synflow, with a population
            of 64,
            a sample of 10, a warm-up of 3,000 and a proposal of 0.75.
        warmup: The first members are the best by proxy of so many random architectures; 0 for random ones. Those that
            are drawn twice count once.
        proposal: Probability that a child is the best neighbor of its parent by proxy instead of a random one.

    Raises:
        InputError: An option is out of range, or a score that is needed is not there.
    """
    if population < 1 or sample < 1:
        raise InputError(f"evolution: population ({population}) and sample ({sample}) must be positive")
    if not 0 <= proposal <= 1:
        raise InputError(f"evolution: proposal is a probability, not {proposal}")
    if warmup and warmup < population:
        raise InputError(f"evolution: a warm-up of {warmup} architectures cannot fill a population of {population}")
    if bool(proxy) != bool(warmup or proposal):
        raise InputError("evolution: a proxy goes with warmup or proposal, and they with a proxy (proxy=CACHE.h5:NAME)")
    rng, space = search.rng, search.space
    scores = proxy_scores(space, proxy) if proxy else None
    members: deque[tuple[float, Architecture]] = deque(maxlen=population)
    first = _best_by_proxy(search, scores, warmup, population) if scores is not None and warmup else []
    while len(members) < population:
        lacking = population - len(members)
        chosen, first = first[:lacking], first[lacking:]
        chosen += [space.sample(rng) for _ in range(lacking - len(chosen))]
        values = yield chosen
        members += [(value, arch) for value, arch in zip(values, chosen, strict=True) if value == value]
    by_value = itemgetter(0)
    while True:
        _, parent = max([members[i] for i in rng.integers(population, size=sample).tolist()], key=by_value)
        if scores is not None and proposal and rng.random() < proposal:
            child = scores.ranked(space.neighbors(parent))[0]
        else:
            child = space.mutate(parent, rng)
        value = yield child
        if value == value:
            members.append((value, child))


def _best_by_proxy(search: SearchContext, scores: ProxyScores, warmup: int, count: int) -> list[Architecture]:
    drawn = dict.fromkeys(search.space.sample(search.rng) for _ in range(warmup))
    return scores.ranked(drawn)[:count]
