"""ISTA-NAS, one-stage: the original's trajectory, absorption, freezing, the trained network, going on after a kill."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from prejudge import cli
from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.search.supernet.architect import AdamConfig, JointArchitect
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.ista.batch_norm_folding import FORM, derive, fold
from prejudge.search.supernet.ista.compressed import CompressedParameters
from prejudge.search.supernet.ista.learners import DerivedNetworkLearner, FreezingLearner
from prejudge.search.supernet.ista.one_stage import NORMS, RECIPE, WEIGHTS, final_phase, ista_onestage, search_phase
from prejudge.search.supernet.ista.sparse_solvers import solver
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS7, EDGES, same_everywhere
from prejudge.spaces.darts.genotype import CELLS
from prejudge.spaces.darts.network import CellModuleDARTS
from prejudge.spaces.darts.supernet import SupernetDARTS
from prejudge.spaces.nn.supernet import weighted
from prejudge.train.device import DeviceConfig
from prejudge.train.export.weights import load_weights
from prejudge.train.loop import Learner, TrainState
from tests.datasets import few_digits
from tests.fills import filled, images
from tests.search.one_run import one_run
from tests.search.supernet.ista.test_two_stage import give, kill_in_the_second_epoch

DARTS = space("darts")
SMALL = {"channels": 2, "cells": 3}
TRAINING = {"epochs": 2, "batch_size": 32}


def supernet(seed: int = 0, **macro: Any) -> SupernetDARTS:
    torch.manual_seed(seed)
    return DARTS.supernet(**{**SMALL, **NORMS, "auxiliary": True, **macro})  # type: ignore[return-value]


def recovered(dtype: torch.dtype = torch.float64) -> CompressedParameters:
    """A weighting whose weights are not small."""
    arch_parameters = CompressedParameters(same_everywhere(DARTS7), 5, torch.Generator().manual_seed(5)).to(dtype)
    give(arch_parameters, np.random.default_rng(0).normal(size=(8, 7)))
    arch_parameters.recover(solver())
    arch_parameters.freeze(arch_parameters.nodes)
    return arch_parameters


def candidate_norms(network: SupernetDARTS) -> dict[str, list[nn.BatchNorm2d]]:
    """The batch norms of the operations into each node, in all cells of a type."""
    found: dict[str, list[nn.BatchNorm2d]] = {f"{cell}_{node}": [] for cell in CELLS for node in range(4)}
    for name, module in network.named_modules():
        place = re.match(r"cells\.(\d+)\._ops\.(\d+)\._ops\.", name)
        if place and isinstance(module, nn.BatchNorm2d):
            found[f"{network.kinds[int(place[1])]}_{EDGES[int(place[2])][0]}"].append(module)
    return found


def run_epoch(learner: Learner, number: int, epochs: int) -> tuple[list[float], list[float]]:
    """Losses of three steps, and of two batches in evaluation mode after them, as the original's were traced."""
    learner.begin_epoch(number)
    trained = []
    for step in range(3):
        x, y = images(50 + step)
        trained.append(float(learner.step(x.double(), y, TrainState(number, epochs, step, 3)).loss))
    learner.network.eval()
    with torch.no_grad():
        tested = [float(F.cross_entropy(learner.network(x.double()), y)) for x, y in (images(60), images(61))]
    return trained, tested


