"""Searches of tables that are interrupted: runs that have ended are kept, and not done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge import search
from prejudge.engine.journal import read_journal
from prejudge.errors import FileFormatError, InputError
from prejudge.search import Budget, finished
from prejudge.search.finished import FinishedRuns, discard
from prejudge.search.result import SearchResult, Trajectory
from tests.search.toy_objectives import Convolutions


def run(path: Path | None, stop_after: int | None = None, *, seeds: int = 5, **more: Any) -> tuple[SearchResult, int]:
    objective = Convolutions(stop_after=stop_after)
    objective.live = False
    budget = Budget(queries=more.pop("queries", 10))
    result = search.run(more.pop("method", "random"), objective, budget, seeds=range(seeds), finished=path, **more)
    return result, len(objective.asked)


def rows(result: SearchResult) -> list[Any]:
    return [
        (t.seed, t.recommendation, t.architectures, *(a.tobytes() for a in (t.epochs, t.values, t.seconds)), t.metadata)
        for t in result.trajectories
    ]


@pytest.mark.parametrize("seconds", [0.0, 99.0], ids=["each at once", "when it is interrupted"])
def test_finished_runs_are_kept(seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished, "KEEP_SECONDS", seconds)
    path = tmp_path / "out.h5.run" / "random.jsonl"
    whole, asked = run(None)
    assert asked == 50
    with pytest.raises(KeyboardInterrupt):
        run(path, 25)  # in the middle of the third run
    journal = read_journal(path)
    assert journal is not None and [record["seed"] for record in journal.records] == [0, 1]
    again, asked = run(path)
    assert asked == 30
    assert rows(again) == rows(whole)
    wider, asked = run(path, seeds=7)
    assert asked == 20 and rows(wider)[:5] == rows(whole)
    discard(path)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_while_the_journal_is_begun_loses_nothing(tmp_path: Path) -> None:
    interrupted = []

    def interrupt(_: Path) -> None:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(finished, "KEEP_SECONDS", 0.0)
        patched.setattr("prejudge.engine.journal.sync_folder", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "random.jsonl")
    journal = read_journal(tmp_path / "random.jsonl")
    assert interrupted and journal is not None and [record["seed"] for record in journal.records] == [0]


def test_short_searches_leave_no_file(tmp_path: Path) -> None:
    run(tmp_path / "folder" / "random.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "random.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(path, 25)
    with pytest.raises(InputError, match=r"belongs to another run: budget.queries is 10 there and 11 here"):
        run(path, queries=11)


def test_a_changed_method_of_ones_own_does_not_take_its_old_runs(tmp_path: Path) -> None:
    method = tmp_path / "mine.py"
    text = (
        "from prejudge.search import search_method\n"
        "@search_method('first', reference='mine, 2026')\n"
        "def first(context):\n"
        "    while True:\n"
        "        yield context.space[{number}]\n"
    )
    path = tmp_path / "first.jsonl"
    method.write_text(text.format(number=3))
    with pytest.raises(KeyboardInterrupt):
        run(path, 25, method=f"{method}:first")
    method.write_text(text.format(number=4))
    with pytest.raises(InputError, match="belongs to another run: source is"):
        run(path, method=f"{method}:first")


def test_all_numbers_survive(tmp_path: Path) -> None:
    values = np.array([np.nan, -np.inf, 0.1 + 0.2, -0.0, 5e-324])
    made = Trajectory(
        3, "a", ["a"] * 5, np.arange(5, dtype=np.int32), values, values[::-1].copy(), 0.1, {"x": [np.nan]}
    )
    with pytest.raises(ZeroDivisionError), FinishedRuns(tmp_path / "x.jsonl", {}) as kept:
        kept.add(made)
        raise ZeroDivisionError
    with FinishedRuns(tmp_path / "x.jsonl", {}) as kept:
        found = kept.runs[3]
    for name in ("epochs", "values", "seconds"):
        assert getattr(found, name).tobytes() == getattr(made, name).tobytes()
        assert getattr(found, name).dtype == getattr(made, name).dtype
    assert json.dumps(found.metadata) == json.dumps(made.metadata)


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    from prejudge.engine.journal import Journal

    with Journal(tmp_path / "x.jsonl", {}, "search runs") as journal:
        journal.append({"seed": 3, "run": "{}"})
    with (
        pytest.raises(FileFormatError, match=r"x.jsonl, line 2: not a run of a search"),
        FinishedRuns(tmp_path / "x.jsonl", {}),
    ):
        pass
