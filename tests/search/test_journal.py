"""Searches that were interrupted go on as if nothing had happened."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from prejudge.errors import FileFormatError, InputError
from prejudge.search import Budget, Evaluation, Trajectory, run_search
from prejudge.search.journal import Journal
from tests.search.toy_objectives import Convolutions

METHODS = ("random", "evolution", "local-search", "reinforce", "hyperband", "bohb")
QUERIES = 40


def go(method: str, folder: Path, **options: object) -> tuple[Trajectory, Convolutions]:
    objective = Convolutions(luck=1.0, fail=True, schedules=(1, 4, 12), **options)  # type: ignore[arg-type]
    result = run_search(method, objective, Budget(queries=QUERIES), seeds=[5], journal=folder)
    return result.trajectories[0], objective


def same(one: Trajectory, other: Trajectory) -> bool:
    return (
        (one.architectures, one.answer, one.facts) == (other.architectures, other.answer, other.facts)
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
    with pytest.raises(InputError, match=r"random-5.jsonl was begun by another search; remove it, or choose another"):
        run_search("random", Convolutions(luck=1.0), Budget(queries=99), seeds=[5], journal=tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 5000,
        f'["a", null, {"9" * 400}, 1.0]',
        f'["a", null, {"9" * 5000}, 1.0]',
        "[3, null, 1.0, 1.0]",
        '["a", "x", 1.0, 1.0]',
        "nonsense",
        "[1, 2]",
        "null",
        '["a", null, "high", 1.0]',
        '["a", null, 1.0, null]',
        '["a", null, 1.0, 1.0, 1.0]',
    ],
)
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    go("random", tmp_path)
    file = tmp_path / "random-5.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], line, *lines[4:]]) + "\n")
    with pytest.raises(FileFormatError, match=r"random-5.jsonl, line 4: no evaluation of a search"):
        go("random", tmp_path)


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    go("random", tmp_path)
    file = tmp_path / "random-5.jsonl"
    lines = file.read_text().splitlines()
    lines[3] = lines[7]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"line 4: the search now asks for .* written by another version; remove it"):
        go("random", tmp_path)


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    found = [Evaluation(0.1 + 0.2, 1 / 3), Evaluation(math.nan, 0.0), Evaluation(-math.inf, 1e-300)]
    plan: dict[str, object] = {"method": "mine", "folder": tmp_path}
    with Journal(tmp_path / "j", plan) as journal:
        for number, evaluation in enumerate(found):
            journal.answer(f"arch {number}", number or None, lambda e=evaluation: e)  # type: ignore[misc]
    with Journal(tmp_path / "j", plan) as journal:
        again = [journal.answer(f"arch {n}", n or None, pytest.fail) for n in range(3)]
    assert again[0] == found[0]
    assert math.isnan(again[1].value) and again[1].seconds == 0
    assert again[2] == found[2]
    assert json.loads((tmp_path / "j").read_text().splitlines()[2])[2] is None
