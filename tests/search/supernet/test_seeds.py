"""Supernet searches from several seeds by an engine: the runs that there are one after the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from prejudge.data.loading import load
from prejudge.engine import LocalEngine
from prejudge.errors import BusyError, InputError
from prejudge.formats import lock
from prejudge.search import Trajectory, run
from prejudge.spaces import space
from prejudge.train.device import DeviceConfig

SPACE = space("nasbench201")
NUMBERS: dict[str, Any] = {
    "macro": {"channels": 2, "cells": 1, "stages": 1}, "training": {"epochs": 1, "batch_size": 16}
}  # fmt: skip


def search(seeds: list[int], **others: Any) -> list[Trajectory]:
    data = load("digits").subset(slice(0, 48))
    return run("darts", space=SPACE, data=data, seeds=seeds, **{**NUMBERS, **others}).trajectories


def values(run: Trajectory) -> Any:
    return run.seed, run.recommendation, run.architectures, run.values.tolist(), run.metadata


def test_runs_are_those_one_after_the_other(tmp_path: Path) -> None:
    told: list[Any] = []
    engine = LocalEngine(2)
    found = search([3, 1, 3], folder=tmp_path / "run", engine=engine, progress=lambda *now: told.append(now[:2]))
    assert [values(run) for run in found] == [values(search([seed])[0]) for seed in (3, 1)]
    assert told == [(1, 2), (2, 2)]
    assert {path.name for path in (tmp_path / "run").glob("seed-?")} == {"seed-1", "seed-3"}


def test_the_callers_random_numbers_stay() -> None:
    before = torch.get_rng_state()
    search([5])
    assert torch.equal(torch.get_rng_state(), before)


class Elsewhere(LocalEngine):
    """An engine on other machines; it runs nothing, and keeps what it was asked for."""

    elsewhere = True
    in_process = False  # type: ignore[assignment]
    asked: tuple[Any, ...] = ()

    def run(self, function: Any, jobs: Any, *, initializer: Any = None, initargs: tuple[Any, ...] = ()) -> Any:
        Elsewhere.asked = (*jobs, *initargs)
        yield from ()


def test_a_device_is_looked_for_where_the_run_takes_place() -> None:
    with pytest.raises(KeyError):
        search([4], device="abacus", engine=Elsewhere(1))
    assert Elsewhere.asked == (4, torch.get_num_threads(), "abacus")
    for device in ("abacus", partial(DeviceConfig, "abacus")):
        with pytest.raises(InputError, match="no device 'abacus'"):
            search([4], device=device)


def test_a_run_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prejudge.engine.journal.ORPHAN_SECONDS", 0.0)
    held = lock.writer_lock(tmp_path / "darts-0.jsonl")
    with pytest.raises(BusyError, match="is being written"):
        search([0], folder=tmp_path)
    held.release()
    assert search([0], folder=tmp_path)[0].seed == 0
