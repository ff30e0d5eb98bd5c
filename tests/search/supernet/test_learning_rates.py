"""The learning rate of every step of every supernet search, at its published length, against the originals' schedules.

The originals step their schedulers once an epoch. Under the PyTorch of their papers that came to "step after": epoch e
(from 0) trains with the rate of e (see :data:`prejudge.train.recipes.schedules.SCHEDULES`).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import prejudge
from prejudge.search.objectives.training import HNAS_TRAINING
from prejudge.spaces import space
from prejudge.train.loop import TrainState
from tests.datasets import few_digits
from tests.search.one_run import untrained_stages

STEPS = 3


def annealed(epochs: int, highest: float, lowest: float) -> list[float]:
    """torch.optim.lr_scheduler.CosineAnnealingLR, stepped after each epoch, in its closed form."""
    return [lowest + (highest - lowest) * (1 + math.cos(math.pi * e / epochs)) / 2 for e in range(epochs)]


DARTS, NB201 = annealed(50, 0.025, 1e-3), annealed(100, 0.025, 1e-3)
PROJECTION, PROJECTION_NB201 = [0.0025] * 81, [0.0025] * 25
STACNAS = annealed(80, 0.025, 1e-3)

CASES: dict[str, tuple[str, str, dict[str, Any], list[list[float]]]] = {
    "darts": ("darts", "darts-s2", {}, [DARTS]),
    "darts, second order": ("darts", "darts-s2", {"order": "second"}, [DARTS]),
    "darts on nasbench201": ("darts", "nasbench201", {}, [NB201]),
    "blank": ("blank", "darts-s2", {}, [DARTS]),
    "sdarts": ("sdarts", "darts-s2", {}, [DARTS]),
    "darts-pt": ("darts-pt", "darts", {}, [DARTS, PROJECTION]),
    "darts-pt on nasbench201": ("darts-pt", "nasbench201", {"supernet": "blank"}, [NB201, PROJECTION_NB201]),
    "ista": ("ista", "darts", {}, [annealed(50, 0.1, 1e-3)]),
    "ista-onestage": ("ista-onestage", "darts", {}, [[0.025] * 600, annealed(600, 0.025, 1e-3)]),
    "stacnas": ("stacnas", "darts", {"cells1": 3, "cells2": 3}, [STACNAS, STACNAS]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rates_of_every_step_are_the_originals(name: str) -> None:
    method, where, options, expected = CASES[name]
    tiny = {} if method == "stacnas" else {"cells": 1} if where == "nasbench201" else {"cells": 3}
    found = []
    for stage in untrained_stages(method, space(where), options=options, macro={"channels": 1, **tiny}):
        steps = [TrainState(e, stage.epochs, s, STEPS) for e in range(stage.epochs) for s in range(STEPS)]
        found.append([stage.learner.learning_rate(state) for state in steps])
    assert [len(rates) for rates in found] == [STEPS * len(rates) for rates in expected]
    for rates, original in zip(found, expected, strict=True):
        assert rates == pytest.approx([rate for rate in original for _ in range(STEPS)], rel=1e-13)


def test_the_rates_of_hnas_short_trainings() -> None:
    found = [HNAS_TRAINING.learning_rate_at(step, 10 * STEPS) for step in range(10 * STEPS)]
    assert found == pytest.approx([rate for rate in annealed(10, 0.1, 5e-3) for _ in range(STEPS)], rel=1e-13)


def test_closed_form_is_what_the_originals_schedulers_gave(golden: Path) -> None:
    said = json.loads((golden / "supernets" / "retrain.json").read_text())["schedules"]
    assert pytest.approx(said["search_step_after"], rel=1e-13) == DARTS
    assert STACNAS[1:] == pytest.approx(said["stacnas_search_step_before_modern"][:-1], rel=1e-13)
    assert annealed(50, 0.1, 1e-3)[1:] == pytest.approx(said["ista_search_lr01"][:-1], rel=1e-13)


def test_the_log_has_the_rate_of_every_epoch(tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_size": 8}
    macro = {"channels": 1, "cells": 1, "stages": 1}
    where = {"space": space("nasbench201"), "data": few_digits(32), "folder": tmp_path}
    prejudge.search.run("darts", seeds=[0], macro=macro, training=training, **where)
    lines = (tmp_path / "seed-0" / "supernet" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["learning_rate"] for line in lines] == pytest.approx([0.025, 0.013])
