"""Real networks: every default proxy equals its plain definition in float64, or fails by name."""

from __future__ import annotations

import pytest

from tests.proxies.zoo.models import FAST, ZOO, Entry
from tests.proxies.zoo.outcomes import MISCOUNT, outcome


@pytest.mark.parametrize(
    "entry",
    [pytest.param(e, id=f"{e.library}-{e.name}", marks=() if e.name in FAST else pytest.mark.slow) for e in ZOO],
)
def test_scores_are_right_or_fail_by_name(entry: Entry) -> None:
    pytest.importorskip(entry.library)
    found = outcome(entry)
    assert MISCOUNT not in found.codes.values(), found.remarks
    assert "?" not in found.codes.values(), found.remarks
