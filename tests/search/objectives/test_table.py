"""A table as an objective: its schedules, and the budget that is usual for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import prejudge
from prejudge import search
from prejudge.benchmarks import Metric, Table, open_table, write_table
from prejudge.errors import InputError
from prejudge.search import Budget
from prejudge.search.objectives import TableObjective, open_objective

SPACE = prejudge.space("nasbench201")
SIZE = len(SPACE)


def made(path: Path, schedules: tuple[int, ...], seconds: float) -> Table:
    """Accuracy of architecture i after e epochs: i / 200 plus 3 less 3 / e; a training costs ``seconds`` an epoch."""
    columns = {Metric("a", "valid", e): np.arange(SIZE) / 200 + 3 - 3 / e for e in schedules}
    extra = {f"a_train_seconds_{e}ep": np.full(SIZE, seconds * e) for e in schedules}
    return open_table(write_table(path, "nasbench201", columns, extra=extra, units={"accuracy": "per cent"}))


@pytest.mark.parametrize("method", ["bohb", "hyperband", "successive-halving"])
def test_two_schedules_without_learning_curves_are_raced_on(tmp_path: Path, method: str) -> None:
    table = made(tmp_path / "t.h5", (12, 200), 0.5)
    assert open_objective(table, None, None, None, None).schedules == ()
    objective = open_objective(table, None, 200, None, None)
    assert objective.schedules == (12, 200)
    (run,) = search.run(method, objective, Budget(queries=40)).trajectories
    asked = list(zip(run.architectures, run.epochs.tolist(), run.values, run.seconds, strict=True))
    assert {epochs for _, epochs, *_ in asked} == {12, 200}
    for text, epochs, value, seconds in asked:
        assert value == pytest.approx(SPACE.index(SPACE.parse(text)) / 200 + 3 - 3 / epochs)
        assert seconds == pytest.approx(epochs / 2), "each schedule is a training of its own"
    with pytest.raises(InputError, match=r"on several schedules, the longest \(--epochs\)"):
        search.run(method, open_objective(table, None, None, None, None), Budget(queries=40))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.001, 2.4), (10.0, 12_000.0), (0.0, 0.0)],
)
def test_the_usual_budget_follows_from_the_table(tmp_path: Path, seconds: float, expected: float) -> None:
    assert TableObjective(made(tmp_path / "t.h5", (12,), seconds), "a", 12).usual_seconds() == expected


def test_the_usual_budget_of_the_digits_is_about_two_hundred_trainings() -> None:
    objective = open_objective(prejudge.benchmark("digits"), None, None, None, None)
    assert objective.usual_seconds() == objective.usual_seconds() == 50
