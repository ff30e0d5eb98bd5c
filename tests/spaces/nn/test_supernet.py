"""Weight-sharing networks: against the originals' figures and the networks of single architectures, and what runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from prejudge.errors import InputError
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS8, EDGES, edge_index
from prejudge.spaces.darts.supernet import SupernetMacroConfigDARTS
from prejudge.spaces.nasbench201.space import OPERATIONS, Cell201
from prejudge.spaces.nn.supernet import Supernet, Weighted, uniform, weighted
from tests.fills import close, filled, images

NB201, DARTS = space("nasbench201"), space("darts")


@pytest.mark.parametrize(
    ("file", "case", "name", "options", "seed", "parameters"),
    [
        ("darts_supernet", "", "darts", {"candidates": DARTS8}, 1, 72854),
        ("dartspt_supernet", "s1/", "darts-s1", {}, 1, 10022),
        ("dartspt_supernet", "s2/", "darts-s2", {}, 1, 21110),
        ("dartspt_supernet", "s3/", "darts-s3", {}, 1, 21110),
        ("dartspt_supernet", "s5/", "darts", {}, 4, 72854),
    ],
)
def test_softmax_supernets_and_their_gradients_equal_the_originals(
    golden: Path, file: str, case: str, name: str, options: dict[str, Any], seed: int, parameters: int
) -> None:
    with np.load(golden / "supernets" / f"{file}.npz") as stored:
        expected = {key.removeprefix(case): stored[key] for key in stored.files if key.startswith(case)}
    network = filled(space(name).supernet(channels=4, cells=3, **options))
    assert sum(p.numel() for p in network.parameters()) == parameters
    alphas = {c: torch.from_numpy(expected[f"alpha_{c}"]).requires_grad_() for c in ("normal", "reduce")}
    x, y = images(seed)
    logits = network(x, weighted({c: alpha.softmax(1) for c, alpha in alphas.items()}))
    close(logits, expected["logits_train"], 1e-5)
    cross_entropy(logits, y).backward()
    suffix = "_first" if not case else ""
    for cell, alpha in alphas.items():
        assert alpha.grad is not None
        close(alpha.grad, expected[f"dalpha_{cell}{suffix}"], 5e-3 if seed == 4 else 1e-4)


def test_the_nasbench201_supernet_equals_the_original(golden: Path) -> None:
    with np.load(golden / "supernets" / "dartspt_supernet.npz") as stored:
        expected = {key.removeprefix("nb201/"): stored[key] for key in stored.files if key.startswith("nb201/")}
    network = filled(NB201.supernet(channels=4, cells=1))
    alpha = torch.from_numpy(expected["alpha"]).requires_grad_()
    x, y = images(1)
    logits = network(x, weighted({"cell": alpha.softmax(1)}))
    close(logits, expected["logits_train"], 1e-5)
    cross_entropy(logits, y).backward()
    assert alpha.grad is not None
    close(alpha.grad, expected["dalpha"], 1e-4)


def test_the_published_numbers_of_parameters() -> None:
    assert sum(p.numel() for p in NB201.supernet().parameters()) == 1_686_106


def only(cell: Cell201) -> dict[str, list[list[int]]]:
    return {"cell": [[op] for op in cell.edges]}


@pytest.mark.parametrize("index", [3, 700, 9999, 15000])
def test_one_operation_an_edge_is_the_network_of_the_cell(index: int) -> None:
    cell = NB201[index]
    shared = NB201.supernet(channels=4, cells=1, affine=True)
    single = NB201.network(cell, channels=4, cells=1)
    own = dict(shared.named_parameters())
    for name, parameter in single.named_parameters():
        parts = name.split(".")
        if ".layers." in name:
            edge = int(parts[3])
            name = ".".join(["cells", parts[1], "edges", str(edge), "_ops", str(cell.edges[edge]), *parts[4:]])
        parameter.data.copy_(own[name].data)
    x = torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shared(x, uniform(only(cell))), single(x))


def test_two_edges_a_node_are_the_network_of_the_genotype() -> None:
    genotype = DARTS.sample(np.random.default_rng(5))
    shared = DARTS.supernet(channels=4, cells=3, affine=True, pool_norm=False)
    single = DARTS.network(genotype, channels=4, cells=3)
    active: dict[str, list[list[int]]] = {}
    edges: dict[str, list[tuple[int, int]]] = {}
    for cell, pairs, _ in genotype.cells():
        places = [edge_index(i // 2, source) for i, (_, source) in enumerate(pairs)]
        operations = [DARTS.candidates["normal"][0].index(op) for op, _ in pairs]
        edges[cell] = list(zip(places, operations, strict=True))
        active[cell] = [[op for place, op in edges[cell] if place == e] for e in range(len(EDGES))]
    own = dict(shared.named_parameters())
    for name, parameter in single.named_parameters():
        if "._ops." in name:
            _, number, _, position, *rest = name.split(".")
            kind = shared.kinds[int(number)]
            place, operation = edges[kind][int(position)]
            name = ".".join(["cells", number, "_ops", str(place), "_ops", str(operation), *rest])
        parameter.data.copy_(own[name].data)
    x = torch.randn(3, 3, 11, 11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shared(x, uniform(active)), single(x))


def test_only_the_terms_are_executed() -> None:
    network = NB201.supernet(channels=2, cells=1)
    ran = []
    for name, module in network.named_modules():
        if name.endswith(tuple(f"_ops.{k}" for k in range(5))):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network(torch.randn(2, 3, 8, 8), uniform({"cell": [[3], [], [1, 4], [], [2], []]}))
    assert sorted(n.split(".", 2)[2] for n in ran if n.startswith("cells.0.")) == [
        "edges.0._ops.3",
        "edges.2._ops.1",
        "edges.2._ops.4",
        "edges.4._ops.2",
    ]


@pytest.mark.parametrize("side", [7, 8, 32])
@pytest.mark.parametrize("options", [{}, {"channels": 1, "cells": 2, "reductions": (1,), "last_activation": True}])
def test_nodes_without_any_edge_are_zero_at_any_image_size(side: int, options: dict[str, Any]) -> None:
    x = torch.randn(2, 3, side, side)
    network = DARTS.supernet(**({"channels": 2, "cells": 4, "num_classes": 7} | options))
    some = [[0], [], [1], *([],) * 11]
    logits = network(x, uniform({"normal": some, "reduce": some}))
    assert logits.shape[0] == 2
    assert logits.isfinite().all()
    nothing = NB201.supernet(channels=2, cells=1, num_classes=7)(x, uniform({"cell": [[]] * 6}))
    assert nothing.shape == (2, 7)
    assert nothing.isfinite().all()


def test_a_weighted_supernet_is_a_module_of_images() -> None:
    network = NB201.supernet(channels=2, cells=1)
    mixture = uniform({"cell": [[1, 3]] * 6})
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(Weighted(network, mixture)(x), network(x, mixture))
    vectors = torch.zeros(6, 5)
    vectors[:, [1, 3]] = 0.5
    torch.testing.assert_close(network(x, weighted({"cell": vectors}, {"cell": [[1, 3]] * 6})), network(x, mixture))
    torch.testing.assert_close(network(x, weighted({"cell": vectors})), network(x, mixture))


def test_edges_may_have_candidates_of_their_own() -> None:
    network = space("darts-s1").supernet(channels=2, cells=2)
    assert {len(edge) for edges in network.candidates.values() for edge in edges} == {2}
    network = DARTS.supernet(candidates=["skip_connect", "noise", "none"], channels=2, cells=2)
    assert network(torch.randn(2, 3, 8, 8), uniform({c: [[0, 1, 2]] * 14 for c in ("normal", "reduce")})).shape == (
        2,
        10,
    )


def test_default_reductions() -> None:
    assert SupernetMacroConfigDARTS().reductions == (2, 5)
    assert [place.reduction for place in SupernetMacroConfigDARTS(cells=3).places()] == [False, True, True]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: space("nasbench101").supernet(), "space nasbench101 has no supernet"),
        (lambda: NB201.supernet(form="zero-cost-nas"), "official form, not 'zero-cost-nas'"),
        (lambda: NB201.supernet(candidates=["conv"]), "'conv' is not an operation"),
        (lambda: NB201.supernet(chanels=3), "did you mean 'channels'"),
        (lambda: DARTS.supernet(chanels=3), "did you mean 'channels'"),
        (lambda: DARTS.supernet(cells=2, reductions=(2,)), r"reductions \(2,\) must be among the 2 cells"),
        (lambda: DARTS.supernet(stem_multiplier=-1), "stem_multiplier must be 0 or positive"),
        (lambda: DARTS.supernet(channels=0), "channels must be a positive integer"),
        (
            lambda: DARTS.supernet(candidates={"normal": [["none"]] * 14}),
            "needs 14 lists of candidates for each of normal",
        ),
        (lambda: DARTS.supernet(candidates=["conv"]), "unknown darts operation 'conv'"),
    ],
)
def test_bad_supernets_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({}, "the cell cell has 6 edges; the mixture has none"),
        ({"cell": [()] * 5}, "the cell cell has 6 edges; the mixture has 5"),
        ({"cell": [((5, 1.0),)] * 6}, "edge 0 of the cell cell has 5 candidates, none at 5"),
    ],
)
def test_bad_mixtures_are_refused(mixture: Any, message: str) -> None:
    network: Supernet = NB201.supernet(channels=1, cells=1)
    with pytest.raises(InputError, match=message):
        Weighted(network, mixture)


def test_the_original_order_of_parameters(golden: Path) -> None:
    """TE-NAS's networks list stem, edges, reductions, head: the stored names, up to what modules are called."""
    with np.load(golden / "tenas" / "supernet_nb201_full4.npz") as stored:
        names = json.loads(str(stored["meta"]))["param_names"]
        shapes = [stored[f"p{i:04d}"].shape for i in range(len(names))]
    network = NB201.supernet(channels=3, cells=1, affine=True)
    assert [tuple(p.shape) for p in network.parameters()] == shapes
    assert [n.rsplit(".", 1)[1] for n, _ in network.named_parameters()] == [n.rsplit(".", 1)[1] for n in names]
    assert list(network.candidates["cell"][0]) == list(OPERATIONS)
