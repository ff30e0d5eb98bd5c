"""ISTA-NAS, two-stage: the original's trajectory, what learns and when, and going on after a kill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prejudge import cli
from prejudge.errors import InputError
from prejudge.search import read_result
from prejudge.search.registry import register
from prejudge.search.supernet.architect import AdamConfig, FirstOrderArchitect
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.ista.compressed import CompressedParameters
from prejudge.search.supernet.ista.learners import SparseLearner
from prejudge.search.supernet.ista.sparse_solvers import Solver, solver
from prejudge.search.supernet.ista.two_stage import RECIPE, ista
from prejudge.spaces import space
from prejudge.spaces.darts.genotype import CELLS
from prejudge.train.device import DeviceConfig
from prejudge.train.loop import TrainState, run_epochs
from tests.datasets import few_digits
from tests.fills import Given, filled, images
from tests.search.one_run import one_run

DARTS = space("darts")
SMALL = {"channels": 2, "cells": 2}
TRAINING = {"epochs": 2, "batch_size": 32}


class Doubled(Given):
    """The same in double precision."""

    def __init__(self, seeds: list[int]) -> None:
        super().__init__(seeds)
        self.batches = [(x.double(), y) for x, y in self.batches]


def learner(seed: int = 2, solve: Solver | None = None, dtype: torch.dtype = torch.float32, **macro: Any) -> Any:
    supernet = filled(DARTS.supernet(**{"channels": 4, "cells": 3, **macro})).to(dtype)
    arch_parameters = CompressedParameters(supernet.candidates, seed).to(dtype)  # type: ignore[arg-type]
    held_out = (Doubled if dtype == torch.float64 else Given)([60, 61, 62])
    architect = FirstOrderArchitect(arch_parameters.parameters(), held_out, AdamConfig(learning_rate=6e-4))
    recipe = replace(RECIPE, epochs=4)
    return SparseLearner(supernet, arch_parameters, recipe, DeviceConfig(), architect, solve or solver())  # type: ignore[arg-type]


def give(arch_parameters: CompressedParameters, values: Any) -> None:
    """Set b of the nodes, normal cell first, ``(8, 7)``."""
    with torch.no_grad():
        for name, value in zip(arch_parameters.nodes, values, strict=True):
            arch_parameters.b[name].copy_(torch.as_tensor(value))


def turns(count: int = 2) -> Solver:
    """A solver whose answers choose two other operations of each node's first edge every time, ``count`` in turns."""
    asked = iter(range(10_000))

    def solve(matrices: Any, targets: Any, penalty: float) -> list[np.ndarray]:
        first = (3, 5, 1, 0)[next(asked) % count]
        return [np.eye(a.shape[1])[first] + 2 * np.eye(a.shape[1])[first + 1] for a in matrices]

    return solve


def test_the_trajectory_of_the_original(golden: Path) -> None:
    """Four epochs of three steps. In double precision: single ones part from each other by more than from this."""
    told = json.loads((golden / "supernets" / "ista_twostage_traj.json").read_text())
    with np.load(golden / "supernets" / "ista_twostage_traj.npz") as stored:
        traced = dict(stored)
    search = learner(dtype=torch.float64)
    give(search.sparse, np.concatenate([traced[f"b0_{cell}"] for cell in CELLS]))
    rates = [epoch["lr_used"] for epoch in told["epochs"]]  # those of the epoch after, under newer PyTorch
    search.weight_step.learning_rate = lambda at: rates[at.epoch]
    trained = iter([loss for training, loss in told["losses_in_call_order"] if training][1::2])
    evaluated = iter([loss for training, loss in told["losses_in_call_order"] if not training])
    printed = [DARTS.parse(re.sub(r"np\.int64\((\d+)\)", r"\1", t)) for t in told["stdout"] if t.startswith("Gen")]
    for epoch in range(5):
        search.begin_epoch(epoch) if epoch < 4 else search.recover()
        alike = 0
        for number, name in enumerate(search.sparse.nodes):
            z = traced[f"z_{name}_epoch{epoch}"]
            assert np.abs(search.sparse.z(name) - z).max() <= (1e-9 if epoch == 0 else 5e-3)
            cell, node = name.split("_")
            pair = slice(2 * int(node), 2 * int(node) + 2)
            same = getattr(search.architecture(), cell)[pair] == getattr(printed[epoch], cell)[pair]
            third, second = np.sort(np.abs(z))[-3:-1]
            assert same or second - third < 5e-3, (epoch, number)  # closer than the rounding of the original
            alike += same
        assert alike == 8 if epoch == 0 else alike >= 7
        if epoch == 4:
            break
        for step in range(3):
            x, y = images(50 + step)
            loss = float(search.step(x.double(), y, TrainState(epoch, 4, step, 3)).loss)
            assert loss == pytest.approx(next(trained), rel=1e-5 if epoch == 0 else 0.03)
        search.network.eval()
        with torch.no_grad():
            for x, y in Doubled([60, 61, 62]).batches:
                assert float(search.loss(x, y)) == pytest.approx(next(evaluated), rel=1e-4 if epoch == 0 else 2e-3)
        weights = search.sparse.weights()
        for cell in CELLS:
            b = torch.stack([search.sparse.b[f"{cell}_{node}"] for node in range(4)]).detach().numpy()
            np.testing.assert_allclose(b, traced[f"b_{cell}_epoch{epoch + 1}"], rtol=0, atol=(epoch + 1) * 1e-3)
            if epoch == 0:  # while both have chosen the same
                expected = traced[f"w_{cell}_after_epoch0"]
                np.testing.assert_allclose(weights[cell].detach().numpy(), expected, rtol=0, atol=1e-3)


