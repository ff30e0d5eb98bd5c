"""No reader needs more time or memory than the stated multiple of its input; ``make fuzz`` searches longer."""

from __future__ import annotations

import pytest

from tests.fuzz import cost, test_binaries, test_texts
from tests.fuzz.harness import INPUTS, TARGETS, Target

NAMES = sorted({*test_binaries.TARGETS, *test_texts.TARGETS})


RISKY = ["csv", "genotype", "pickle-scores", "recipe", "scores-json", "torch-foreign"]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in RISKY else pytest.mark.slow) for n in NAMES])
def test_no_input_costs_more_than_its_size_allows(name: str) -> None:
    """Known bombs first, then what a search makes of them."""
    target = TARGETS[name]
    bombs = len(target.seeds()) + len(cost.bombs())
    found = cost.search(target, max(bombs, INPUTS // 3 // target.one_in))
    assert not found.excessive, str(found)


def _quadratic(data: bytes) -> object:
    return [data.count(b"x", 0, n) for n in range(0, len(data), 3)]


def _hungry(data: bytes) -> object:
    return [bytes(40_000) for _ in data[:20_000]]


@pytest.mark.parametrize(("read", "kind"), [(_quadratic, "slowest"), (_hungry, "largest")])
def test_the_search_sees_what_costs_too_much(read: object, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost.CostReport, "save", lambda self: None)
    target = Target(f"dear-{kind}", read, lambda: [b"x" * 10], [b"x"])  # type: ignore[arg-type]
    found = cost.search(target, 200)
    assert getattr(found, kind).excessive, str(found)
