"""DARTS-PT: the projected supernet of the original, what removals cost, whole small searches, and going on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prejudge.data import load
from prejudge.data.batches import ImageBatches
from prejudge.errors import InputError, MissingDataError
from prejudge.search.registry import register
from prejudge.search.result import Trajectory
from prejudge.search.supernet.arch_parameters import SoftmaxParameters
from prejudge.search.supernet.darts_pt.candidate_evaluation import OriginalEvaluation, RepeatableEvaluation, without
from prejudge.search.supernet.darts_pt.learner import ProjectedParameters
from prejudge.search.supernet.darts_pt.method import unchosen
from prejudge.search.supernet.darts_pt.projection import CUT, UNDECIDED, EdgeProjection, Removal
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import EDGES, S3
from prejudge.spaces.darts.discretization import strongest_edges
from prejudge.spaces.darts.genotype import CELLS
from prejudge.spaces.nn.supernet import Supernet, uniform
from prejudge.train.checkpoint import read_checkpoint
from prejudge.train.device import DeviceConfig
from tests.fills import close, filled, images
from tests.search.one_run import one_run, untrained_stages

SMALL = {"channels": 2, "cells": 1, "stages": 1}
TRAINING = {"epochs": 2, "batch_size": 16}
DIGITS = slice(0, 64)


def test_the_projected_supernet_of_the_original(golden: Path) -> None:
    with np.load(golden / "supernets" / "dartspt_supernet.npz") as stored:
        original = {name: stored[name] for name in stored.files}
    supernet = filled(space("darts").supernet(channels=4, cells=3))
    softmax = SoftmaxParameters(supernet.candidates)  # type: ignore[arg-type]
    projection = EdgeProjection(softmax.candidates)
    arch_parameters = ProjectedParameters(softmax, projection)
    for kind in ("normal", "reduce"):
        softmax.alphas[kind].data.copy_(torch.from_numpy(original[f"s5/alpha_{kind}"]))
        for edge, row in enumerate(original[f"proj/weights_{kind}"]):
            if row.max() in (0, 1):
                projection.choices[kind][edge] = int(row.argmax()) if row.any() else CUT
    assert projection.choices["normal"][:5] == [3, UNDECIDED, 2, CUT, 5]
    for kind, weights in arch_parameters.weights().items():
        close(weights, original[f"proj/weights_{kind}"], 1e-6)
    x, y = images(1)
    logits = supernet(x, arch_parameters.mixture())
    close(logits, original["proj/logits"], 1e-4)
    loss = cross_entropy(logits, y)
    assert float(loss.detach()) == pytest.approx(float(original["proj/loss"]), rel=1e-5)
    loss.backward()
    for kind, alpha in softmax.alphas.items():
        assert alpha.grad is not None
        close(alpha.grad, original[f"proj/dalpha_{kind}"], 5e-3)
        decided = torch.tensor(projection.choices[kind]) != UNDECIDED
        assert not alpha.grad[decided].any() and alpha.grad[~decided].any(1).all()


def test_only_what_is_left_is_executed() -> None:
    supernet = space("nasbench201").supernet(channels=2, cells=1, stages=1)
    arch_parameters = ProjectedParameters(SoftmaxParameters(supernet.candidates), EdgeProjection(supernet.candidates))
    arch_parameters.projection.choices["cell"][:3] = [3, CUT, 1]
    terms = arch_parameters.mixture()["cell"]
    assert list(terms[:3]) == [((3, 1.0),), (), ((1, 1.0),)]
    assert [position for position, _ in terms[3]] == [0, 1, 2, 3, 4]
    left = without(arch_parameters.mixture(), Removal("cell", 3, 2))["cell"]
    assert [position for position, _ in left[3]] == [0, 1, 3, 4] and len(left[4]) == 5
    assert without(arch_parameters.mixture(), Removal("cell", 3))["cell"][3] == ()
    kept = [(position, float(torch.as_tensor(weight).detach())) for position, weight in left[3]]
    assert kept == [
        (p, float(torch.as_tensor(w).detach())) for p, w in terms[3] if p != 2
    ]  # nothing is made shares again


class Watched(nn.Module):
    """Counts calls of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.calls = 0
        module.register_forward_hook(self.count)

    def count(self, *_: Any) -> None:
        self.calls += 1


def darts_net(name: str = "darts-s2", **options: Any) -> Supernet:
    torch.manual_seed(0)
    return space(name).supernet(channels=2, cells=4, in_channels=1, num_classes=10, **options)


def everything(supernet: Supernet) -> Any:
    return uniform({kind: [range(len(edge)) for edge in edges] for kind, edges in supernet.candidates.items()})


def held_out(augment: bool = False) -> ImageBatches:
    return ImageBatches(load("digits").subset(slice(0, 48)), 16, seed=3, augment=augment)


