"""Every proxy against its plain implementation, in float64."""

from __future__ import annotations

import pytest

from prejudge.proxies.scoring import score
from tests.proxies.cases import BUILT_IN, CASES, batch, case
from tests.proxies.oracles import ORACLES

NO_RELU_MODULES = {"naswot", "naswot_hnas", "linear_regions"}


@pytest.mark.parametrize("name", CASES)
def test_all_proxies_together_equal_each_by_itself(name: str) -> None:
    network, (x, y) = case(name), batch()
    wanted = [p for p in ORACLES if not (name == "nb201-dead-end" and p in NO_RELU_MODULES)]
    scores = score(network, x, y, wanted)
    for proxy, oracle in ((p, ORACLES[p]) for p in wanted):
        expected = oracle(network, x, y)
        tolerance = 1e-6 if proxy in ("ntk_condition", "ntk_condition_tenas", "jacob_cov") else 1e-8
        assert scores[proxy].ok, f"{proxy}: {scores[proxy].reason}"
        assert float(scores[proxy]) == pytest.approx(expected, rel=tolerance, abs=1e-12), proxy


@pytest.mark.parametrize("proxy", ORACLES)
def test_each_proxy_asked_alone_equals_the_shared_passes(proxy: str) -> None:
    network, (x, y) = case("nb201"), batch()
    alone = score(network, x, y, [proxy])[proxy]
    together = score(network, x, y, list(ORACLES))[proxy]
    assert alone.ok
    assert float(alone) == pytest.approx(float(together), rel=1e-9)


def test_every_built_in_proxy_has_an_oracle_or_a_test_of_its_own() -> None:
    assert set(BUILT_IN) - set(ORACLES) <= {"zen", "flops"}