def test_the_trajectory_of_the_original(golden: Path) -> None:
    """Three epochs of search and three of the final phase, with weights, momenta and learning rate going over."""
    told = json.loads((golden / "supernets" / "ista_onestage_traj.json").read_text())
    network = filled(supernet(channels=4, auxiliary=False)).double()
    arch_parameters = CompressedParameters(network.candidates, 5)  # type: ignore[arg-type]
    give(arch_parameters, told["b0"])
    arch_parameters = arch_parameters.double()
    recipe = replace(RECIPE, epochs=3, auxiliary_weight=0.0, drop_path=0.0)
    constant = replace(recipe, schedule="constant", min_learning_rate=0.0)
    architect = JointArchitect(arch_parameters.parameters())
    sizes: list[float] = []

    def size(genotype: Any) -> bool:
        sizes.append(DARTS.params(genotype, form=FORM) / 1e6)
        return True

    search = FreezingLearner(network, arch_parameters, constant, DeviceConfig(), architect, solver(), size)  # type: ignore[arg-type]
    losses = iter(told["losses_in_call_order"])
    expected = [{True: [], False: []} for _ in range(6)]  # type: ignore[var-annotated]
    for epoch in range(6):
        for _ in range(5):
            training, loss = next(losses)
            expected[epoch][training].append(loss)
    for epoch in range(3):
        assert not search.finished
        trained, tested = run_epoch(search, epoch, 600)
        after, flags = told["epochs"][epoch], told["flags"][epoch]
        assert trained == pytest.approx(expected[epoch][True], rel=1e-5)
        assert tested == pytest.approx(expected[epoch][False], rel=1e-5)
        assert [arch_parameters.is_frozen(n) for n in arch_parameters.nodes] == flags["normal_flags"] + flags[
            "reduce_flags"
        ]
        assert [arch_parameters.b[n].requires_grad for n in arch_parameters.nodes] == after["b_requires_grad"]
        for name, b in zip(arch_parameters.nodes, after["b"], strict=True):
            np.testing.assert_allclose(arch_parameters.b[name].detach(), b, rtol=0, atol=1e-5)
        weights = arch_parameters.weights()["normal"].detach()
        np.testing.assert_allclose(weights, after["w_normal"], rtol=0, atol=1e-5)
        norms = [norm for group in candidate_norms(search.whole).values() for norm in group]
        assert sum(p.requires_grad for n in norms for p in n.parameters()) == after["frozen_bn_trainable"]
        assert search.weight_step.optimizer.param_groups[0]["lr"] == after["lr"] == 0.025
        moved = [d for kind in CELLS for d in flags[f"dist_{kind}"]]
        facts = search.end_epoch(epoch)
        assert facts["distance"] == (pytest.approx(max(moved), rel=1e-2) if epoch else None)
        assert facts["architecture"] == str(DARTS.parse(re.sub(r"np\.int64\((\d+)\)", r"\1", told["stdout"][epoch])))
    assert search.finished and sizes == pytest.approx([told["flags"][epoch]["params_M"] for epoch in (1, 2)])
    final = DerivedNetworkLearner(
        derive(search.whole, arch_parameters), arch_parameters.genotype(), recipe, DeviceConfig(), search.weight_step
    )
    for epoch in range(3):
        trained, tested = run_epoch(final, epoch, 3)
        assert trained == pytest.approx(expected[3 + epoch][True], rel=2e-5 if epoch == 0 else 5e-3, abs=2e-3)
        assert tested == pytest.approx(expected[3 + epoch][False], rel=1e-3)
        if epoch < 2:  # what was traced is the rate of the epoch after
            assert recipe.learning_rate_at(epoch + 1, 3) == pytest.approx(told["epochs"][3 + epoch]["lr"])