@pytest.mark.parametrize("name", ["darts-s2", "darts-s4"])
def test_shared_passes_have_the_scores_of_single_ones_and_leave_no_trace(name: str) -> None:
    supernet = darts_net(name)
    mixture = everything(supernet)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    random = torch.get_rng_state()
    removals = [Removal("reduce", 5, 0), Removal("reduce", 5, 1), Removal("reduce", 2), Removal("reduce", 9)]
    cells = [Watched(cell) for cell in supernet.get_submodule("cells").children()]
    shared = RepeatableEvaluation(held_out(), DeviceConfig())(supernet, mixture, removals, 0)
    calls = [cell.calls for cell in cells]
    plain = RepeatableEvaluation(held_out(), DeviceConfig(), share=False)
    assert shared == plain(supernet, mixture, removals, 7)  # to the last bit, and whenever it is asked
    assert shared[1:2] == plain(supernet, mixture, removals[1:2], 0)  # whatever else is asked
    assert len({score.loss for score in shared}) == 4
    assert supernet.training and torch.equal(torch.get_rng_state(), random)
    for key, value in supernet.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert "forward" not in {key for module in supernet.modules() for key in vars(module)}
    # Kinds are normal, reduce, reduce, normal: the first cell computes once for each of the three batches.
    assert calls[1:] == [3 * 4] * 3 and calls[0] in ((3, 12) if name == "darts-s2" else (12,))


def test_scores_are_those_of_batch_statistics() -> None:
    supernet = darts_net()
    mixture = everything(supernet)
    removal = Removal("normal", 7, 1)
    (found,) = RepeatableEvaluation(held_out(), DeviceConfig())(supernet, mixture, [removal], 0)
    hits = loss = 0.0
    with torch.no_grad():
        for x, y in held_out().epoch(0):
            logits = supernet(x, without(mixture, removal))
            hits += int((logits.argmax(1) == y).sum())
            loss += float(cross_entropy(logits.double(), y, reduction="sum"))
    assert found.accuracy == pytest.approx(100 * hits / 48) and found.loss == pytest.approx(loss / 48, rel=1e-5)


def test_the_originals_passes_differ_and_leave_their_trace() -> None:
    supernet = darts_net()
    mixture, removals = everything(supernet), [Removal("normal", 7, 1)] * 2
    before = {key: value.clone() for key, value in supernet.state_dict().items() if key.endswith("running_mean")}
    evaluation = OriginalEvaluation(held_out(augment=True), DeviceConfig())
    first = evaluation(supernet, mixture, removals, 0)
    assert first[0] != first[1]
    assert evaluation(supernet, mixture, removals[:1], 1) == first[1:]  # the same pass of the same search
    after = supernet.state_dict()
    assert any(not torch.equal(after[key], value) for key, value in before.items())


def search(method: str, folder: Path | None = None, name: str = "nasbench201", **options: Any) -> Trajectory:
    macro = SMALL if name == "nasbench201" else {"channels": 1, "cells": 3}
    data = load("digits").subset(DIGITS)
    return one_run(method, space(name), data, **{"macro": macro, "training": TRAINING, "folder": folder, **options})


@pytest.mark.parametrize(
    "options", ["supernet='blank'", "supernet='sdarts'", "evaluation='original', criterion='loss'"]
)
def test_whole_searches_repeat_themselves(options: str) -> None:
    method = f"darts-pt(tune_epochs=2, {options})"
    run = search(method)
    assert [stage["epochs"] for stage in run.metadata["stages"]] == [2, 10]
    decisions = [d for epoch in run.metadata["curve"] for d in epoch.get("decisions", [])]
    assert [n for n, epoch in enumerate(run.metadata["curve"]) if "decisions" in epoch] == [2, 4, 6, 8, 10, 11]
    assert sorted(d["place"] for d in decisions) == list(range(6))
    chosen = {d["place"]: d["chosen"][0] for d in decisions}
    assert space("nasbench201").parse(run.recommendation).edges == tuple(chosen[edge] for edge in range(6))
    assert run.recommendation == run.architectures[-1]
    again = search(method)
    assert (again.recommendation, again.metadata["curve"]) == (run.recommendation, run.metadata["curve"])


