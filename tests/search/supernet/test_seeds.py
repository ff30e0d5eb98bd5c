"""Gradient searches from several seeds by an engine: the runs that there are one after the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from prejudge.data.loading import load
from prejudge.engine import LocalEngine
from prejudge.errors import BusyError, InputError
from prejudge.formats.lock import writer_lock
from prejudge.search.result import Trajectory
from prejudge.search.supernet import SeedRun, search_gradient, search_seeds
from prejudge.spaces import space
from prejudge.train.device import DeviceConfig

SPACE = space("nasbench201")
NUMBERS: dict[str, Any] = {
    "macro": {"channels": 2, "cells": 1, "stages": 1}, "training": {"epochs": 1, "batch_size": 16}
}  # fmt: skip


def one(folder: Path | None = None, device: str = "cpu") -> SeedRun:
    return SeedRun(
        "darts", SPACE, load("digits").subset(slice(0, 48)), partial(DeviceConfig, device), folder=folder, **NUMBERS
    )


def facts(run: Trajectory) -> Any:
    return run.seed, run.recommendation, run.architectures, run.values.tolist(), run.metadata


def alone(seed: int) -> Trajectory:
    return search_gradient("darts", SPACE, load("digits").subset(slice(0, 48)), seed=seed, **NUMBERS)


def test_runs_are_those_one_after_the_other(tmp_path: Path) -> None:
    told: list[Any] = []
    found = search_seeds(one(tmp_path / "run"), [3, 1, 3], LocalEngine(1), progress=lambda *now: told.append(now[:2]))
    assert [facts(run) for run in found] == [facts(alone(3)), facts(alone(1))]
    assert told == [(1, 2), (2, 2)]
    assert {path.name for path in (tmp_path / "run").glob("seed-?")} == {"seed-1", "seed-3"}


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
        search_seeds(one(device="abacus"), [4], Elsewhere(1), device="abacus")
    assert Elsewhere.asked == (4, torch.get_num_threads(), "abacus")
    with pytest.raises(InputError, match="no device 'abacus'"):
        one(device="abacus")(4)


def test_a_run_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prejudge.search.running.ORPHAN_SECONDS", 0.0)
    lock = writer_lock(tmp_path / "seed-0")
    with pytest.raises(BusyError, match="is being written"):
        one(tmp_path)(0)
    lock.release()
    assert one(tmp_path)(0).seed == 0