def test_folded_weights_of_the_original(golden: Path) -> None:
    """The supernet's outputs with given weights, and those of the network whose batch norms are scaled by them."""
    rows = json.loads((golden / "supernets" / "params.json").read_text())
    rows = rows["rows"] if isinstance(rows, dict) else rows
    (row,) = [row["genotype"] for row in rows if row["name"] == "ista:ISTA_onestage"]
    with np.load(golden / "supernets" / "ista_onestage_net.npz") as stored:
        traced = dict(stored)
    matrices = {cell: torch.from_numpy(traced[f"w_{cell}"]) for cell in CELLS}
    active = {cell: [edge.nonzero().flatten().tolist() for edge in matrix] for cell, matrix in matrices.items()}
    network = filled(supernet(channels=8, cells=5))
    with torch.no_grad():
        logits, auxiliary = network(images(1)[0], weighted({c: m.unbind() for c, m in matrices.items()}, active), True)
    np.testing.assert_allclose(logits, traced["logits_train"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(auxiliary, traced["aux_logits"], rtol=1e-4, atol=1e-4)
    genotype = DARTS.parse(
        f"Genotype(normal={[tuple(e) for e in row['normal']]}, normal_concat=[2, 3, 4, 5], "
        f"reduce={[tuple(e) for e in row['reduce']]}, reduce_concat=[2, 3, 4, 5])"
    )
    vectors = []
    for cell in CELLS:
        for node in range(4):
            z = np.zeros(7 * (node + 2))
            for rank, (name, source) in enumerate(getattr(genotype, cell)[2 * node : 2 * node + 2], start=1):
                z[7 * source + DARTS7.index(name)] = rank
            vectors.append(z)
    arch_parameters = CompressedParameters(same_everywhere(DARTS7), 5)
    arch_parameters.recover(lambda matrices, targets, penalty: vectors)
    assert arch_parameters.genotype() == genotype
    chosen = {node: arch_parameters.selected(node) for node in arch_parameters.nodes}
    given = {n: torch.stack([matrices[n.split("_")[0]][place] for place in places]) for n, places in chosen.items()}
    arch_parameters.selected_weights = lambda: given  # type: ignore[method-assign]
    found = derive(network, arch_parameters).network  # type: ignore[arg-type]
    fold(found)
    with torch.no_grad():
        np.testing.assert_allclose(found(images(1)[0]), traced["derived_logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", ["darts", "darts-s1"])
def test_the_derived_network_is_the_supernet(name: str, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    network: Any = space(name).supernet(**{**SMALL, **NORMS, "auxiliary": True}).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    arch_parameters = CompressedParameters(network.candidates, 1).to(dtype)
    give(arch_parameters, np.random.default_rng(1).normal(size=(8, 7)))
    arch_parameters.recover(solver())
    x = torch.randn(8, 3, 16, 16, dtype=dtype)
    with torch.no_grad():
        network.train()(x, arch_parameters.mixture())  # running statistics of a batch
        network.eval()
        derived = derive(network, arch_parameters).network
        factored = derived.eval()(x, auxiliary=True)
        fold(derived)
        for expected, plain, folded in zip(
            network(x, arch_parameters.mixture(), auxiliary=True), factored, derived(x, auxiliary=True), strict=True
        ):
            scale = float(expected.abs().max())
            torch.testing.assert_close(plain, expected, rtol=0, atol=tolerance * scale)
            torch.testing.assert_close(folded, expected, rtol=0, atol=tolerance * scale)
            assert scale > 1e-3
    assert not any(parametrize.is_parametrized(module) for module in derived.modules())
    other = space(name).network(arch_parameters.genotype(), form=FORM, auxiliary=True, **SMALL).to(dtype).eval()
    other.load_state_dict(derived.state_dict())
    assert torch.equal(other(x), derived(x))
    for name_, tensor in derived.state_dict().items():
        there = re.sub(r"_ops\.\d+\.", "", name_)
        if "_ops" not in name_:
            assert torch.equal(tensor, network.state_dict()[there])


def test_both_ways_of_folding_are_the_same_network_but_not_the_same_training() -> None:
    """A factor w in front of a norm scales its step by w²; all else is the same."""
    training = {**TRAINING, "drop_path": 0.0, "max_grad_norm": 0.0, "weight_decay": 0.0}
    setup = SupernetContext(DARTS, 0, data=few_digits(96), macro=SMALL, training=training)
    recipe = replace(setup.recipe(RECIPE), auxiliary_weight=0.0)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for way in ("end", "start"):
        torch.manual_seed(0)
        search = search_phase(setup, recipe, "exact", AdamConfig(), 0.0).learner
        search.begin_epoch(0)
        give(search.sparse, np.random.default_rng(0).normal(size=(8, 7)))
        stage = final_phase(setup, recipe, search, way)
        stage.learner.begin_epoch(0)
        before = next(norm for norm in stage.learner.network.cells[0]._ops[0].modules()  # type: ignore[union-attr]
                      if hasattr(norm, "running_mean")).weight.detach().clone()  # fmt: skip
        stage.learner.step(*next(iter(stage.batches.epoch(0))), TrainState(0, 2, 0, 3))
        network = stage.learner.network
        fold(network)
        after = next(norm for norm in network.cells[0]._ops[0].modules() if hasattr(norm, "running_mean")).weight  # type: ignore[union-attr]
        found[way] = before, after.detach() - before
    factor = float(search.sparse.selected_weights()["normal_0"][0])
    torch.testing.assert_close(found["end"][0], found["start"][0])
    torch.testing.assert_close(found["end"][1], factor**2 * found["start"][1], rtol=1e-3, atol=1e-6)


def test_norms_learn_once_their_node_is_frozen() -> None:
    setup = SupernetContext(DARTS, 0, data=few_digits(96), macro=SMALL, training=TRAINING)
    learner = search_phase(setup, setup.recipe(RECIPE), "exact", AdamConfig(), 0.0).learner
    learner.begin_epoch(0)
    batch = next(iter(setup.batches(few_digits(96), learner.recipe).epoch(0)))
    trainable = {
        n: {p.requires_grad for m in g for p in m.parameters()} for n, g in candidate_norms(learner.whole).items()
    }
    assert set(map(tuple, trainable.values())) == {(False,)}
    others = [p for name, p in learner.whole.named_parameters() if "._ops." not in name]
    assert all(p.requires_grad for p in others)
    learner.step(*batch, TrainState(0, 2, 0, 1))
    learner.sparse.freeze(["normal_1", "reduce_3"])
    kept = learner.sparse.b["normal_1"].detach().clone()
    learner.begin_epoch(1)
    for name, norms in candidate_norms(learner.whole).items():
        assert {p.requires_grad for m in norms for p in m.parameters()} == {learner.sparse.is_frozen(name)}
    state = learner.state_dict()
    learner.step(*batch, TrainState(1, 2, 0, 1))
    chosen = learner.sparse.selected("reduce_3")[-1]
    (norm, *_) = [m for m in learner.whole.operation_at(1, *chosen).modules() if isinstance(m, nn.BatchNorm2d)]
    assert not torch.equal(norm.weight, torch.ones_like(norm.weight))
    assert torch.equal(learner.sparse.b["normal_1"], kept)
    for norms in (n for name, n in candidate_norms(learner.whole).items() if not learner.sparse.is_frozen(name)):
        assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
    other = search_phase(setup, setup.recipe(RECIPE), "exact", AdamConfig(), 0.0).learner
    other.load_state_dict(state)
    other.begin_epoch(2)
    for name, norms in candidate_norms(other.whole).items():
        assert {p.requires_grad for m in norms for p in m.parameters()} == {other.sparse.is_frozen(name)}


def test_choices_that_are_too_large_are_refused() -> None:
    setup = SupernetContext(DARTS, 0, data=few_digits(96), macro=SMALL, training=TRAINING)
    for most, changes in ((1.0, False), (0.0, True), (1e9, True)):
        torch.manual_seed(0)
        learner = search_phase(setup, setup.recipe(RECIPE), "exact", AdamConfig(), most).learner
        learner.begin_epoch(0)  # the first is taken whatever its size
        first = learner.architecture()
        give(learner.sparse, np.random.default_rng(3).normal(size=(8, 7)))
        learner.begin_epoch(1)
        assert (learner.architecture() != first) == changes


def test_a_search_ends_one_epoch_after_all_nodes_are_frozen(tmp_path: Path) -> None:
    """With b all but at rest, the second recovery freezes every node, and the second epoch is the last."""
    found = one_run(
        "ista-onestage",
        DARTS,
        few_digits(96),
        options={"arch_learning_rate": 1e-9, "final_epochs": 1, "fold": "end"},
        macro=SMALL,
        training={**TRAINING, "epochs": 5},
        folder=tmp_path,
    )
    assert found.metadata["stages"] == [{"name": "search", "epochs": 2}, {"name": "final", "epochs": 1}]
    assert [epoch.get("frozen_nodes") for epoch in found.metadata["curve"]] == [0, 8, None]
    assert found.architectures == [found.recommendation] * 3 and np.isnan(found.values).all()
    network, said = load_weights(tmp_path / "seed-0" / WEIGHTS)
    assert (said.architecture, said.macro["form"], said.macro["auxiliary"]) == (found.recommendation, FORM, False)
    assert said.image_size == 8 and said.provenance["recipe"]["drop_path"] == 0.2
    kept = torch.load(tmp_path / "seed-0" / "final" / "last.pt", weights_only=True)["state"]["learner"]["network"]
    gamma, factor = (
        kept[f"cells.0._ops.7.{norm}.parametrizations.weight.{what}"]
        for norm in {
            k.split("._ops.7.")[1].split(".param")[0] for k in kept if "cells.0._ops.7." in k and ".param" in k
        }
        for what in ("original", "0.factor")
    )
    last = [m for m in network.cells[0]._ops[7].modules() if isinstance(m, nn.BatchNorm2d)][-1]  # type: ignore[union-attr]
    assert torch.equal(last.weight, factor * gamma)
    assert torch.equal(network.get_parameter("classifier.weight"), kept["classifier.weight"])


def test_the_final_phase_can_be_left_out(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"macro": SMALL, "training": TRAINING, "options": {"final_epochs": 0}}
    found = one_run("ista-onestage", DARTS, few_digits(96), folder=tmp_path, **arguments)
    assert [stage["name"] for stage in found.metadata["stages"]] == ["search"]
    assert load_weights(tmp_path / "seed-0" / WEIGHTS)[1].architecture == found.recommendation


@pytest.mark.slow
def test_the_shipped_recipe_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The weights that the search leaves classify nine digits in ten; chance is one in ten."""
    out = tmp_path / "found.h5"
    assert cli.run(["search", "ista-onestage", "--recipe", "digits-ista-onestage", "--out", str(out)]) == 0
    assert "warning" not in capsys.readouterr().err
    left = tmp_path / "found.h5.run" / "seed-0" / WEIGHTS
    assert cli.run(["test", str(left), "--data", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] >= 90


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "median .*take more epochs or a larger arch_learning_rate$"),
        ({"fold": "end"}, r"larger arch_learning_rate; with fold=end they slow .* by \de-\d+: take fold=start$"),
        ({"arch_learning_rate": 1.0}, None),
    ],
)
def test_weights_far_below_1_are_said_with_the_remedy(options: dict[str, Any], said: str | None) -> None:
    found = one_run("ista-onestage", DARTS, few_digits(64), macro={"channels": 1, "cells": 1},
                    training={"epochs": 1, "batch_size": 32}, options={"final_epochs": 0, **options})  # fmt: skip
    sizes = found.metadata["folded weights"]
    assert 0 < sizes["smallest"] < sizes["median"] < sizes["largest"]
    warnings = found.metadata.get("warnings", [])
    assert (sizes["median"] < 0.1) == (said is not None) == bool(warnings)
    assert said is None or re.search(said, warnings[0])


def test_the_published_numbers() -> None:
    colors = ImageDataset("c", np.zeros((200, 32, 32, 3), np.uint8), np.arange(200) % 10, 10, (0.5,) * 3,
                                  (0.2,) * 3)  # fmt: skip
    setup = SupernetContext(DARTS, 5, data=colors, macro={"channels": 1})
    stages = ista_onestage(setup)
    stage: Any = next(stages)
    recipe, whole = stage.learner.recipe, stage.learner.whole
    assert (stage.epochs, len(whole.cells), recipe.batch_size, recipe.cutout) == (600, 20, 96, 16)
    assert [i for i, kind in enumerate(whole.kinds) if kind == "reduce"] == [6, 13] == [6, whole.auxiliary_after]
    assert (recipe.auxiliary_weight, recipe.drop_path, recipe.max_grad_norm, recipe.weight_decay) == (
        0.4,
        0.0,
        5.0,
        3e-4,
    )
    assert {stage.learner.weight_step.learning_rate(TrainState(e, 600, 0, 1)) for e in (0, 300, 599)} == {0.025}
    (group,) = stage.learner.architect.optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)
    assert stage.held_out is None
    stage.learner.begin_epoch(0)
    final: Any = stages.send([])
    recipe = final.learner.recipe
    assert (final.epochs, recipe.drop_path_at(300)) == (600, 0.1)
    rates = [final.learner.learning_rate(TrainState(e, 600, 0, 1)) for e in (0, 300, 599)]
    assert rates == pytest.approx([0.025, 0.013, 0.0010001645], rel=1e-6)
    cell: CellModuleDARTS = final.learner.network.cells[0]
    assert len(cell._ops) == 8 and not any(isinstance(operation, nn.Identity) for operation in cell._ops)
    default = DARTS.supernet(**NORMS, auxiliary=True)  # type: ignore[call-arg]
    assert (default.macro.channels, default.macro.cells) == (16, 8)  # type: ignore[union-attr]


def test_the_auxiliary_head_learns_and_needs_to_be_there() -> None:
    network = supernet(num_classes=3)
    mixture = recovered(torch.float32).mixture()
    logits, auxiliary = network(torch.randn(4, 3, 8, 8), mixture, auxiliary=True)
    assert logits.shape == auxiliary.shape == (4, 3)
    head = sum(p.numel() for p in network.auxiliary_head.parameters())  # type: ignore[union-attr]
    genotype = recovered().genotype()
    sizes = [DARTS.params(genotype, **SMALL, num_classes=3, auxiliary=present) for present in (True, False)]
    assert head == sizes[0] - sizes[1]
    with pytest.raises(InputError, match="this supernet has no auxiliary head; build it with auxiliary=True"):
        supernet(auxiliary=False)(torch.randn(2, 3, 8, 8), mixture, auxiliary=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": {"fold": "never"}}, "unknown fold 'never'"),
        ({"options": {"final_epochs": -1}}, "final_epochs must be 0 or more, not -1"),
        ({"macro": {"stem_multiplier": 1}}, "channels and cells can be chosen, not stem_multiplier"),
        ({"options": {"solver": "osqp"}}, "solver 'osqp' is refused"),
    ],
)
def test_what_cannot_be_done_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        one_run("ista-onestage", DARTS, few_digits(96), **arguments)


@pytest.mark.parametrize("name", ["nasbench201", "darts-s3", "darts-s4"])
def test_spaces_with_operations_without_a_norm_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"ista-onestage searches darts, .* it is not defined on {name}"):
        one_run("ista-onestage", space(name), few_digits(96))


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
@pytest.mark.parametrize("phase", ["search", pytest.param("final", marks=pytest.mark.slow)])
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path: Path, phase: str) -> None:
    arguments: dict[str, Any] = {"seed": 3, "macro": SMALL, "training": {"epochs": 2, "batch_size": 48}}
    whole = one_run("ista-onestage", DARTS, few_digits(96), folder=tmp_path / "whole", **arguments)
    kill_in_the_second_epoch("ista-onestage", tmp_path / "cut", phase, arguments)
    kept = torch.load(tmp_path / "cut" / "seed-3" / phase / "last.pt", weights_only=True)
    assert kept["epoch"] == 1 and not (tmp_path / "cut" / "seed-3" / WEIGHTS).exists()
    gone_on = one_run("ista-onestage", DARTS, few_digits(96), folder=tmp_path / "cut", **arguments)
    assert gone_on.recommendation == whole.recommendation and gone_on.architectures == whole.architectures
    (one, said), (two, expected) = (load_weights(tmp_path / way / "seed-3" / WEIGHTS) for way in ("cut", "whole"))
    assert said == expected
    for name, tensor in two.state_dict().items():
        assert torch.equal(one.state_dict()[name], tensor), name


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_goes_through_both_phases(tmp_path: Path, precision: str) -> None:
    device_config = DeviceConfig("cuda", precision, channels_last=True)
    options = {"arch_learning_rate": 1e-9, "final_epochs": 1}  # all nodes freeze before the second epoch
    arguments: dict[str, Any] = {"macro": SMALL, "training": TRAINING, "options": options}
    found = one_run("ista-onestage", DARTS, few_digits(96), device=device_config, folder=tmp_path, **arguments)
    assert load_weights(tmp_path / "seed-0" / WEIGHTS)[1].architecture == found.recommendation
