"""DARTS-PT's decisions: all golden sequences, ties, criteria, going on in the middle, and when they are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.errors import InputError
from prejudge.search.supernet.darts_pt.projection import (
    CUT,
    UNDECIDED,
    EdgeProjection,
    Evaluate,
    HeldOutScore,
    Removal,
    projection_epochs,
)
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS7, S1, S2, S3, same_everywhere
from prejudge.spaces.darts.discretization import strongest_edges
from prejudge.spaces.nasbench201.cell import EDGES as EDGES_201
from prejudge.spaces.nasbench201.cell import OPERATIONS
from prejudge.spaces.nasbench201.supernet import strongest_operations

CANDIDATES = {"s1": S1, "s2": S2, "s3": S3, "s5": same_everywhere(DARTS7)}
OPERATIONS_ON_AN_EDGE = {"cell": (OPERATIONS,) * len(EDGES_201)}


def every(criterion: str) -> dict[str, str]:
    """One criterion for all decisions."""
    return dict.fromkeys(("normal", "reduce", "cell", "edge"), criterion)


def projected(weights: Mapping[str, np.ndarray], projection: EdgeProjection) -> dict[str, np.ndarray]:
    """Softmax weights with the rows of decided edges overwritten."""
    found = {kind: matrix.copy() for kind, matrix in weights.items()}
    for kind, choices in projection.choices.items():
        for edge, choice in enumerate(choices):
            if choice != UNDECIDED:
                found[kind][edge] = 0
            if choice >= 0:
                found[kind][edge, choice] = 1
    return found


def softmax(alpha: Any) -> np.ndarray:
    exponentials = np.exp(np.asarray(alpha, dtype=np.float64))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def linear(
    projection: EdgeProjection, weights: Mapping[str, np.ndarray], factors: Mapping[str, np.ndarray]
) -> Evaluate:
    """The golden cases' supernet: the hyperbolic tangent of a linear function of the weights."""

    def evaluate(removals: Sequence[Removal]) -> list[HeldOutScore]:
        found = []
        for removal in removals:
            left = projected(weights, projection)
            left[removal.kind][removal.edge, slice(None) if removal.position is None else removal.position] = 0
            same = 50 + 50 * np.tanh(sum((factors[kind] * left[kind]).sum() for kind in left))
            found.append(HeldOutScore(float(same), float(-same / 10)))
        return found

    return evaluate


