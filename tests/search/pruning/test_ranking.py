"""The rule of removal: the original's decisions, its quirks one by one, and figures that could not be had."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prejudge.search.pruning.ranking import (
    RELEASED,
    UNROUNDED,
    EdgeOperation,
    OperationMeasurement,
    Rounding,
    by_edge,
    choose_edges,
    choose_operations,
    mean_change,
    order,
    ranks,
    round_significant,
)

NAN = math.nan


def removal(edge: int, operation: int = 0, *, condition: float = 0.0, regions: float = 0.0) -> OperationMeasurement:
    """A removal with these two relative changes in its only repeat."""
    return OperationMeasurement(
        EdgeOperation("cell", edge, operation), ((1.0, 1.0 - condition),), ((1.0, 1.0 - regions),)
    )


def test_the_original_rounding(golden: Path) -> None:
    for case in json.loads((golden / "tenas" / "pruning_decisions.json").read_text())["round_to"]:
        assert round_significant(case["x"], case["precision"]) == case["y"]


@pytest.mark.parametrize("run", range(5))
def test_the_original_removals_of_each_round(golden: Path, run: int) -> None:
    stored = json.loads((golden / "tenas" / "pruning_decisions.json").read_text())["runs"][run]
    repeats = stored["repeat"]
    for stage in stored["rounds"]:
        measured = []
        for i, (cell, edge, operation) in enumerate(stage["candidates"]):
            pairs = [stage[f"{what}_pairs_origin_pruned"][i * repeats : (i + 1) * repeats] for what in ("ntk", "lr")]
            kernel, regions = (tuple((before, after) for before, after in found) for found in pairs)
            measured.append(OperationMeasurement(EdgeOperation(str(cell), edge, operation), kernel, regions))
        removed = choose_operations(measured, stored["prune_number"], RELEASED)
        of_edges = [[[int(cell), edge, op] for op in ops] for (cell, edge), ops in by_edge(removed).items()]
        assert of_edges == stage["pruned"]


@pytest.mark.parametrize(
    ("x", "digits", "y"),
    [(0.0, 3, 0.0), (-0.12345, 2, -0.12), (12345.678, 3, 12300.0), (1e-9, 2, 1.1e-8), (0.9996, 3, 1.0)],
)
def test_significant_digits(x: float, digits: int, y: float) -> None:
    assert round_significant(x, digits) == y


def test_rounding_leaves_what_is_not_finite() -> None:
    assert math.isnan(round_significant(NAN, 3))
    assert round_significant(-math.inf, 3) == -math.inf


@given(st.floats(-1e6, 1e6), st.integers(1, 6))
def test_significant_digits_are_close(x: float, digits: int) -> None:
    size = abs(x) + 1e-8  # what is rounded
    assert abs(round_significant(x, digits) - x) <= 1.01e-8 + size * 0.5 * 10.0 ** (1 - digits) * (1 + 1e-6)


def test_mean_change_leaves_out_repeats_without_a_figure() -> None:
    assert mean_change([(100.0, 90.0), (NAN, 5.0), (100.0, NAN), (0.0, 3.0), (100.0, 50.0)], None) == 0.3
    assert math.isnan(mean_change([(NAN, 1.0)], 3))


def test_changes_are_rounded_in_each_repeat() -> None:
    assert mean_change([(3.0, 2.0), (7.0, 6.0)], 3) == (0.333 + 0.143) / 2
    assert mean_change([(3.0, 2.0), (7.0, 6.0)], None) == pytest.approx((1 / 3 + 1 / 7) / 2, abs=1e-15)


def test_ranks_are_dense_and_stable() -> None:
    assert ranks([3.0, 1.0, 3.0, 2.0], UNROUNDED, descending=True) == ([0, 2, 3, 1], [0.0, 2.0, 0.0, 1.0])
    assert ranks([3.0, 1.0, 3.0, 2.0], UNROUNDED, descending=False) == ([1, 3, 0, 2], [2.0, 0.0, 2.0, 1.0])


def test_the_original_sorts_by_rounded_values_but_ranks_unrounded_ones() -> None:
    values = [0.12341, 0.12342, 0.12341]  # the same to three digits, so they stay in place; three runs, three ranks
    assert ranks(values, RELEASED, descending=True) == ([0, 1, 2], [0.0, 1.0, 2.0])
    assert ranks(values, UNROUNDED, descending=True) == ([1, 0, 2], [1.0, 0.0, 1.0])


def test_a_missing_value_has_the_middle_rank() -> None:
    places, found = ranks([5.0, NAN, 4.0, 3.0], UNROUNDED, descending=True)
    assert found == [0.0, 1.0, 1.0, 2.0]
    assert places == [0, 1, 2, 3]
    assert ranks([NAN, NAN], RELEASED, descending=False) == ([0, 1], [0.0, 0.0])


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, NAN]), min_size=1, max_size=12), st.booleans())
def test_missing_values_change_no_other_rank(values: list[float], descending: bool) -> None:
    places, found = ranks(values, RELEASED, descending=descending)
    assert sorted(places) == list(range(len(values)))
    known = [i for i, v in enumerate(values) if not math.isnan(v)]
    _, alone = ranks([values[i] for i in known], RELEASED, descending=descending)
    assert [found[i] for i in known] == alone
    assert all(0 <= rank <= max(alone, default=0) for rank in found)


def test_a_lower_condition_and_few_lost_regions_come_first() -> None:
    measured = [
        removal(0, 0, condition=-0.2, regions=0.5),
        removal(0, 1, condition=0.3, regions=0.0),
        removal(0, 2, condition=0.1, regions=0.1),
    ]
    assert order(measured, UNROUNDED) == [1, 2, 0]


def test_equal_importance_keeps_the_order_of_the_kernel() -> None:
    measured = [removal(0, 0, condition=0.1, regions=0.1), removal(0, 1, condition=0.2, regions=0.2)]
    assert order(measured, UNROUNDED) == [1, 0]


@given(st.integers(1, 5), st.lists(st.integers(2, 5), min_size=1, max_size=4), st.randoms())
def test_an_edge_never_loses_its_last_operation(number: int, sizes: list[int], random: object) -> None:
    measured = [
        removal(edge, op, condition=random.random(), regions=random.choice([0.0, 0.1, NAN]))  # type: ignore[attr-defined]
        for edge, size in enumerate(sizes)
        for op in range(size)
    ]
    removed = choose_operations(measured, number, RELEASED)
    assert len(set(removed)) == len(removed)
    for edge, size in enumerate(sizes):
        assert sum(r.edge == edge for r in removed) == min(number, size - 1)


def test_a_failed_figure_does_not_decide() -> None:
    """Neither first nor last for want of a figure, wherever in the list it stands."""
    for place in range(3):
        measured = [removal(0, 1, condition=0.2, regions=0.0), removal(0, 2, condition=-0.2, regions=0.2)]
        measured.insert(place, removal(0, 0, condition=NAN, regions=0.1))
        assert [measured[i].removal.operation for i in order(measured, RELEASED)] == [1, 0, 2]
    assert measured[place].failed == 1


def test_two_edges_stay() -> None:
    measured = [removal(edge, condition=edge / 10, regions=0.0) for edge in range(4)]
    assert [r.edge for r in choose_edges(measured, 2, UNROUNDED)] == [3, 2]
    assert choose_edges(measured[:2], 2, UNROUNDED) == []


def test_rounding_of_the_two_conventions() -> None:
    assert Rounding() == UNROUNDED
    assert Rounding(3, 3) == RELEASED