def test_operations_that_are_not_chosen_rest() -> None:
    search = learner(channels=2, cells=2)
    before = {name: p.clone() for name, p in search.supernet.named_parameters()}
    search.begin_epoch(0)
    for step in range(2):
        search.step(*images(50 + step, side=8), TrainState(0, 4, step, 2))
    chosen = {(cell, *place) for node in search.sparse.nodes for cell in CELLS if node.startswith(cell)
              for place in search.sparse.selected(node)}  # fmt: skip
    moved = set()
    for name, p in search.supernet.named_parameters():
        found = re.match(r"cells\.(\d+)\._ops\.(\d+)\._ops\.(\d+)\.", name)
        if found and not torch.equal(p, before[name]):
            cell, edge, position = map(int, found.groups())
            moved.add((search.supernet.kinds[cell], edge, position))
    assert moved and moved <= chosen


def test_newly_chosen_operations_learn_and_others_rest() -> None:
    """Each epoch runs other operations; their momentum begins when they do, and stays while they rest."""
    search = learner(solve=turns(), channels=2, cells=2)
    parameters = dict(search.supernet.named_parameters())
    steps: list[dict[str, Tensor]] = [{n: p.clone() for n, p in parameters.items()}]
    for epoch in range(3):
        search.begin_epoch(epoch)
        search.step(*images(50, side=8), TrainState(epoch, 4, 0, 1))
        steps.append({n: p.clone() for n, p in parameters.items()})
    runs = [{n for n in parameters if not torch.equal(a[n], b[n])} for a, b in pairwise(steps)]
    assert runs[0] - runs[1] and runs[1] - runs[0] and runs[2] == runs[0]


def test_what_an_epoch_has_trained_is_evaluated_and_recorded() -> None:
    search = learner(solve=turns(4), channels=2, cells=2)
    seen: list[str] = []
    history = run_epochs(
        search,
        Given([50]),
        3,
        device_config=DeviceConfig(),
        evaluate=lambda network: {"valid": float(seen.append(str(search.architecture())) is None)},
    )
    assert [epoch.metadata["architecture"] for epoch in history] == seen and len(set(seen)) == 3
    assert history[0].metadata["distance"] is None and history[1].metadata["distance"] == pytest.approx(10**0.5)
    assert 0 <= history[0].metadata["skip_share"] <= 1
    search.recover()
    assert str(search.architecture()) not in seen


def test_a_search_answers_with_the_choice_after_its_last_epoch() -> None:
    found = one_run("ista", DARTS, few_digits(96), seed=1, macro=SMALL, training=TRAINING)
    assert [len(found.architectures), len(found.values)] == [2, 2] and np.isfinite(found.values).all()
    again = one_run("ista", DARTS, few_digits(96), seed=1, macro=SMALL, training=TRAINING)
    assert found.recommendation == again.recommendation and found.architectures == again.architectures
    torch.manual_seed(1)
    stages = ista(SupernetContext(DARTS, 1, data=few_digits(96), macro=SMALL, training=TRAINING))
    stage = next(stages)
    run_epochs(stage.learner, stage.batches, stage.epochs, device_config=DeviceConfig())
    assert str(stage.learner.architecture()) == found.architectures[-1]
    stage.learner.recover()
    assert str(stage.learner.architecture()) == found.recommendation


