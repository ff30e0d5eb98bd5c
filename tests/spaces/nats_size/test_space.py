"""NATS-Bench's size space: texts, order, counts by formula, and the published network against its golden figures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import prejudge
from prejudge.errors import InputError
from prejudge.spaces import NATSSize, StageWidths, space
from prejudge.spaces.nats_size.widths import GENOTYPE

S = space("nats-size")
assert isinstance(S, NATSSize)
architectures = st.tuples(*[st.sampled_from(range(8, 65, 8))] * 5).map(StageWidths)


def test_the_order_is_the_official_one() -> None:
    # golden/tables/nats/size_space_counts.json: sha256 of the 32,768 texts; nats_bench 1.8 at the indices
    assert len(S) == S.size == 32768
    digest = hashlib.sha256("\n".join(map(str, S)).encode()).hexdigest()
    assert digest == "8b99b4c0aabe959924c6fb36c0ee4a3f79362343e36b7752b90deee9409b492f"
    assert [str(S[i]) for i in (0, 11, 284)] == ["8:8:8:8:8", "8:8:8:16:32", "8:8:40:32:40"]
    assert space("nats_size") is S


def test_sizes_of_the_whole_space_are_the_published_ones() -> None:
    params = np.array([S.params(a) for a in S])
    flops = np.array([S.flops(a) for a in S])
    assert (params.min(), params.max(), params.sum()) == (11714, 713674, 8804237312)
    assert (flops.min(), flops.max(), flops.sum()) == (4481114, 274399882, 3504881598464)
    assert len(np.unique(params)) == 23771


@pytest.mark.parametrize(
    ("text", "classes", "size", "params", "flops"),
    [
        ("24:16:40:16:64", 10, 32, 229266, 51831434),
        ("64:64:56:32:16", 100, 32, 464164, 252348068),
        ("64:40:32:16:48", 120, 16, 370168, 54867704),
    ],
)
def test_counts_are_those_of_nats_bench(text: str, classes: int, size: int, params: int, flops: int) -> None:
    assert S.params(S.parse(text), num_classes=classes) == params
    assert S.flops(S.parse(text), size, num_classes=classes) == flops
    network = S.network(S.parse(text), num_classes=classes)
    assert sum(p.numel() for p in network.parameters()) == params
    assert network(torch.zeros(2, 3, size, size)).shape == (2, classes)


@pytest.mark.parametrize("name", ["size_net_16-8-24-16-8", "size_net_8-8-8-16-32"])
def test_the_network_is_the_official_one(golden: Path, name: str) -> None:
    file = np.load(golden / "tables" / "nats" / f"{name}.npz")
    meta = json.loads(str(file["meta"]))
    network = S.network(S.parse(meta["channels"]), num_classes=meta["classes"])
    named = dict(network.named_parameters())
    assert list(named) == meta["param_names"]
    with torch.no_grad():
        for i, parameter in enumerate(named.values()):
            parameter.copy_(torch.from_numpy(file[f"p{i:03d}"].astype(np.float32)))
    logits = network(torch.from_numpy(file["x"].astype(np.float32)))
    np.testing.assert_allclose(logits.detach().numpy(), file["logits"], rtol=1e-4, atol=1e-5)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(file["y"]))
    assert loss.item() == pytest.approx(meta["loss"], rel=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    for key, expected in meta["grad_l2_per_parameter"].items():
        gradient = named[key].grad
        assert gradient is not None
        assert gradient.norm().item() == pytest.approx(expected, rel=1e-3, abs=1e-5), key


@given(architectures)
def test_round_trips(arch: StageWidths) -> None:
    assert S.parse(str(arch)) == arch == S.parse(S.index(arch)) == S[S.index(arch)] == S.decode(S.encode(arch))
    assert S.canonical(arch) == str(arch)
    assert S.representative(arch) == arch
    assert S.connected(arch)


@given(architectures, st.integers(0, 2**32 - 1))
def test_neighbors_and_mutations_change_one_width(arch: StageWidths, seed: int) -> None:
    neighbors = S.neighbors(arch)
    assert len(set(neighbors)) == 35
    assert S.mutate(arch, np.random.default_rng(seed)) in neighbors
    assert S.sample(np.random.default_rng(seed)) in S


@pytest.mark.parametrize(
    "written",
    [
        "8:8:8:16:32",
        "[2020-09-12 03:41:23] arch 8:8:8:8:8, the best : 8:8:8:16:32 91.2%",
        [8, 8, 8, 16, 32],
        ("8", "8", "8", "16", "32"),
        np.array([8, 8, 8, 16, 32]),
        {"name": "infer.shape.tiny", "channels": "8:8:8:16:32", "genotype": GENOTYPE, "num_classes": 10},
        {"channels": "8:8:8:16:32", "genotype": f"Structure(4 nodes with {GENOTYPE})"},
        {f"layer-{i}": width for i, width in enumerate((8, 8, 8, 16, 32))},
        11,
        "11",
    ],
    ids=str,
)
def test_every_notation_is_the_same_architecture(written: Any) -> None:
    assert S.parse(written) == S[11]
    if not isinstance(written, str):
        assert S.parse(repr(written)) == S[11]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("64:64:64:64", "names no five widths"),
        ("64:64:64:64:64:64", "names no five widths"),
        ("64:64:64:64:65", "65 is not a width; give 8, 16"),
        ("8:8:8:8:0", "0 is not a width"),
        ([8, 8, 8], "has 3 widths; five are needed"),
        ([8, 8, 8, 8, 8.0], "8.0 is not a width"),
        ([8, 8, 8, 8, True], "True is not a width"),
        (32768, "outside 0..32767"),
        (GENOTYPE, "a cell of the space nasbench201"),
        ({"channels": "8:8:8:8:8", "genotype": "|none~0|"}, "the cell is always"),
        ({"layer-0": 8}, "'layer-0' to 'layer-4'"),
        (None, "cannot read widths from NoneType"),
        ("[8, 8", "neither JSON nor a Python literal"),
    ],
    ids=str,
)
def test_anything_else_is_refused_with_the_offender(written: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        S.parse(written)
    assert message in str(error.value)
    with pytest.raises(InputError, match="unknown nats-size notation 'naslib'"):
        S.parse("8:8:8:8:8", notation="naslib")


def test_proxies_score_it_and_it_is_drawn(tmp_path: Path) -> None:
    from prejudge.report.cell_drawing import draw_cells

    torch.manual_seed(0)
    network = S.network(S[11])
    scores = prejudge.score(
        network, torch.randn(8, 3, 32, 32), torch.arange(8), proxies=["synflow", "params", "naswot"]
    )
    assert all(score.ok for score in scores.values())
    assert scores["params"].value == S.params(S[11])
    assert draw_cells(S.graphs(S[11]), tmp_path / "x.svg", title="8:8:8:16:32").stat().st_size > 1000
