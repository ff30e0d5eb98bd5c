"""The rounds, driven by figures that were made up: the original's decisions, and what is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prejudge.errors import InputError, PrejudgeError
from prejudge.search.pruning import CONVENTIONS, convention_protocol
from prejudge.search.pruning.protocol import PruningProtocol
from prejudge.search.pruning.pruning_space import Active, PruningSpace, operations_of, pruning_space, without
from prejudge.search.pruning.ranking import EdgeOperation, mean_change
from prejudge.search.pruning.rounds import (
    NetworkMeasurement,
    NetworkTask,
    PruningRound,
    number_of_networks,
    prune_rounds,
)
from prejudge.spaces import space

KINDS = {"nb201": ["cell"], "darts": ["normal", "reduce"]}
SPACES = {"nb201": "nasbench201", "darts": "darts"}


def mask(active: Active, candidates: Any) -> list[list[list[int]]]:
    return [
        [[int(op in edge) for op in range(len(names))] for edge, names in zip(edges, candidates[cell], strict=True)]
        for cell, edges in active.items()
    ]


class Scripted:
    """Answers with stored pairs, candidate after candidate and repeat after repeat.

    The original measures the unpruned network anew for each candidate. Here it is 1 for all, and the candidate's figure
    is that of the same relative change, to three decimals, which is how the original compares them.
    """

    def __init__(self, stages: Iterator[dict[str, Any]], repeats: int):
        self._stages = stages
        self._repeats = repeats
        self._waiting: list[tuple[Any, Any]] = []

    def __call__(self, tasks: Sequence[NetworkTask]) -> list[NetworkMeasurement]:
        pruned = [t for t in tasks if t.kernel and t.regions and "unpruned" not in t.name]
        count = len(pruned) // self._repeats
        if len(self._waiting) < count * self._repeats:
            stage = next(self._stages)
            self._waiting += zip(stage["ntk_pairs_origin_pruned"], stage["lr_pairs_origin_pruned"], strict=True)
        pairs, self._waiting = self._waiting[: count * self._repeats], self._waiting[count * self._repeats :]
        number = {id(task): i for i, task in enumerate(pruned)}
        found = []
        for task in tasks:
            if id(task) not in number:
                found.append(NetworkMeasurement(1.0, 1.0, 0.0))
                continue
            repeat, candidate = divmod(number[id(task)], count)
            changes = [round((k - pruned) / k, 3) for k, pruned in pairs[candidate * self._repeats + repeat]]
            found.append(NetworkMeasurement(1 - changes[0], 1 - changes[1], 0.0))
        return found


def pruned_by(measure: Any, space: PruningSpace, protocol: PruningProtocol) -> list[PruningRound]:
    """The rounds whose questions a function answers."""
    rounds = prune_rounds(space, protocol, ask=list)
    tasks = next(rounds)
    while True:
        try:
            tasks = rounds.send(measure(tasks))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("run", range(5))
def test_the_original_decisions(golden: Path, run: int) -> None:
    stored = json.loads((golden / "tenas" / "pruning_decisions.json").read_text())["runs"][run]
    pruned = pruning_space(space(SPACES[stored["space"]]))
    kinds = KINDS[stored["space"]]
    assert list(pruned.candidates[kinds[0]][0]) == stored["ops"]
    protocol = convention_protocol("te-nas", prune_number=stored["prune_number"], repeats=stored["repeat"])
    stages = [*stored["rounds"], *([stored["group"]] if "group" in stored else [])]
    steps = pruned_by(Scripted(iter(stages), stored["repeat"]), pruned, protocol)
    for step, expected in zip(steps, stored["rounds"], strict=False):
        assert [[kinds.index(m.removal.cell), *m.removal[1:]] for m in step.measured] == expected["candidates"]
        of_edges: dict[tuple[int, int], list[list[int]]] = {}
        for removal in step.removed:
            place = [kinds.index(removal.cell), *removal[1:]]
            of_edges.setdefault((place[0], place[1]), []).append(place)
        assert list(of_edges.values()) == expected["pruned"]
        assert mask(step.active, pruned.candidates) == expected["active_after"]
    last, genotype = steps[-1].active, stored.get("genotype")
    if "group" in stored:
        assert len(steps) == len(stored["rounds"]) + 6
        measured = [m.removal for step in steps[-6:] for m in step.measured]
        assert [[kinds.index(r.cell), *r[1:]] for r in measured] == stored["group"]["candidates"]
        assert mask(last, pruned.candidates) == stored["group"]["active_after"]
        genotype = stored["group"]["genotype"]
    assert str(pruned.derive(last)) == genotype


def by_name(task: NetworkTask) -> NetworkMeasurement:
    """Figures that depend on what is left alone, and differ in every network."""
    left = [op + 7 * e for edges in task.active.values() for e, edge in enumerate(edges) for op in edge]
    value = sum(math.sin(k + 1) for k in left)
    return NetworkMeasurement(100 + value, 500 + 10 * value, 0.5)


class Counted:
    def __init__(self) -> None:
        self.asked: list[NetworkTask] = []

    def __call__(self, tasks: Sequence[NetworkTask]) -> list[NetworkMeasurement]:
        self.asked += tasks
        return [by_name(task) for task in tasks]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_the_unpruned_network_is_measured_once_a_round_and_repeat(name: str) -> None:
    measure = Counted()
    steps = pruned_by(measure, pruning_space(space("nasbench201")), convention_protocol(name))
    measured = [24, 12] if name == "te-nas-imagenet" else [24, 18, 12]  # it prunes two operations a round
    assert [len(step.measured) for step in steps] == measured
    assert len(measure.asked) == len({str(t) for t in measure.asked}) == 3 * (sum(measured) + len(measured))
    assert sum("unpruned" in t.name for t in measure.asked) == 3 * len(measured)
    assert [step.seconds for step in steps] == [0.5 * 3 * (n + 1) for n in measured]


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("of", ["nasbench201", "darts", "darts-s1", "darts-s3"])
def test_the_number_of_networks_is_known_beforehand(name: str, of: str) -> None:
    measure = Counted()
    pruned, protocol = pruning_space(space(of)), convention_protocol(name, repeats=2)
    active = pruned_by(measure, pruned, protocol)[-1].active
    assert len({str(t) for t in measure.asked}) == number_of_networks(pruned, protocol)
    space(of).parse(pruned.derive(active))


@pytest.mark.parametrize(("number", "rounds"), [(None, [196, 112]), (2, [196, 140, 84]), (9, [196])])
def test_rounds_of_darts(number: int | None, rounds: list[int]) -> None:
    pruned, protocol = pruning_space(space("darts")), convention_protocol("default", prune_number=number)
    steps = pruned_by(Counted(), pruned, protocol)
    assert [len(step.measured) for step in steps] == [*rounds, 3, 4, 5, 3, 4, 5]
    assert [step.title for step in steps[-6:]] == [f"{c} node {n}" for c in ("normal", "reduce") for n in (1, 2, 3)]
    assert [len(step.removed) for step in steps[-6:]] == [1, 2, 3, 1, 2, 3]


def test_what_changes_refer_to_where_edges_are_removed() -> None:
    """The released code's unpruned kernel keeps every edge; by default it is the network that is pruned."""
    for name, before in (("te-nas", True), ("default", False)):
        measure = Counted()
        pruned_by(measure, pruning_space(space("darts")), convention_protocol(name, repeats=1))
        later = [t for t in measure.asked if t.name == "unpruned, reduce node 3"]
        assert [(t.kernel, t.regions) for t in later] == [(not before, True)]
        kept = [t for t in measure.asked if t.name == "unpruned, before edges"]
        assert bool(kept) == before
        assert all(len(edge) == 1 for t in kept for edges in t.active.values() for edge in edges)