def test_the_published_numbers() -> None:
    stage = next(ista(SupernetContext(DARTS, 2, data=few_digits(600), macro={"channels": 1, "cells": 1})))
    recipe = stage.learner.recipe
    assert (stage.epochs, recipe.batch_size, recipe.max_grad_norm, recipe.cutout) == (50, 256, 5.0, 0)
    rates = [stage.learner.weight_step.learning_rate(TrainState(epoch, 50, 0, 2)) for epoch in (0, 25, 49)]
    assert rates == pytest.approx([0.1, 0.0505, 0.00109768], rel=1e-5)
    (group,) = stage.learner.architect.optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (6e-4, (0.5, 0.999), 1e-3)
    expected = np.random.RandomState(2).rand(7, 14)
    np.testing.assert_array_equal(stage.learner.sparse.matrix("normal_0"), expected)
    assert len(stage.held_out) == 300


def test_a_solver_of_another_name_finds_the_same() -> None:
    pytest.importorskip("cvxpy")
    small = {"macro": {"channels": 1, "cells": 1}, "training": {"epochs": 1, "batch_size": 48}}
    answers = {
        one_run("ista", DARTS, few_digits(96), options={"solver": name}, **small).recommendation
        for name in ("exact", "cvxpy-clarabel")
    }
    assert len(answers) == 1


@pytest.mark.parametrize(("name", "options"), [("nasbench201", {}), ("darts-s3", {}), ("darts", {"solver": "scs"})])
def test_what_cannot_be_searched_is_named_in_one_line(name: str, options: dict[str, Any]) -> None:
    expected = r"solver 'scs' is refused" if options else rf"ista searches darts, .*; it is not defined on {name}"
    with pytest.raises(InputError, match=expected) as error:
        one_run("ista", space(name), few_digits(96), options=options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", register.get("ista").spaces)
def test_every_space_without_none_can_be_searched(name: str) -> None:
    found = one_run("ista", space(name), few_digits(64), macro=SMALL, training={**TRAINING, "epochs": 1})
    space(name).parse(found.recommendation)


KILLED = """
import os, signal, sys
from pathlib import Path
from prejudge.search import run
from prejudge.search.supernet.learner import SupernetLearner
from prejudge.spaces import space
from prejudge.data.loading import load
from prejudge.train.learner import SupervisedLearner

method, folder, phase, arguments = sys.argv[1], Path(sys.argv[2]), sys.argv[3], eval(sys.argv[4])
kind = SupervisedLearner if phase == "final" else SupernetLearner
step = kind.step

def killed(self, inputs, targets, at):
    if (at.epoch, at.step) == (1, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, inputs, targets, at)

kind.step = killed
run(method, space=space("darts"), data=load("digits").subset(slice(96)), folder=folder,
    seeds=[arguments.pop("seed")], **arguments)
"""


def kill_in_the_second_epoch(method: str, folder: Path, phase: str, arguments: dict[str, Any]) -> None:
    """Run a search in another process that is killed at the second step of a phase's second epoch."""
    command = [sys.executable, "-c", KILLED, method, str(folder), phase, repr(arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert child.returncode == -9, child.stderr


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"seed": 3, "macro": SMALL, "training": {"epochs": 2, "batch_size": 16}}
    whole = one_run("ista", DARTS, few_digits(96), **arguments)
    kill_in_the_second_epoch("ista", tmp_path, "supernet", arguments)
    kept = torch.load(tmp_path / "seed-3" / "supernet" / "last.pt", weights_only=True)
    assert kept["epoch"] == 1
    gone_on = one_run("ista", DARTS, few_digits(96), folder=tmp_path, **arguments)
    assert gone_on.recommendation == whole.recommendation and gone_on.architectures == whole.architectures
    np.testing.assert_array_equal(gone_on.values, whole.values)


@pytest.mark.parametrize("method", ["ista", "ista-onestage"])
def test_the_command_line(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.h5"
    words = ["search", method, "--space", "darts", "--data", "digits", "--out", str(out), "--batch-size", "250"]
    words += ["--channels", "2", "--cells", "2", "--epochs", "1", "--option", "solver=exact", "--json"]
    assert cli.run(words) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["recommendation"] == read_result(out).best
    weights = tmp_path / "x.h5.run" / "seed-0" / "network.safetensors"
    assert weights.exists() == (method == "ista-onestage")