def test_operations_and_then_edges_are_decided_in_the_darts_spaces() -> None:
    run = search("darts-pt(tune_epochs=1)", name="darts-s2", training={"epochs": 1, "batch_size": 32})
    decisions = [d for epoch in run.metadata["curve"] for d in epoch.get("decisions", [])]
    assert [d["kind"] for d in decisions] == ["normal", "reduce"] * 17
    assert [d["what"] for d in decisions] == ["operation"] * 28 + ["edges"] * 6
    assert [len(d["scores"][0]) for d in decisions[:28]] == [2] * 28
    found = space("darts").parse(run.recommendation)
    for kind, cell in (("normal", found.normal), ("reduce", found.reduce)):
        for decision in decisions[28:]:
            if decision["kind"] == kind:
                first = sum(range(2, 2 + decision["place"]))
                node = cell[2 * decision["place"] : 2 * decision["place"] + 2]
                assert [source for _, source in node] == [edge - first for edge in decision["chosen"]]


def test_the_learning_rate_of_the_tuning_is_constant_and_the_architecture_rests_at_the_end(tmp_path: Path) -> None:
    search("darts-pt(tune_epochs=1)", tmp_path)
    trained, tuned = (read_checkpoint(tmp_path / "seed-0" / stage / "last.pt") for stage in ("supernet", "projection"))
    assert tuned.plan["recipe"]["schedule"] == "constant"
    assert tuned.plan["recipe"]["learning_rate"] == pytest.approx(trained.plan["recipe"]["learning_rate"] / 10)
    steps = [int(c.state["learner"]["architect"]["optimizer"]["state"][0]["step"]) for c in (trained, tuned)]
    # Two epochs of two steps; five epochs more, and none once every edge is decided.
    assert steps == [4, 4 + 5 * 2]


class Stop(Exception):
    pass


