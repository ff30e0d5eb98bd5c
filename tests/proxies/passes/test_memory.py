"""What is tried when memory runs out: in which order, and with the same scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from prejudge.proxies import scoring
from prejudge.proxies.kernels import per_sample
from prejudge.proxies.network.observer import observed
from prejudge.proxies.passes import first_order, memory
from prejudge.proxies.passes import runner as passes
from prejudge.proxies.passes.memory import Limits, Memory, widest
from prejudge.proxies.score import Score
from prejudge.proxies.scoring import score_repeats
from tests.proxies.cases import batch, case
from tests.proxies.passes.test_stacking import NETWORKS, repeats

START = Limits(5, images=16)
LADDER = [START, Limits(3, 16), Limits(2, 16), Limits(1, 16), Limits(1, 4), Limits(1, 1)]
PROXIES = ["snip", "fisher", "jacob_cov", "ntk_condition", "ntk_condition_tenas", "ntk_condition_fixed_bn", "naswot"]


def test_less_is_held_at_once_in_a_fixed_order() -> None:
    found, limits = [START], START.smaller()
    while limits is not None:
        found.append(limits)
        limits = limits.smaller()
    assert found == LADDER


def test_the_widest_suits_the_device() -> None:
    assert widest(torch.device("cpu"), 3, 64) == Limits(3, 16)
    assert widest(torch.device("cuda"), 3, 64) == Limits(3, 192)
    assert widest(torch.device("cuda"), 1, 4) == Limits(1, 4)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Limits], bool]], list[Limits]]:
    """Let the shared pass run out of memory unless its limits are small enough; what was tried."""

    def install(fits: Callable[[Limits], bool]) -> list[Limits]:
        seen: list[Limits] = []
        real = first_order.first_order

        def limited(*args: Any, repeats: int, limits: Limits, **options: Any) -> Any:
            assert repeats == limits.repeats
            seen.append(limits)
            if not fits(limits):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return real(*args, repeats=repeats, limits=limits, **options)

        monkeypatch.setattr(passes.first_order, "first_order", limited)
        monkeypatch.setattr(scoring, "widest", lambda device, number, images: START)
        return seen

    return install


@pytest.fixture(scope="module")
def unlimited() -> list[dict[str, Score]]:
    """Scores of five repeats, each by itself."""
    return [
        score_repeats([n], [x], [y], PROXIES)[0] for n, x, y in zip(*repeats(NETWORKS["nb201"], number=5), strict=True)
    ]


@pytest.mark.parametrize("level", range(len(LADDER)))
def test_scores_do_not_depend_on_what_fits(tried: Any, unlimited: list[dict[str, Score]], level: int) -> None:
    networks, inputs, targets = repeats(NETWORKS["nb201"], number=5)
    rank = {limits: i for i, limits in enumerate(LADDER)}
    seen = tried(lambda limits: rank.get(limits, 0) >= level)
    found = score_repeats(networks, inputs, targets, PROXIES)
    assert seen[: level + 1] == LADDER[: level + 1]
    for scores, single in zip(found, unlimited, strict=True):
        for proxy in PROXIES:
            assert float(scores[proxy]) == pytest.approx(float(single[proxy]), rel=1e-10, abs=1e-12), proxy


def test_what_fits_is_kept_for_the_repeats_that_are_left(tried: Any) -> None:
    networks, inputs, targets = repeats(NETWORKS["nb201"], number=5)
    seen = tried(lambda limits: limits.repeats <= 2)
    assert len(score_repeats(networks, inputs, targets, ["snip"])) == 5
    assert [limits.repeats for limits in seen] == [5, 3, 2, 2, 1]


def test_what_never_fits_is_a_failed_score_that_says_what_to_lower(tried: Any) -> None:
    networks, inputs, targets = repeats(NETWORKS["nb201"], number=2)
    seen = tried(lambda limits: False)
    for scores in score_repeats(networks, inputs, targets, ["snip", "jacob_cov", "synflow", "params"]):
        for proxy in ("snip", "jacob_cov"):
            assert scores[proxy].reason == (
                "out of memory on cpu with one network at a time; lower the batch size, or the channels or cells"
            )
        assert scores["synflow"].ok and scores["params"].ok
    assert seen[-1] == LADDER[-1]


def test_at_the_end_each_quantity_is_tried_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when one of them alone is too large."""
    real = first_order.first_order

    def limited(network: Any, inputs: Any, targets: Any, wanted: Any, *rest: Any, **options: Any) -> Any:
        if "label_kernel" in wanted:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(network, inputs, targets, wanted, *rest, **options)

    monkeypatch.setattr(passes.first_order, "first_order", limited)
    network, (x, y) = case("nb201"), batch()
    scores = scoring.score(network, x, y, ["ntk_condition", "snip", "naswot"])
    assert scores["snip"].ok and scores["naswot"].ok and "out of memory" in scores["ntk_condition"].reason


def test_a_network_that_does_not_even_reach_the_device_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(scoring.Probe, "stacked", full)
    network, (x, y) = case("nb201"), batch()
    scores = scoring.score(network, x, y, ["params", "snip"])
    assert all("out of memory on cpu" in score.reason for score in scores.values())


def test_shares_do_not_depend_on_the_images_at_once() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 4, 3, padding=1).double()
    x, b = torch.randn(7, 3, 5, 5, dtype=torch.float64), torch.randn(7, 4, 5, 5, dtype=torch.float64)
    with observed(layer, x, lenient=True) as observation:
        layer(x)
    (call,) = observation.operations
    expected = per_sample.weight_shares(call, b)
    for images in (1, 2, 16):
        shares = per_sample.weight_shares(call, b, images_at_once=images)
        torch.testing.assert_close(shares, expected, rtol=1e-12, atol=1e-12)


class Card(Memory):
    """A card of so many bytes, of which a job takes so many for each repeat."""

    def __init__(self, total: int):
        super().__init__(torch.device("cpu"), lambda: total)


def test_what_ran_says_what_fits() -> None:
    card = Card(100)
    assert card.fitting(START) == START  # nothing is known yet
    card.ran_out(START)  # five need more than 100, so one needs more than 20
    assert card.fitting(START).repeats == 3
    card.ran_out(LADDER[1])
    assert card.fitting(START).repeats == 2
    assert card.fitting(Limits(1, 16)) == Limits(1, 16)
    assert Memory(torch.device("cpu")).fitting(START) == START  # nobody knows what is free
    assert memory.widest(torch.device("mps"), 2, 4) == Limits(2, 8)
