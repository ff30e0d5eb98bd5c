"""Running methods over seeds and workers."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge import search
from prejudge.engine import LocalEngine
from prejudge.errors import BusyError, InputError, MissingDataError, PrejudgeError
from prejudge.formats.lock import writer_lock
from prejudge.search import (
    Budget,
    BudgetSpent,
    Evaluation,
    MappingObjective,
    Questions,
    SearchContext,
    SearchEvent,
    SearchResult,
    search_method,
)
from prejudge.search.registry import register
from prejudge.spaces import space
from tests.search.toy_objectives import Anywhere, Convolutions

S = space("nasbench201")


def texts(result: SearchResult) -> list[list[str]]:
    return [run.architectures for run in result.trajectories]


@pytest.fixture
def mine() -> Any:
    """A name for a method of a test, forgotten afterwards."""
    before = dict(register.items)
    yield "mine"
    register.items.clear()
    register.items.update(before)


def test_runs_are_in_the_order_of_the_seeds_and_do_not_depend_on_their_company() -> None:
    together = search.run("evolution", Convolutions(luck=1.0), Budget(queries=30), seeds=[4, 2, 4, 9])
    assert [run.seed for run in together.trajectories] == [4, 2, 9]
    alone = search.run("evolution", Convolutions(luck=1.0), Budget(queries=30), seeds=[9])
    assert texts(alone)[0] == texts(together)[2]
    np.testing.assert_array_equal(alone.trajectories[0].values, together.trajectories[2].values)
    assert len({tuple(t) for t in texts(together)}) == 3


def test_workers_change_nothing() -> None:
    one = search.run("evolution", Convolutions(luck=1.0), Budget(queries=20), seeds=range(6))
    two = search.run("evolution", Convolutions(luck=1.0), Budget(queries=20), seeds=range(6), workers=2)
    assert texts(one) == texts(two)
    assert [run.recommendation for run in one.trajectories] == [run.recommendation for run in two.trajectories]
    for a, b in zip(one.trajectories, two.trajectories, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_the_result_says_what_was_done() -> None:
    result = search.run("evolution(sample=2)", Convolutions(), Budget(seconds=20), seeds=[1], options={"population": 5})
    assert result.method == "evolution"
    assert result.options == {"population": 5, "sample": 2, "proxy": "", "warmup": 0, "proposal": 0.0}
    assert (result.space, result.objective["what"]) == ("nasbench201", "3x3 convolutions")
    assert result.budget == {"queries": None, "seconds": 20, "overshoot": False}
    run = result.trajectories[0]
    assert len(run.architectures) == len(run.values) == len(run.seconds) == len(run.epochs) == 20
    assert run.recommendation == run.architectures[int(np.argmax(run.values))]
    assert 0 < run.overhead < 10


def test_own_schedules_are_written_as_the_longest() -> None:
    scheduled = search.run("random", Convolutions(schedules=(4, 12)), Budget(queries=3))
    assert scheduled.trajectories[0].epochs.tolist() == [12, 12, 12]
    assert search.run("random", Convolutions(), Budget(queries=3)).trajectories[0].epochs.tolist() == [0, 0, 0]


def test_progress_counts_the_runs() -> None:
    seen: list[tuple[int, int]] = []
    search.run(
        "random",
        Convolutions(),
        Budget(queries=3),
        seeds=range(3),
        progress=lambda done, of, _: seen.append((done, of)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_method_of_ones_own(mine: str) -> None:
    @search_method(mine, reference="mine, 2026")
    def first_come(search: SearchContext, tries: int = 3) -> Questions:
        "Takes what comes."
        for index in range(tries):
            yield S.parse(index)
        search.metadata["tries"] = tries
        return S.parse(0)

    result = search.run("mine(tries=2)", Convolutions(), Budget(queries=99))
    assert texts(result) == [[str(S.parse(0)), str(S.parse(1))]]  # it may end before the budget does
    assert result.trajectories[0].recommendation == str(S.parse(0))
    assert result.trajectories[0].metadata == {"tries": 2}
    assert register.get(mine).summary == "Takes what comes."


def test_a_method_from_a_file_in_workers(mine: str, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from prejudge.search import search_method\n"
        "@search_method('own-method', reference='own')\n"
        "def own(search, first=0):\n"
        "    while True:\n"
        "        yield search.space[first]\n"
    )
    result = search.run(f"{file}:own-method(first=3)", Convolutions(), Budget(queries=2), seeds=[0, 1], workers=2)
    assert texts(result) == [[str(S.parse(3))] * 2] * 2
    with pytest.raises(MissingDataError, match=r"no search file .*other\.py"):
        search.run(f"{tmp_path / 'other.py'}:own", Convolutions(), Budget(queries=2))


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("evolutoin", {}, r"unknown search 'evolutoin'; did you mean 'evolution'\?"),
        ("evolution(size=3)", {}, r"unknown option of evolution 'size'"),
        ("evolution", {"options": {"populaton": 3}}, r"unknown option of evolution 'populaton'; did you mean 'popul"),
        ("evolution(3)", {}, r"cannot read search 'evolution\(3\)'; write NAME or NAME\(option=value\)"),
        ("local-search)", {}, r"cannot read search"),
        ("random()()", {}, r"cannot read search"),
        ("random", {"seeds": []}, "at least one seed"),
        ("random", {"seeds": [1, -1]}, "a seed must be an integer of at least 0, not -1"),
        ("random", {"seeds": [2.6]}, "a seed must be an integer of at least 0, not 2.6"),
        ("random", {"workers": 1.5}, "workers must be a positive integer, not 1.5"),
        ("evolution(population=2.5)", {}, "evolution: population must be an integer, not 2.5"),
        ("evolution", {"options": {"sample": True}}, "evolution: sample must be an integer, not True"),
        ("bohb", {"options": {"random_fraction": math.nan}}, "bohb: random_fraction must be a number, not nan"),
        ("bohb", {"options": {"ignore_epochs": 1}}, "bohb: ignore_epochs must be True or False, not 1"),
        ("bohb(kernel=3)", {}, "bohb: kernel must be a text, not 3"),
    ],
)
def test_what_cannot_be_run(method: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        search.run(method, Convolutions(), Budget(queries=3), **given)


def test_a_budget_smaller_than_one_evaluation() -> None:
    with pytest.raises(InputError, match=r"a budget of 5 s is smaller than one evaluation \(100 s of"):
        search.run("evolution", Convolutions(seconds=100), Budget(seconds=5))


def test_a_search_in_which_all_fail() -> None:
    with pytest.raises(InputError, match="the search evaluated 12 architectures, and none has a value"):
        search.run("random", Anywhere("nasbench201", fail=2.0), Budget(queries=12))


def test_an_architecture_without_a_value_ends_the_search() -> None:
    objective = MappingObjective(S, {}, remedy="compute them: prejudge score")
    with pytest.raises(InputError, match=r"there is no value of .* among 0; compute them: prejudge score"):
        search.run("evolution", objective, Budget(queries=12))


def test_nan_is_no_answer() -> None:
    objective = Anywhere("nasbench201", fail=0.9)
    for run in search.run("random", objective, Budget(queries=40), seeds=range(5)).trajectories:
        answered = run.values[run.architectures.index(run.recommendation)]
        assert not math.isnan(answered)
        assert answered == np.nanmax(run.values)


def test_searching_a_table_never_imports_torch() -> None:
    code = "import sys, prejudge.search; assert prejudge.search.run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_journal_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "journal").mkdir()
    lock = writer_lock(tmp_path / "journal" / "random-0.jsonl")
    monkeypatch.setattr("prejudge.engine.journal.ORPHAN_SECONDS", 0.0)
    with pytest.raises(BusyError, match="is being written"):
        search.run("random", Convolutions(), Budget(queries=3), folder=tmp_path / "journal")
    monkeypatch.setattr("prejudge.engine.journal.ORPHAN_SECONDS", 30.0)
    monkeypatch.setattr("time.sleep", lambda _: lock.release())  # as when the worker of a killed process ends
    assert len(search.run("random", Convolutions(), Budget(queries=3), folder=tmp_path / "journal").trajectories) == 1


class Elsewhere(LocalEngine):
    """An engine on other machines; it runs nothing, and keeps what its workers were to be set up with."""

    elsewhere = True
    in_process = False  # type: ignore[assignment]
    prepared: tuple[Any, ...] = ()

    def run(self, function: Any, jobs: Any, *, initializer: Any = None, initargs: tuple[Any, ...] = ()) -> Any:
        Elsewhere.prepared = initargs
        yield from ()


def test_a_device_is_looked_for_where_the_search_runs(tmp_path: Path) -> None:
    import torch

    objective = Convolutions()
    objective.device = "abacus"
    with pytest.raises(InputError, match="no device 'abacus' here"):
        search.run("random", objective, Budget(queries=3), folder=tmp_path / "journal")
    assert not (tmp_path / "journal").exists()
    with pytest.raises(KeyError):
        search.run("random", objective, Budget(queries=3), engine=Elsewhere(2))
    assert Elsewhere.prepared == (max(1, torch.get_num_threads() // 2), "abacus")


def test_an_engine_in_place_of_workers() -> None:
    alone = search.run("evolution", Convolutions(), Budget(queries=20), seeds=[1, 2])
    there = search.run("evolution", Convolutions(), Budget(queries=20), seeds=[1, 2], engine=LocalEngine(2))
    assert texts(alone) == texts(there)
    with pytest.raises(InputError, match="not both"):
        search.run("evolution", Convolutions(), Budget(queries=20), workers=2, engine=LocalEngine(2))


class Slow(Anywhere):
    """What the workers of a test answer with: noise that depends on the evaluation's luck, and where it was made."""

    def evaluate(self, arch: Any, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        found = super().evaluate(arch, epochs, rng)
        return found._replace(value=found.value + 0.1 * rng.random(), seconds=1.0 + os.getpid() * self.mark)

    mark = 0.0


METHODS = (
    "random", "evolution", "local-search", "local-search(first_improvement=False)", "reinforce",
    "successive-halving", "hyperband", "bohb",
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_questions_of_one_run_are_shared_by_workers(method: str) -> None:
    objective = Slow("nasbench201", fail=0.2, schedules=(1, 4, 12))
    one = search.run(method, objective, Budget(queries=50), seeds=[5])
    two = search.run(method, objective, Budget(queries=50), seeds=[5], workers=2)
    assert texts(one) == texts(two) and one.best == two.best
    for a, b in zip(one.trajectories, two.trajectories, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.epochs, b.epochs)


@pytest.mark.parametrize("overshoot", [False, True])
def test_budgets_of_seconds_are_counted_in_the_order_of_the_questions(overshoot: bool) -> None:
    objective, budget = Slow("nasbench201", schedules=(1, 4, 12)), Budget(seconds=20.5, overshoot=overshoot)
    one, two = (search.run("random", objective, budget, seeds=[1, 2], workers=w) for w in (1, 3))
    assert texts(one) == texts(two) and len(texts(one)[0]) == 20 + overshoot


def test_several_workers_really_answer() -> None:
    objective = Slow("nasbench201")
    objective.mark = 1.0
    run = search.run("random", objective, Budget(queries=30), workers=2).trajectories[0]
    places = {round(seconds - 1) for seconds in run.seconds.tolist()}
    assert len(places) == 2 and os.getpid() not in places


def test_a_shared_run_goes_on_where_it_was(tmp_path: Path) -> None:
    objective = Slow("nasbench201", schedules=(1, 4, 12))
    whole = search.run("successive-halving", objective, Budget(queries=40))
    search.run("successive-halving", objective, Budget(queries=40), folder=tmp_path, workers=2)
    file = tmp_path / "successive-halving-0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:20]))
    again = search.run("successive-halving", objective, Budget(queries=40), folder=tmp_path, workers=2)
    assert texts(whole) == texts(again)
    assert len(file.read_bytes().splitlines()) == len(lines)


def test_callbacks_are_told_of_every_evaluation() -> None:
    told: list[SearchEvent] = []
    search.run("random", Slow("nasbench201"), Budget(queries=6), seeds=[4], workers=2, callbacks=[told.append])
    assert [(e.seed, e.part, e.number, e.total) for e in told] == [(4, "", n, 6) for n in range(1, 7)]
    again: list[SearchEvent] = []
    run = search.run("random", Slow("nasbench201"), Budget(queries=6), seeds=[4], callbacks=[again.append])
    assert [e.details for e in told] == [e.details for e in again]
    assert [e.details.value for e in again] == run.trajectories[0].values.tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": None}, "random needs an objective"),
        ({"objective": None, "space": "nasbench201"}, "random needs an objective, such as a TableObjective"),
        ({"budget": None}, r"random needs a budget: Budget\(queries=…\)"),
        ({"space": "darts"}, "the objective is of nasbench201, not darts"),
        ({"device": "cpu"}, "asks its objective, which has its own device; leave device out"),
        ({"resume_from": "run"}, "does not start from the supernet of an earlier run"),
    ],
)
def test_what_a_search_needs(given: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"objective": Anywhere("nasbench201"), "budget": Budget(queries=3)}
    with pytest.raises(InputError, match=message):
        search.run("random", **arguments | given)


def test_a_method_must_yield(mine: str) -> None:
    @search_method(mine, reference="mine, 2026")
    def no_generator(search: SearchContext) -> Questions:  # type: ignore[return]
        "Asks nothing."

    with pytest.raises(InputError, match="mine: a search method yields its questions; its function has no yield"):
        search.run("mine", Anywhere("nasbench201"), Budget(queries=3))


def test_a_method_may_not_ask_on(mine: str) -> None:
    @search_method(mine, reference="mine, 2026")
    def stubborn(search: SearchContext) -> Questions:
        "Asks on."
        while True:
            with suppress(BudgetSpent):
                yield search.space.sample(search.rng)

    with pytest.raises(PrejudgeError, match="mine asks on although its budget is spent"):
        search.run("mine", Anywhere("nasbench201"), Budget(queries=3))
