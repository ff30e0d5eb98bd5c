"""ISTA-NAS's weighting: against the original's trajectories and by hand; checkpoints, devices, vetoes."""

from __future__ import annotations

import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prejudge.errors import InputError
from prejudge.search.supernet.ista.compressed import CompressedParameters, largest
from prejudge.search.supernet.ista.sparse_solvers import solver
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS7, DARTS8, EDGES, S1, same_everywhere
from prejudge.spaces.darts.genotype import CELLS

CANDIDATES = same_everywhere(DARTS7)
EXACT = solver("exact")
NODES = [f"{cell}_{node}" for cell in CELLS for node in range(4)]


def drawn(seed: int = 2, scale: float = 0.05) -> CompressedParameters:
    """A weighting with targets that are larger than at the start, so that its vectors are full."""
    found = CompressedParameters(CANDIDATES, seed, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for b in found.parameters():
            b.mul_(scale / 1e-3)
    return found


def give(arch_parameters: CompressedParameters, values: Any) -> None:
    """Set b of the nodes, normal cell first, ``(8, 7)``."""
    with torch.no_grad():
        for name, value in zip(NODES, values, strict=True):
            arch_parameters.b[name].copy_(torch.as_tensor(value))


def test_the_two_stage_trajectory_of_the_original(golden: Path) -> None:
    with np.load(golden / "supernets" / "ista_twostage_traj.npz") as stored:
        traced = dict(stored)
    arch_parameters = CompressedParameters(CANDIDATES, seed=2)
    for name in NODES:
        np.testing.assert_array_equal(arch_parameters.matrix(name), traced[f"A_{name}"])
    for epoch in range(5):
        give(arch_parameters, np.concatenate([traced[f"b_{cell}_epoch{epoch}"] for cell in CELLS]))
        change = arch_parameters.recover(EXACT)
        assert change.accepted
        for name in NODES:
            expected = traced[f"z_{name}_epoch{epoch}"]
            assert np.abs(arch_parameters.z(name) - expected).max() <= 1e-6 * np.abs(expected).max()
            before = traced.get(f"z_{name}_epoch{epoch - 1}", np.full_like(expected, np.inf))
            assert change.distance[name] == pytest.approx(np.linalg.norm(expected - before), rel=1e-5)
        if epoch == 4:
            break
        for cell in CELLS:
            bias = torch.from_numpy(traced[f"bias_{cell}_epoch{epoch}"])
            for node in range(4):
                masked = torch.from_numpy(traced[f"Amask_{cell}_{node}_epoch{epoch}"])
                at_once = {
                    7 * EDGES[edge][1] + position for edge, position in arch_parameters.selected(f"{cell}_{node}")
                }
                assert at_once == set(np.flatnonzero(masked.abs().sum(0)).tolist())
            used = sorted(place for node in range(4) for place in arch_parameters.selected(f"{cell}_{node}"))
            assert used == [(int(edge), int(position)) for edge, position in bias.nonzero()]
        # The original's weights after an epoch: of its choice at the start and of b at the end.
        give(arch_parameters, np.concatenate([traced[f"b_{cell}_epoch{epoch + 1}"] for cell in CELLS]))
        for cell, w in arch_parameters.weights().items():
            torch.testing.assert_close(
                w.detach(), torch.from_numpy(traced[f"w_{cell}_after_epoch{epoch}"]), rtol=0, atol=1e-7
            )
    printed = json.loads((golden / "supernets" / "ista_twostage_traj.json").read_text())["stdout"]
    expected = re.sub(r"np\.int64\((\d+)\)", r"\1", printed[-1])
    assert arch_parameters.genotype() == space("darts").parse(expected)


def test_the_one_stage_trajectory_of_the_original(golden: Path) -> None:
    traced = json.loads((golden / "supernets" / "ista_onestage_traj.json").read_text())
    arch_parameters = CompressedParameters(CANDIDATES, seed=5)
    give(arch_parameters, traced["b0"])
    arch_parameters.recover(EXACT)
    for epoch, (flags, after) in enumerate(zip(traced["flags"], traced["epochs"], strict=False)):
        if epoch:
            change = arch_parameters.recover(EXACT)
            for cell in CELLS:
                found = [change.distance[f"{cell}_{node}"] for node in range(4)]
                np.testing.assert_allclose(found, flags[f"dist_{cell}"], rtol=1e-5, atol=1e-12)
            arch_parameters.freeze([name for name in NODES if change.distance[name] <= 1e-3])
        assert [arch_parameters.is_frozen(name) for name in NODES] == flags["normal_flags"] + flags["reduce_flags"]
        assert [arch_parameters.b[name].requires_grad for name in NODES] == after["b_requires_grad"]
        give(arch_parameters, after["b"])
        np.testing.assert_allclose(arch_parameters.weights()["normal"].detach(), after["w_normal"], rtol=0, atol=1e-7)


def test_genotypes_of_given_vectors(golden: Path) -> None:
    for case in json.loads((golden / "supernets" / "ista_selection.json").read_text())["cases"]:
        arch_parameters = drawn()
        given = [np.array(z) for z in case["z"]]
        arch_parameters.recover(lambda matrices, targets, penalty, z=given: [*z, *z])
        assert [list(edge) for edge in arch_parameters.genotype().normal] == case["genotype"]
        assert arch_parameters.genotype().reduce == arch_parameters.genotype().normal
        assert arch_parameters.genotype().normal_concat == (2, 3, 4, 5)


def test_weights_and_gradients_follow_their_definition() -> None:
    arch_parameters = drawn()
    arch_parameters.recover(EXACT)
    chosen = {name: largest(arch_parameters.z(name), 2) for name in NODES}
    with torch.no_grad():  # b moves on, the choice stays
        for name in NODES:
            arch_parameters.b[name].add_(0.01)
    factors = torch.arange(1.0, 3.0)
    sum((factors * w).sum() for w in arch_parameters.selected_weights().values()).backward()  # type: ignore[union-attr]
    for name in NODES:
        a, z, b = (
            arch_parameters.matrix(name),
            arch_parameters.z(name),
            arch_parameters.b[name].detach().double().numpy(),
        )
        k = chosen[name]
        expected = z[k] + a[:, k].T @ (b - a[:, k] @ z[k])
        np.testing.assert_allclose(arch_parameters.selected_weights()[name].detach(), expected, rtol=0, atol=1e-7)
        gradient = arch_parameters.b[name].grad
        assert gradient is not None
        np.testing.assert_allclose(gradient, a[:, k] @ factors.double().numpy(), rtol=1e-6)


def test_a_supernet_runs_the_chosen_operations_and_no_others() -> None:
    network = space("darts").supernet(channels=2, cells=3, candidates=DARTS7)
    arch_parameters = drawn()
    arch_parameters.recover(EXACT)
    mixture = arch_parameters.mixture()
    network.check(mixture)
    dense = arch_parameters.weights()
    for cell in CELLS:
        running = [(edge, position) for edge, terms in enumerate(mixture[cell]) for position, _ in terms]
        assert running == sorted(place for node in range(4) for place in arch_parameters.selected(f"{cell}_{node}"))
        assert len(running) == 8 and int((dense[cell] != 0).sum()) == 8
        for edge, terms in enumerate(mixture[cell]):
            for position, weight in terms:
                assert torch.equal(torch.as_tensor(weight), dense[cell][edge, position])
    ran = []
    for name, module in network.named_modules():
        if re.fullmatch(r"cells\.\d+\._ops\.\d+\._ops\.\d+", name):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    loss = cross_entropy(network(torch.randn(2, 3, 16, 16), mixture), torch.tensor([0, 1]))
    loss.backward()
    assert len(ran) == len(set(ran)) == 8 * 3
    assert all(b.grad is not None and b.grad.abs().sum() > 0 for b in arch_parameters.parameters())


def test_two_operations_may_share_an_edge() -> None:
    arch_parameters = drawn()
    vectors = [np.zeros(7 * (node + 2)) for node in range(4)]
    for z in vectors:
        z[9], z[12] = 0.1, -0.2  # both from predecessor 1
    arch_parameters.recover(lambda matrices, targets, penalty: [*vectors, *vectors])
    mixture = arch_parameters.mixture()
    assert [[position for position, _ in terms] for terms in mixture["normal"][:5]] == [[], [2, 5], [], [2, 5], []]
    assert arch_parameters.selected("normal_0") == ((1, 2), (1, 5))
    assert arch_parameters.genotype().normal[:2] == (("skip_connect", 1), ("dil_conv_3x3", 1))


def test_a_refused_recovery_leaves_the_choice_but_tells_the_distance() -> None:
    arch_parameters = drawn()
    arch_parameters.recover(EXACT)
    before, genotype = {name: arch_parameters.z(name) for name in NODES}, arch_parameters.genotype()
    give(arch_parameters, np.random.default_rng(0).normal(size=(8, 7)))
    seen = []
    change = arch_parameters.recover(EXACT, accept=lambda found: bool(seen.append(found)))
    assert seen == [change.genotype] and change.genotype != genotype and not change.accepted
    assert min(change.distance.values()) > 0.1
    assert arch_parameters.genotype() == genotype
    assert all(np.array_equal(arch_parameters.z(name), before[name]) for name in NODES)
    assert arch_parameters.recover(EXACT, accept=lambda found: True).accepted
    assert arch_parameters.genotype() == change.genotype


def test_frozen_nodes_stay_as_they_are() -> None:
    arch_parameters = drawn()
    arch_parameters.recover(EXACT)
    optimizer = torch.optim.Adam(arch_parameters.parameters(), lr=0.1, betas=(0.5, 0.999), weight_decay=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        sum(w.sum() for w in arch_parameters.selected_weights().values()).backward()  # type: ignore[union-attr]
        optimizer.step()

    step()
    arch_parameters.freeze(["normal_1", "reduce_3"])
    kept = {
        name: (arch_parameters.z(name), arch_parameters.b[name].detach().clone()) for name in ("normal_1", "reduce_3")
    }
    solved: list[int] = []
    for _ in range(3):
        step()
        change = arch_parameters.recover(lambda a, b, penalty: solved.append(len(a)) or EXACT(a, b, penalty))
    assert solved == [6, 6, 6]
    for name in NODES:
        if name in kept:
            assert np.array_equal(arch_parameters.z(name), kept[name][0]) and torch.equal(
                arch_parameters.b[name], kept[name][1]
            )
            assert change.distance[name] == 0 and arch_parameters.is_frozen(name)
        else:
            assert change.distance[name] > 0 and not arch_parameters.is_frozen(name)
    arch_parameters.freeze(NODES)
    assert not any(w.requires_grad for w in arch_parameters.selected_weights().values())
    assert set(arch_parameters.recover(EXACT).distance.values()) == {0.0}


def test_a_checkpoint_restores_everything() -> None:
    arch_parameters = drawn(seed=3)
    arch_parameters.recover(EXACT)
    arch_parameters.freeze(["reduce_0"])
    give(arch_parameters, np.random.default_rng(1).normal(size=(8, 7)))
    file = io.BytesIO()
    torch.save(arch_parameters.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    kinds = {key.rpartition("_")[0].split("_")[0].split(".")[0] or key for key in state}
    assert kinds == {"matrix", "z", "b", "frozen"} and len(state) == 3 * 8 + 1
    other = drawn(seed=4)
    nn.Sequential(other).load_state_dict({f"0.{key}": value for key, value in state.items()})
    assert other.genotype() == arch_parameters.genotype()
    assert [other.is_frozen(name) for name in NODES] == [arch_parameters.is_frozen(name) for name in NODES]
    assert [b.requires_grad for b in other.parameters()] == [name != "reduce_0" for name in NODES]
    for cell, w in arch_parameters.weights().items():
        assert torch.equal(w, other.weights()[cell])
    one, two = arch_parameters.recover(EXACT), other.recover(EXACT)
    assert one == two and arch_parameters.genotype() == other.genotype()
    twin = copy.deepcopy(arch_parameters)
    give(twin, np.random.default_rng(2).normal(size=(8, 7)))
    twin.recover(EXACT)
    assert twin.genotype() != arch_parameters.genotype() == other.genotype()
    fresh = drawn()
    twin.load_state_dict(fresh.state_dict())
    assert not any(twin.is_frozen(name) for name in NODES) and all(b.requires_grad for b in twin.parameters())
    with pytest.raises(InputError, match="before the first recovery"):
        twin.mixture()


def test_the_exact_numbers_stay_in_float64_on_the_host() -> None:
    arch_parameters = drawn()
    arch_parameters.recover(EXACT)
    expected = arch_parameters.genotype(), arch_parameters.matrix("normal_0")
    whole = nn.ModuleDict({"weighting": arch_parameters}).to(torch.bfloat16)
    assert arch_parameters.b["normal_0"].dtype == torch.bfloat16 == arch_parameters.weights()["normal"].dtype
    np.testing.assert_array_equal(arch_parameters.matrix("normal_0"), expected[1])
    whole.to("meta")  # a device without numbers
    assert arch_parameters.weights()["normal"].is_meta and arch_parameters.genotype() == expected[0]


def test_autocast_does_not_round_the_weights() -> None:
    arch_parameters = drawn()
    arch_parameters.recover(EXACT)
    with torch.autocast("cpu", torch.bfloat16):
        found = arch_parameters.weights()
    assert all(torch.equal(w, arch_parameters.weights()[cell]) for cell, w in found.items())


@pytest.mark.gpu
def test_a_search_on_a_gpu_recovers_on_the_host() -> None:
    arch_parameters = drawn().to("cuda")
    arch_parameters.recover(EXACT)
    host = drawn()
    host.recover(EXACT)
    assert (
        arch_parameters.get_buffer("z_normal_0").device.type == "cpu" and arch_parameters.genotype() == host.genotype()
    )
    for cell, w in arch_parameters.weights().items():
        assert w.is_cuda
        torch.testing.assert_close(w.cpu(), host.weights()[cell])


def test_edges_may_have_different_candidates() -> None:
    arch_parameters = CompressedParameters(S1, seed=0)
    arch_parameters.recover(EXACT)
    assert [len(arch_parameters.z(f"normal_{node}")) for node in range(4)] == [4, 6, 8, 10]
    allowed = {(name, EDGES[edge][1]) for edge, names in enumerate(S1["reduce"]) for name in names}
    assert set(arch_parameters.genotype().reduce) <= allowed
    space("darts-s1").supernet(channels=2, cells=3).check(arch_parameters.mixture())


def test_published_numbers_can_be_changed() -> None:
    arch_parameters = CompressedParameters(CANDIDATES, seed=0, dimensions=5, sparseness=3, penalty=1e-4)
    arch_parameters.recover(EXACT)
    assert arch_parameters.matrix("normal_3").shape == (5, 35) and arch_parameters.b["normal_3"].shape == (5,)
    assert sum(len(terms) for terms in arch_parameters.mixture()["reduce"]) == 12
    assert len(arch_parameters.genotype().normal) == 8


def test_the_parameters_start_small_and_from_the_generator() -> None:
    one, two = (CompressedParameters(CANDIDATES, 2, torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(one.b[name], two.b[name]) for name in NODES)
    values = torch.cat([b.detach() for b in one.parameters()])
    assert values.shape == (56,) and 0.0005 < float(values.std()) < 0.002


def test_what_cannot_be_searched_is_named() -> None:
    with pytest.raises(InputError, match="node normal_0 has 'none' among its candidates; leave it out"):
        CompressedParameters(same_everywhere(DARTS8), 0)
    with pytest.raises(InputError, match="needs 14 lists of candidates for each of normal, reduce"):
        CompressedParameters({"cell": (DARTS7,) * 6}, 0)
    with pytest.raises(InputError, match="node normal_0 has 2 candidates, fewer than 3"):
        CompressedParameters(same_everywhere(DARTS7[:1]), 0, sparseness=3)
    with pytest.raises(InputError, match="must be positive, not 7, 2 and 0"):
        CompressedParameters(CANDIDATES, 0, penalty=0)
    with pytest.raises(InputError, match="unknown node 'normal_4'; did you mean"):
        drawn().freeze(["normal_4"])
    for ask in (CompressedParameters.mixture, CompressedParameters.weights, CompressedParameters.genotype):
        with pytest.raises(InputError, match=r"before the first recovery; call recover\(solver\)"):
            ask(drawn())
