"""StacNAS: its supernets, one-level steps and transitions against the original's figures, and whole small runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import prejudge
from prejudge.errors import InputError
from prejudge.search.supernet.arch_parameters import SoftmaxParameters
from prejudge.search.supernet.architect import JointArchitect
from prejudge.search.supernet.learner import SupernetLearner
from prejudge.search.supernet.stacnas.method import RECIPE, alphas_of, winners
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import STACNAS_STAGE1, same_everywhere, stacnas_stage2
from prejudge.spaces.darts.discretization import strongest_edges
from prejudge.train.device import DeviceConfig
from prejudge.train.loop import Epoch, TrainState
from tests.datasets import few_digits
from tests.fills import close, filled, images
from tests.search.one_run import one_run

CELLS = ("normal", "reduce")


def flat(nested: list[Any]) -> list[Any]:
    """Edges of one cell, which the original keeps node by node."""
    return [edge for node in nested for edge in node]


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_the_supernets_and_three_steps_of_the_original(golden: Path, stage: str) -> None:
    said = json.loads((golden / "supernets" / "stacnas_supernet.json").read_text())[stage]
    with np.load(golden / "supernets" / "stacnas_supernet.npz") as stored:
        figures = {k.removeprefix(f"{stage}/"): stored[k] for k in stored.files if k.startswith(f"{stage}/")}
    candidates = {cell: tuple(map(tuple, flat(nodes))) for cell, nodes in zip(CELLS, said["primitives"], strict=True)}
    supernet = filled(space("darts").supernet(candidates=candidates, channels=4, cells=6))
    arch_parameters = SoftmaxParameters(candidates)
    assert isinstance(arch_parameters.alphas, torch.nn.ParameterDict)

    def stacked(what: str, cell: str) -> np.ndarray:
        return np.stack([figures[f"{what}_alpha_{cell}_{n}_{s}"] for n in range(4) for s in range(n + 2)])

    for cell in CELLS:
        arch_parameters.alphas[cell].data.copy_(torch.from_numpy(stacked("alpha", cell)))
    start = {name: value.clone() for name, value in supernet.state_dict().items()}
    x, y = images(1)
    logits = supernet(x, arch_parameters.mixture())
    close(logits, figures["logits"], 1e-4)
    loss = cross_entropy(logits, y)
    found = torch.autograd.grad(loss, [arch_parameters.alphas[cell] for cell in CELLS])
    for cell, gradient in zip(CELLS, found, strict=True):
        close(gradient, stacked("grad", cell), 2e-3)
    supernet.load_state_dict(start)
    search = SupernetLearner(
        supernet,  # type: ignore[arg-type]
        arch_parameters,
        prejudge.train.Recipe(**{**RECIPE.as_dict(), "epochs": 1, "min_learning_rate": 0.025}),
        DeviceConfig(),
        JointArchitect(arch_parameters.parameters()),
    )
    for step, (expected, _) in enumerate(said["loss_and_gradnorm"]):
        outcome = search.step(*images(10 + step), TrainState(0, 1, step, 3))
        assert float(outcome.loss) == pytest.approx(expected, rel=1e-4 if step == 0 else 0.03)
    for cell in CELLS:
        close(arch_parameters.alphas[cell], stacked("alpha_after3", cell), 3e-3)


def test_the_transition_between_the_stages_and_the_answer(golden: Path) -> None:
    cases = json.loads((golden / "supernets" / "stacnas_selection.json").read_text())["cases"]
    for number, case in enumerate(cases):
        if number in (4, 5):  # ties, which the original breaks as it happens
            continue
        values = {c: np.array(flat(nodes)) for c, nodes in zip(CELLS, case["alpha1"], strict=True)}
        second = stacnas_stage2(winners(values))
        expected = zip(CELLS, case["stage2_primitives"], strict=True)
        assert second == {c: tuple(map(tuple, flat(nodes))) for c, nodes in expected}
        found = strongest_edges(
            {c: np.array(flat(nodes)) for c, nodes in zip(CELLS, case["alpha2"], strict=True)}, second
        )
        for cell, nodes in zip(CELLS, case["final_genotype"], strict=True):
            assert [list(edge) for edge in getattr(found, cell)] == flat(nodes)


@pytest.mark.parametrize("options", [{}, {"train_ratio": 0.5, "share_alphas": False, "keep_zero": True}])
def test_both_stages_run(options: dict[str, Any]) -> None:
    run = one_run(
        "stacnas",
        space("darts"),
        few_digits(60),
        options={"cells1": 3, "cells2": 4, **options},
        macro={"channels": 2},
        training={"epochs": 1, "batch_size": 30},
    )
    assert [stage["name"] for stage in run.metadata["stages"]] == ["groups", "operations"]
    assert run.metadata["form"] == ("stacnas-zero" if options.get("keep_zero") else "stacnas")
    genotype = space("darts").parse(run.recommendation)
    assert "none" not in str(genotype)
    assert np.isnan(run.values).all() == (not options)
    of_cells = run.metadata.get("cell genotypes", {})
    assert list(of_cells) == (
        [] if options.get("share_alphas", True) else ["normal 0", "reduce 1", "reduce 2", "normal 3"]
    )
    assert all(len(edges) == 8 and edges[7][1] < 5 for edges in of_cells.values())
    space("darts").network(genotype, channels=4, cells=3, form=run.metadata["form"])


def test_what_the_paper_looks_at_is_kept_with_the_result() -> None:
    run = one_run(
        "stacnas",
        space("darts"),
        few_digits(60),
        options={"features": 40, "single_epochs": 1},
        macro={"channels": 2, "cells": 3},
        training={"epochs": 1, "batch_size": 30},
    )
    assert [stage["name"] for stage in run.metadata["stages"]][1:-1] == [f"only-{n}" for n in STACNAS_STAGE1[:-1]]
    found = run.metadata["features"]
    assert [(f["cell"], f["edge"]) for f in found] == [(c, e) for c in range(3) for e in (0, 13)]
    assert all(f["images"] == 40 and f["operations"] == list(STACNAS_STAGE1[:-1]) for f in found)
    assert all(np.diag(f["correlation"]) == pytest.approx(1) and set(f["clusters"]) == {"2", "3", "4"} for f in found)
    single = run.metadata["single operations"]
    assert [s["operation"] for s in single] == list(STACNAS_STAGE1[:-1])
    assert all(0 <= s["accuracy"] <= 100 and 0.19 < s["share"] < 0.21 for s in single)


def test_the_best_epoch_decides_where_images_are_held_out() -> None:
    def epoch(accuracy: float, value: float) -> Epoch:
        rows = [[value] * 5] * 14
        return Epoch(0.0, 0.0, 0.0, {"valid": accuracy}, {"parameters": {"normal": rows, "reduce": rows}})

    history = [epoch(10, 1.0), epoch(30, 2.0), epoch(20, 3.0)]
    assert alphas_of(history, best=True)["normal"][0, 0] == 2
    assert alphas_of(history, best=False)["reduce"][13, 4] == 3


def test_parameters_of_single_cells_are_averaged_by_type() -> None:
    parameters = {"normal 0": [[1.0, 0.0]] * 14, "reduce 1": [[5.0, 0.0]] * 14, "normal 2": [[2.0, 1.0]] * 14}
    found = alphas_of([Epoch(0.0, 0.0, 0.0, {}, {"parameters": parameters})], best=False)
    assert found["normal"][3].tolist() == [1.5, 0.5] and found["reduce"][0].tolist() == [5, 0]


def test_none_never_wins_a_group() -> None:
    values = {cell: np.tile([0.0, 1.0, 0.5, 0.2, 9.0], (14, 1)) for cell in CELLS}
    assert winners(values) == {cell: ["skip_connect"] * 14 for cell in CELLS}
    assert strongest_edges(values, same_everywhere(STACNAS_STAGE1)).normal[0] == ("skip_connect", 0)


def test_bad_settings_are_said() -> None:
    with pytest.raises(InputError, match="stacnas searches darts; it is not defined on nasbench201"):
        one_run("stacnas", space("nasbench201"), few_digits(60))
    with pytest.raises(InputError, match="train_ratio is a share of the images above 0 and up to 1, not 0"):
        one_run("stacnas(train_ratio=0)", space("darts"), few_digits(60))
