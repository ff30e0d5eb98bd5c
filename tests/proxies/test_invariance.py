"""Which proxies may share one score within a class of equivalent cells: those that do not see dead edges."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prejudge.proxies import get
from prejudge.proxies.scoring import score
from prejudge.spaces import space
from tests.proxies.cases import BUILT_IN, batch

S = space("nasbench201")
# With dead edges, and the same with these edges removed: edges out of nothing, and an edge that nobody reads.
PAIRS = {
    "fed by nothing": (
        "|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    ),
    "read by nobody": (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    ),
}


def twins(kind: str, form: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    dead, alive = (S.network(text, channels=4, cells=1, num_classes=5, form=form).double() for text in PAIRS[kind])
    missing = alive.load_state_dict(dead.state_dict(), strict=False).missing_keys
    assert not missing
    return dead, alive


@pytest.mark.parametrize("form", ["official", "zero-cost-nas"])
@pytest.mark.parametrize("kind", PAIRS)
def test_proxies_declared_invariant_do_not_see_dead_edges(kind: str, form: str) -> None:
    dead, alive = twins(kind, form)
    x, y = batch()
    declared = [n for n in BUILT_IN if get(n).invariant_to_dead_edges and get(n).deterministic]
    with_dead, without = score(dead, x, y, declared), score(alive, x, y, declared)
    for name in declared:
        if name.endswith("synflow") and form == "zero-cost-nas" and kind == "fed by nothing":
            continue  # without batch norm, the bias of the dead convolution flows on
        assert with_dead[name].ok, with_dead[name].reason
        assert float(with_dead[name]) == pytest.approx(float(without[name]), rel=1e-6), name


def test_the_others_do_see_them() -> None:
    x, y = batch()
    dead, alive = twins("fed by nothing", "zero-cost-nas")
    for name in ("params", "flops", "l2_norm", "naswot", "ntk_trace", "ntk_condition"):
        assert not get(name).invariant_to_dead_edges
        with_dead, without = (score(n, x, y, [name])[name] for n in (dead, alive))
        assert float(with_dead) != pytest.approx(float(without), rel=1e-6), name


def test_members_of_the_pairs_are_of_one_class() -> None:
    for dead, alive in PAIRS.values():
        assert S.canonical(S.parse(dead)) == S.canonical(S.parse(alive))