def failing(which: str, condition: float = math.nan) -> Any:
    def measure(tasks: Sequence[NetworkTask]) -> list[NetworkMeasurement]:
        return [
            by_name(t)._replace(condition=condition, reason="the kernel is zero") if which in t.name else by_name(t)
            for t in tasks
        ]

    return measure


def test_a_figure_that_fails_is_stated_and_does_not_decide() -> None:
    pruned, protocol = pruning_space(space("nasbench201")), convention_protocol("te-nas")
    step = pruned_by(failing("round 1 without cell 2 3"), pruned, protocol)[0]
    assert step.failures == ("the kernel is zero",)
    assert sum(m.failed for m in step.measured) == 3
    rows = {tuple(row[:3]): row[3] for row in step.plain()["measured"]}
    assert rows["cell", 2, "nor_conv_3x3"] is None


def test_an_unpruned_network_without_figures_is_an_error() -> None:
    with pytest.raises(PrejudgeError, match=r"round 1: the unpruned network has no kernel figure .*the kernel is zero"):
        pruned_by(failing("unpruned"), pruning_space(space("nasbench201")), convention_protocol("default"))


def test_a_later_step_without_a_figure_is_decided_by_the_other() -> None:
    pruned, protocol = pruning_space(space("nasbench201")), convention_protocol("default")
    plain = pruned_by(Counted(), pruned, protocol)
    steps = pruned_by(failing("unpruned, round 2"), pruned, protocol)
    assert [step.failures for step in steps] == [(), ("the kernel is zero",), ()]
    assert steps[0] == plain[0]
    regions = {m.removal: mean_change(m.regions, None) for m in steps[1].measured}
    for removal in steps[1].removed:
        assert regions[removal] == min(v for r, v in regions.items() if r.edge == removal.edge)


def test_what_is_left() -> None:
    active = {"cell": ((1, 2), (3,))}
    assert operations_of(active) == [EdgeOperation("cell", 0, 1), EdgeOperation("cell", 0, 2)]
    assert without(active, [EdgeOperation("cell", 0, 1), EdgeOperation("cell", 1, 3)]) == {"cell": ((2,), ())}


@pytest.mark.parametrize("name", ["darts-s1", "darts-s2", "darts-s3", "darts-s4"])
def test_none_is_never_left(name: str) -> None:
    found: PruningSpace = pruning_space(space(name))
    for cell, edges in found.start.items():
        for names, left in zip(found.candidates[cell], edges, strict=True):
            assert [names[op] for op in left] == [name for name in names if name != "none"]
    assert set(found.stages(3)[:1]) == {2 * 28}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pruning_space(space("nasbench101")), "nasbench201 and of the darts spaces; nasbench101 has none"),
        (lambda: convention_protocol("tenas"), "unknown pruning convention 'tenas'; did you mean 'te-nas'"),
        (lambda: convention_protocol("te-nas", batch=3), "unknown pruning setting 'batch'; did you mean 'batch_size'"),
        (lambda: convention_protocol("te-nas", batch_size=1), "batch_size must be an integer of at least 2, not 1"),
        (lambda: PruningProtocol(repeats=0), "repeats must be an integer of at least 1, not 0"),
        (lambda: PruningProtocol(kernel="fast"), "unknown kernel 'fast'"),
        (lambda: PruningProtocol(initialization="xavier"), "unknown initialization 'xavier'"),
        (lambda: replace(CONVENTIONS["te-nas"], crops=True), "crops must be an integer"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
