from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from prejudge.data.normalization import NORMALIZATIONS


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_each_has_as_many_means_as_deviations_in_0_to_1(name: str) -> None:
    mean, std = NORMALIZATIONS[name]
    assert len(mean) == len(std) in (1, 3)
    assert all(0 < m < 1 for m in mean) and all(0 < s < 0.5 for s in std)


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_publications_agree_on_a_set(data: str) -> None:
    """All have rounded the same figures; but the deviations of plain ``cifar10`` are means over images."""
    names = [n for n in NORMALIZATIONS if n.split("-")[0] == data]
    assert len(names) >= 2
    for one, other in combinations(names, 2):
        assert np.allclose(NORMALIZATIONS[one][0], NORMALIZATIONS[other][0], atol=5e-4)
        if "cifar10" not in (one, other):
            assert np.allclose(NORMALIZATIONS[one][1], NORMALIZATIONS[other][1], atol=5e-4)
