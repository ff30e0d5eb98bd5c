"""Searches that were interrupted go on as if nothing had happened."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge import search
from prejudge.engine.journal import Journal, read_journal
from prejudge.errors import FileFormatError, InputError
from prejudge.search import Budget, Evaluation, Trajectory
from prejudge.search.records import RunRecords
from tests.search.toy_objectives import Convolutions

METHODS = ("random", "evolution", "local-search", "reinforce", "hyperband", "bohb")
QUERIES = 40


def go(method: str, folder: Path, **options: object) -> tuple[Trajectory, Convolutions]:
    objective = Convolutions(luck=1.0, fail=True, schedules=(1, 4, 12), **options)  # type: ignore[arg-type]
    result = search.run(method, objective, Budget(queries=QUERIES), seeds=[5], folder=folder)
    return result.trajectories[0], objective


def same(one: Trajectory, other: Trajectory) -> bool:
    return (
        (one.architectures, one.recommendation, one.metadata)
        == (other.architectures, other.recommendation, other.metadata)
        and np.array_equal(one.values, other.values, equal_nan=True)
        and np.array_equal(one.seconds, other.seconds)
        and np.array_equal(one.epochs, other.epochs)
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_search_goes_on_where_it_was(method: str, tmp_path: Path) -> None:
    whole, _ = go(method, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go(method, tmp_path / "cut", stop_after=17)
    resumed, objective = go(method, tmp_path / "cut")
    assert same(resumed, whole)
    assert len(objective.asked) == QUERIES - 17


def test_wherever_the_file_ends_the_search_is_the_same(tmp_path: Path) -> None:
    whole, _ = go("evolution", tmp_path)
    file = tmp_path / "evolution-5.jsonl"
    content = file.read_bytes()
    assert content.count(b"\n") == QUERIES + 1
    for end in (0, 5, content.index(b"\n"), content.index(b"\n") + 1, *np.linspace(300, len(content), 12).astype(int)):
        file.write_bytes(content[:end])
        resumed, objective = go("evolution", tmp_path)
        assert same(resumed, whole)
        assert len(objective.asked) == QUERIES - max(0, content[:end].count(b"\n") - 1)
        assert file.read_bytes() == content


def test_a_longer_budget_is_another_search(tmp_path: Path) -> None:
    go("random", tmp_path)
    with pytest.raises(
        InputError, match=r"random-5.jsonl belongs to another run: budget.queries is 40 there and 99 here; remove it"
    ):
        search.run("random", Convolutions(luck=1.0), Budget(queries=99), seeds=[5], folder=tmp_path)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"value": "high"}, "not an evaluation of a search"),
        ({"value": None}, "not an evaluation of a search"),
        ({"seconds": None}, "not an evaluation of a search"),
        ({"seconds": [1.0]}, "not an evaluation of a search"),
        ({"value": 10**400}, "not an evaluation of a search"),
        ({"step": "second"}, "not an answer of a search"),
        ({"step": None}, "not an answer of a search"),
    ],
)
def test_a_record_that_is_none_is_named(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    go("random", tmp_path)
    rewrite(tmp_path / "random-5.jsonl", lambda records: records[2].update(record))
    with pytest.raises(FileFormatError, match=rf"random-5.jsonl, line 4: {message}"):
        go("random", tmp_path)


def rewrite(file: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Write a journal anew with other records."""
    contents = read_journal(file)
    assert contents is not None and contents.plan is not None
    change(contents.records)
    file.unlink()
    with Journal(file, contents.plan, contents.kind) as journal:
        for record in contents.records:
            journal.append(record)


@pytest.mark.parametrize("line", ["nonsense", "[1, 2]", "[" * 5000, "00000000 {}"])
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    go("random", tmp_path)
    file = tmp_path / "random-5.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], line, *lines[4:]]) + "\n")
    with pytest.raises(FileFormatError, match=r"random-5.jsonl: line 4 is damaged"):
        go("random", tmp_path)


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    go("random", tmp_path)
    rewrite(tmp_path / "random-5.jsonl", lambda records: records[2].update(architecture=records[6]["architecture"]))
    with pytest.raises(InputError, match=r"line 4: the search now asks for .* written by another version; remove it"):
        go("random", tmp_path)


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    found = [Evaluation(0.1 + 0.2, 1 / 3), Evaluation(math.nan, 0.0), Evaluation(-math.inf, 1e-300)]
    plan: dict[str, object] = {"method": "mine", "folder": tmp_path}
    with RunRecords(tmp_path / "j", plan) as records:
        for number, evaluation in enumerate(found):
            records.put(number, f"arch {number}", number or None, evaluation)
        records.keep("stage 1", {"figure": 0.5})
    with RunRecords(tmp_path / "j", plan) as records:
        again = [records.evaluation(n, f"arch {n}", n or None) for n in range(3)]
        assert records.find("stage 1") == {"figure": 0.5} and records.find("stage 2") is None
        assert records.evaluation(3, "arch 3", None) is None
    assert again[0] == found[0] and again[2] == found[2]
    assert again[1] is not None and math.isnan(again[1].value) and again[1].seconds == 0