def interrupted(after: int, folder: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A search that ends in the middle of the evaluation number ``after``."""
    from prejudge.search.supernet.darts_pt import candidate_evaluation

    tallies = 0
    score = candidate_evaluation._Tally.score

    def counted(tally: Any) -> Any:
        nonlocal tallies
        tallies += 1
        if tallies > after:
            raise Stop
        return score(tally)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(candidate_evaluation._Tally, "score", counted)
        search(method, folder, "darts-s2", training={"epochs": 1, "batch_size": 32})


@pytest.mark.parametrize("evaluation", ["repeatable", "original"])
def test_a_search_goes_on_between_and_within_the_decisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluation: str
) -> None:
    method = f"darts-pt(tune_epochs=1, evaluation='{evaluation}', supernet='sdarts')"
    # Every decision of S2 scores two removals; normal and reduction cells take turns, twice in each epoch.
    interrupted(7, tmp_path / "once", monkeypatch, method)
    interrupted(3, tmp_path / "twice", monkeypatch, method)  # once normal has decided, in the middle of reduce
    interrupted(5, tmp_path / "twice", monkeypatch, method)  # reduce, an epoch, normal, in the middle of reduce
    once, twice = (
        read_checkpoint(tmp_path / name / "seed-0" / "projection" / "within-epoch" / "last.pt")
        for name in ("once", "twice")
    )
    assert once.epoch == twice.epoch == 1
    states = [found.state["learner"] for found in (once, twice)]
    assert len(states[0]["projection"]["decisions"]) == 3
    assert states[0]["projection"] == states[1]["projection"]
    for name, value in states[0]["network"].items():
        assert torch.equal(value, states[1]["network"][name]), name


KILLED = """
import os, signal, sys
from pathlib import Path
from prejudge.search import run
from prejudge.search.supernet.darts_pt.projection import EdgeProjection
from prejudge.spaces import space
from prejudge.data import load
decide, last = EdgeProjection.decide, int(sys.argv[2])
def deciding(self, evaluate):
    if len(self.decisions) == last:
        evaluate([])
        os.kill(os.getpid(), signal.SIGKILL)
    return decide(self, evaluate)
EdgeProjection.decide = deciding
run("darts-pt(tune_epochs=1)", space=space("nasbench201"), data=load("digits").subset(slice(0, 64)),
    macro={"channels": 2, "cells": 1, "stages": 1}, training={"epochs": 2, "batch_size": 16},
    folder=Path(sys.argv[1]))
"""


def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "3"], timeout=300, check=False)
    assert found.returncode == -signal.SIGKILL
    run, whole = search("darts-pt(tune_epochs=1)", tmp_path), search("darts-pt(tune_epochs=1)")
    assert run.recommendation == whole.recommendation and run.metadata["curve"] == whole.metadata["curve"]


@pytest.mark.parametrize("supernet", ["darts", "blank", "sdarts"])
def test_an_earlier_run_is_projected_as_if_it_had_been_trained_here(tmp_path: Path, supernet: str) -> None:
    search(supernet, tmp_path)
    whole = search(f"darts-pt(tune_epochs=1, supernet='{supernet}')")
    run = search(f"darts-pt(tune_epochs=1, supernet='{supernet}')", tmp_path / "pt", resume_from=tmp_path / "seed-0")
    assert [stage["name"] for stage in run.metadata["stages"]] == ["projection"]
    assert run.recommendation == whole.recommendation and run.metadata["curve"] == whole.metadata["curve"][2:]
    # The supernet of a projection will do as well; and what came from another epoch is not mixed up.
    again = search(f"darts-pt(tune_epochs=1, supernet='{supernet}')", resume_from=tmp_path / "seed-0")
    assert again.recommendation == run.recommendation


def test_one_supernet_is_projected_from_several_seeds(tmp_path: Path) -> None:
    """The order of the projection is the seed's; the images that the supernet has not learned are the supernet's."""
    search("blank", tmp_path)
    method, orders, sizes = "darts-pt(tune_epochs=1, supernet='blank')", [], set()
    for seed in (0, 1, 2):
        run = search(method, seed=seed, resume_from=tmp_path / "seed-0")
        decisions = [made for epoch in run.metadata["curve"] for made in epoch.get("decisions", [])]
        orders.append([made["place"] for made in decisions])
        sizes.add(tuple(map(tuple, decisions[0]["scores"][0])) if decisions[0]["place"] == orders[0][0] else None)
        said = run.metadata.get("warnings", [])
        assert len(said) == (seed != 0) and all("the supernet is that of seed 0" in text for text in said)
    assert orders[0] != orders[1] != orders[2]
    # The same removal, from the same weights, costs the same on the same held-out images.
    assert len(sizes - {None}) == 1


def test_an_edge_that_nobody_chose_is_said() -> None:
    """S3: none is fixed on all edges into node 0, so that the genotype has skip connections there."""
    projection = EdgeProjection(S3)
    for kind in CELLS:
        projection.choices[kind] = [0 if node == 0 else 2 for node, _ in EDGES]
    weights = {kind: np.eye(3)[projection.choices[kind]] for kind in CELLS}
    genotype = strongest_edges(weights, S3)
    assert genotype.normal[:2] == (("skip_connect", 0), ("skip_connect", 1))
    said = list(unchosen(genotype, projection))
    assert len(said) == 4
    assert said[1].startswith(
        "normal cell, node 0: skip_connect from state 1 was not chosen by the projection: none was"
    )
    for kind in CELLS:
        projection.choices[kind] = [2] * len(EDGES)
    assert not list(unchosen(strongest_edges({k: np.eye(3)[c] for k, c in projection.choices.items()}, S3), projection))


def test_each_kind_of_decision_has_its_criterion() -> None:
    method = "darts-pt(criterion='loss', criterion_reduce='acc')"
    _, stage = untrained_stages(method, space("darts-s2"), macro={"channels": 1, "cells": 3})
    assert stage.learner.projection.criteria == {"normal": "loss", "reduce": "acc", "edge": "loss"}


def test_an_earlier_run_that_will_not_do_is_refused(tmp_path: Path) -> None:
    search("blank", tmp_path / "blank")
    search("darts-pt(tune_epochs=1, supernet='blank')", tmp_path / "pt", resume_from=tmp_path / "blank" / "seed-0")
    method, folder = "darts-pt(tune_epochs=1, supernet='blank')", tmp_path / "blank" / "seed-0"

    def refused(message: str, method: str = method, **options: Any) -> None:
        with pytest.raises((InputError, MissingDataError), match=message) as error:
            search(method, **{"resume_from": folder, **options})
        assert "\n" not in str(error.value)

    refused("is the supernet of blank; one of darts is needed", "darts-pt")
    refused("another space", name="darts-s2")
    refused("another macro", macro={**SMALL, "channels": 4})
    refused("another option train_portion: 0.5, not 0.75",
            "darts-pt(tune_epochs=1, supernet='blank', train_portion=0.75)")  # fmt: skip
    refused("no checkpoint of epoch 20", resume_epoch=20)
    refused("no checkpoint", resume_from=tmp_path / "nowhere")
    search(method, tmp_path / "pt2", resume_from=folder)
    refused("another run: criterion|options", "darts-pt(tune_epochs=1, supernet='blank', criterion='loss')",
            folder=tmp_path / "pt2")  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("supernet='dart'", "unknown supernet 'dart'; did you mean 'darts'"),
        ("evaluation='exact'", "unknown evaluation 'exact'"),
        ("criterion='accuracy'", "unknown criterion 'accuracy'"),
        ("tune_epochs=0", "tune_epochs must be a positive integer, not 0"),
        ("supernet='sdarts', perturbation='worst'", "unknown perturbation 'worst'"),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(options: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        search(f"darts-pt({options})", tmp_path)
    assert not list(tmp_path.glob("seed-*"))


def test_both_methods_are_listed() -> None:
    assert {"darts-pt", "sdarts"} <= set(register.names())
    assert set(register.get("darts-pt").spaces) == {"darts", "darts-s?", "nasbench201"}
