"""Rankings of whole columns and of subsets against sorting each anew."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from prejudge.benchmarks.statistics.ranking import TiedRanking

ENTRIES = st.lists(st.tuples(st.sampled_from([-np.inf, -1.5, 0.0, 2.0, 3.0, np.inf]), st.booleans()), max_size=30)


@given(ENTRIES)
def test_a_subset_ranks_as_if_it_were_sorted_anew(entries: list[tuple[float, bool]]) -> None:
    values = np.array([value for value, _ in entries])
    inside = np.array([kept for _, kept in entries], dtype=bool)
    whole = TiedRanking.of(values)
    for found, these in ((whole, values), (whole.among(inside), values[inside])):
        np.testing.assert_array_equal(found.ranks, rankdata(these))
        assert len(found) == len(these)
        assert found.tied == sum(np.sum(these == v) > 1 for v in these)
        assert found.constant == (len(set(these.tolist())) < 2)


def test_what_is_nan_can_be_left_out() -> None:
    values = np.array([3.0, np.nan, 1.0, np.nan, 3.0])
    ranking = TiedRanking.of(values).among(~np.isnan(values))
    assert ranking.ranks.tolist() == [2.5, 1, 2.5]
    assert ranking.tied == 2
