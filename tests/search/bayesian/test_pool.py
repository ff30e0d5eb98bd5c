from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prejudge.search.bayesian import FixedPool, GrowingPool


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 5))
def test_it_grows_as_the_original_list_does(candidates: int, draws: int, seed: int) -> None:
    pool = GrowingPool(candidates, draws, np.random.default_rng(seed))
    drawn = np.random.default_rng(seed)
    slow: list[int] = []
    taken: list[int] = []
    for _ in range(8):
        slow += drawn.choice(candidates, draws).tolist()
        slow = list(dict.fromkeys(slow))
        slow = [row for row in slow if row not in taken]
        offered = pool.offer().tolist()
        assert offered == slow
        if offered:
            taken.append(offered[len(offered) // 2])
            pool.take(taken[-1])
    assert sorted(pool.members.tolist()) == sorted({*slow, *taken})


def test_a_fixed_pool_does_not_grow() -> None:
    pool = FixedPool(np.array([4, 2, 9]))
    assert pool.offer().tolist() == [4, 2, 9] == pool.offer().tolist()
    pool.take(2)
    assert pool.offer().tolist() == [4, 9] == pool.remaining.tolist()
    assert pool.members.tolist() == [2, 4, 9]