def cases(golden: Path, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((golden / "supernets" / "projection_order.json").read_text())[key]
    return found


def test_the_decisions_of_the_original_in_darts_spaces(golden: Path) -> None:
    for case in cases(golden, "sota"):
        candidates = CANDIDATES[case["space"]]
        projection = EdgeProjection(candidates, criteria=every(case["crit"]), seed=case["np_seed"])
        weights = {"normal": softmax(case["alpha_normal"]), "reduce": softmax(case["alpha_reduce"])}
        factors = {"normal": np.array(case["Sn"]), "reduce": np.array(case["Sr"])}
        evaluate = linear(projection, weights, factors)
        for what, kind, place, chosen in case["sequence"]:
            decision = projection.decide(evaluate)
            if what == "op":
                expected: tuple[Any, ...] = (kind, "operation", place, (chosen,))
            else:  # the original numbers the nodes that have more than two edges
                expected = (kind, "edges", place + 1, tuple(chosen))
            assert (decision.kind, decision.what, decision.place, decision.chosen) == expected
        assert len(case["sequence"]) == 2 * projection.rounds == 34
        assert projection.evaluations == 2 * (sum(map(len, candidates["normal"])) + 22)
        genotype = strongest_edges(projected(weights, projection), candidates)
        assert genotype == space("darts").parse(case["genotype"])
        assert projection_epochs(17, 5, thinning=True) == tuple(range(0, 81, 5)) and case["tune_epochs"] == 81


def test_the_decisions_of_the_original_in_nasbench201(golden: Path) -> None:
    for case in cases(golden, "nb201"):
        projection = EdgeProjection(OPERATIONS_ON_AN_EDGE, criteria=every(case["crit"]), seed=case["np_seed"])
        weights, factors = {"cell": softmax(case["alpha"])}, {"cell": np.array(case["S"])}
        evaluate = linear(projection, weights, factors)
        for place, chosen in case["sequence"]:
            decision = projection.decide(evaluate)
            assert (decision.kind, decision.what, decision.place) == ("cell", "operation", place)
            assert decision.chosen == (chosen,)
        found = strongest_operations(projected(weights, projection)["cell"], OPERATIONS_ON_AN_EDGE["cell"])
        assert str(found) == case["arch"].rstrip("+")
        assert list(projection_epochs(6, 5, thinning=False)) == case["project_epochs"]
        assert case["project_epochs"][-1] + 1 == case["tune_epochs"]


def scored(accuracies: Mapping[tuple[Any, ...], float], **others: float) -> Evaluate:
    """Scores by removal; what is not named has accuracy 50 and loss 1."""

    def evaluate(removals: Sequence[Removal]) -> list[HeldOutScore]:
        return [HeldOutScore(accuracies.get(removal, 50.0), others.get("loss", 1.0)) for removal in removals]

    return evaluate


def decided(projection: EdgeProjection) -> EdgeProjection:
    """The same after all operations, without any preference."""
    while not projection.operations_decided:
        projection.decide(scored({}))
    return projection


def test_of_equal_operations_the_first_is_kept_and_of_equal_edges_the_last_is_removed() -> None:
    projection = decided(EdgeProjection(S2))
    assert projection.choices == {"normal": [0] * 14, "reduce": [0] * 14}
    for _ in range(3):
        for kind in ("normal", "reduce"):
            decision = projection.decide(scored({}))
            first = {1: 2, 2: 5, 3: 9}[decision.place]
            assert (decision.kind, decision.chosen) == (kind, (first, first + 1))
            assert [len(tried) for tried in decision.scores] == list(range(decision.place + 2, 2, -1))
    assert projection.choices["reduce"] == [0, 0, 0, 0, CUT, 0, 0, CUT, CUT, 0, 0, CUT, CUT, CUT]
    assert projection.rounds == 17 and projection.evaluations == 2 * (28 + 22)


def test_the_worst_removal_keeps_an_operation_and_the_best_removes_an_edge() -> None:
    projection = EdgeProjection(S2)
    edge = EdgeProjection(S2).decide(scored({})).place
    assert projection.decide(scored({("normal", edge, 1): 49.9})).chosen == (1,)
    decided(projection)
    node = None
    while node != 3:
        best = {("normal", 9, None): 51.0, ("normal", 10, None): 50.5, ("normal", 12, None): 50.7}
        decision = projection.decide(scored(best))
        node = decision.place if decision.kind == "normal" else None
    assert decision.chosen == (11, 13)


def test_the_loss_decides_where_it_is_asked_for() -> None:
    def evaluate(removals: Sequence[Removal]) -> list[HeldOutScore]:
        return [HeldOutScore(50.0 + number, [1.0, 3.0, 2.0, np.nan, 0.5][number]) for number in range(len(removals))]

    # A supernet whose loss is not a number is the worst there is.
    assert EdgeProjection(OPERATIONS_ON_AN_EDGE, criteria=every("loss")).decide(evaluate).chosen == (3,)
    assert EdgeProjection(OPERATIONS_ON_AN_EDGE).decide(evaluate).chosen == (0,)
    assert EdgeProjection(S3, criteria=every("loss")).decide(evaluate).chosen == (1,)
    with pytest.raises(InputError, match="unknown criterion 'los'; did you mean 'loss'"):
        EdgeProjection(S2, criteria=every("los"))


@pytest.mark.parametrize("stop", [0, 1, 9, 28, 31])
def test_a_projection_goes_on_anywhere(stop: int) -> None:
    def pseudo(removals: Sequence[Removal]) -> list[HeldOutScore]:
        return [HeldOutScore(hash((r.edge, r.position, 7)) % 1000 / 10, 1.0) for r in removals]

    whole, other = EdgeProjection(S1, seed=3), EdgeProjection(S1, seed=99)
    for _ in range(34):
        whole.decide(pseudo)
    first = EdgeProjection(S1, seed=3)
    for _ in range(stop):
        first.decide(pseudo)
    other.load_state_dict(json.loads(json.dumps(first.state_dict())))
    while len(other.decisions) < 34:
        other.decide(pseudo)
    assert other.decisions == whole.decisions and other.choices == whole.choices
    assert other.state_dict() == whole.state_dict()


def test_when_projections_are_made() -> None:
    assert projection_epochs(17, 1, thinning=True) == tuple(range(17))
    assert projection_epochs(6, 1, thinning=False) == tuple(range(6))
    assert projection_epochs(6, 2, thinning=False) == (0, 2, 4, 6, 8, 9)
    assert projection_epochs(3, 4, thinning=True) == (0, 4, 8)
