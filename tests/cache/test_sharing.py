from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prejudge.cache import Protocol, ScoreCache
from prejudge.cache.sharing import representatives
from prejudge.errors import InputError
from prejudge.proxies.score import Score
from prejudge.spaces import space


def test_representatives_of_a_space_are_its_unique_ones() -> None:
    nb201 = space("nasbench201")
    assert sorted(map(nb201.index, representatives(nb201, nb201))) == [nb201.index(a) for a in nb201.unique()]
    dead = nb201.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert representatives(nb201, [dead, dead]) == [nb201.representative(dead)]


def test_members_get_their_class_score_in_the_columns_that_allow_it(path: Path, protocol: Protocol) -> None:
    nb201 = space("nasbench201")
    classes: dict[str, list[int]] = {}
    for i in range(len(nb201)):
        classes.setdefault(nb201.canonical(nb201[i]), []).append(i)
    members = next(m for m in classes.values() if len(m) == 3)
    failing = next(m for m in classes.values() if len(m) == 2)
    with ScoreCache(path) as cache:
        cache.declare(protocol, "snip", {"proxy": "snip", "version": 1, "invariant_to_dead_edges": True})
        cache.declare(protocol, "params", {"proxy": "params", "version": 1, "invariant_to_dead_edges": False})
        cache.put(protocol, nb201[members[0]], {"snip": 5.0, "params": 10.0})
        cache.put(protocol, nb201[members[2]], {"snip": 6.0, "params": 30.0})
        cache.put(protocol, nb201[failing[0]], {"snip": Score.failed("dead")})
        single = cache.frame()
        frame = cache.frame(space=nb201, expand=True)
        counts = cache.frame(repeat="count", space=nb201, expand=True)
        with pytest.raises(InputError, match="needs the space"):
            cache.frame(expand=True)
    assert len(single) == 3
    assert list(frame.index) == [str(nb201[i]) for i in sorted(members + failing)]  # the space's index order
    rows = frame.loc[[str(nb201[i]) for i in members]]
    np.testing.assert_array_equal(rows["snip"], [5.0, 5.0, 6.0])  # its own score wins
    np.testing.assert_array_equal(rows["params"], [10.0, np.nan, 30.0])
    assert frame.loc[[str(nb201[i]) for i in failing]].isna().all(axis=None)
    assert list(counts.loc[[str(nb201[i]) for i in failing], "snip"]) == [0.0, 0.0]
