"""The network of a genotype against the originals' figures, and what it promises for any image size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from prejudge.errors import InputError
from prejudge.proxies.scoring import score
from prejudge.spaces import space
from prejudge.spaces.darts.counts import cell_places
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.macro import FORMS, MacroConfigDARTS
from prejudge.spaces.darts.network import AuxiliaryPool, CellModuleDARTS, NetworkDARTS
from prejudge.spaces.darts.operations import operation
from prejudge.spaces.darts.published import published_genotype
from tests.fills import filled

MIXED = Genotype(
    normal=(
        ("sep_conv_3x3", 0), ("skip_connect", 1), ("avg_pool_3x3", 0), ("dil_conv_3x3", 2),
        ("max_pool_3x3", 1), ("skip_connect", 3), ("dil_conv_5x5", 2), ("skip_connect", 0),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        ("skip_connect", 0), ("sep_conv_5x5", 1), ("max_pool_3x3", 0), ("skip_connect", 2),
        ("avg_pool_3x3", 1), ("dil_conv_5x5", 3), ("skip_connect", 1), ("dil_conv_3x3", 4),
    ),
    reduce_concat=(2, 3, 4, 5),
)  # fmt: skip


def small(genotype: Genotype = MIXED, **numbers: Any) -> NetworkDARTS:
    return NetworkDARTS(genotype, MacroConfigDARTS(**{"channels": 4, "cells": 3, **numbers}))


def data(n: int, seed: int, side: int = 32) -> tuple[Tensor, Tensor]:
    rng = np.random.RandomState(seed)
    images = rng.randn(n, 3, side, side).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(rng.randint(0, 10, n))


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


FINAL = {
    "darts_v2": ("retrain", "DARTS_V2", {}),
    "ista_twostage": ("retrain", "ISTA_twostage", {}),
    "ista_onestage": ("retrain", "ISTA_onestage", {"form": "ista-onestage"}),
    "tenas_c10": ("retrain", "TENAS_cifar10", {}),
    "imagenet_darts_v2": ("retrain", "DARTS_V2", {"stem": "imagenet"}),
    "": ("stacnas_final", "StacNAS_cifar10", {"form": "stacnas"}),
}


@pytest.mark.parametrize("case", FINAL)
def test_final_networks_equal_the_originals(golden: Path, case: str) -> None:
    file, name, numbers = FINAL[case]
    stored = arrays(golden / "supernets" / f"{file}.npz")
    expected = {key.removeprefix(f"{case}/"): v for key, v in stored.items() if not case or key.startswith(f"{case}/")}
    network = filled(small(published_genotype(name).genotype, channels=8, cells=5, auxiliary=True, **numbers))
    x, y = data(2, 1, 224) if case.startswith("imagenet") else data(4, 1)
    with torch.no_grad():
        logits, auxiliary = network(x, auxiliary=True)
        close(logits, expected["logits_train"])
        close(auxiliary, expected["aux_logits"])
        if "loss" in expected:
            close(cross_entropy(logits, y) + 0.4 * cross_entropy(auxiliary, y), expected["loss"])
        close(network.eval()(x), expected["logits_eval_after1"])


@pytest.mark.parametrize(
    ("case", "loss"),
    [
        ("darts_v2", 3.2333085536956787), ("ista_twostage", 3.2031586170196533),
        ("ista_onestage", 3.252751111984253), ("tenas_c10", 3.188282012939453),
    ],
)  # fmt: skip
def test_losses_on_weights_given_by_a_formula(case: str, loss: float) -> None:
    """The original figures again, in a test that needs no file."""
    _, name, numbers = FINAL[case]
    network = filled(small(published_genotype(name).genotype, channels=8, cells=5, auxiliary=True, **numbers))
    x, y = data(4, 1)
    logits, auxiliary = network(x, auxiliary=True)
    found = cross_entropy(logits, y) + 0.4 * cross_entropy(auxiliary, y)
    assert found.item() == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("case", ["darts_v2", "ista_twostage", "ista_onestage", "tenas_c10"])
def test_three_training_steps_equal_the_originals(golden: Path, case: str) -> None:
    _, name, numbers = FINAL[case]
    expected = json.loads((golden / "supernets" / "retrain.json").read_text())[case]
    network = filled(small(published_genotype(name).genotype, channels=8, cells=5, auxiliary=True, **numbers))
    sizes = {key: p.numel() for key, p in network.named_parameters()}
    head = sum(size for key, size in sizes.items() if key.startswith("auxiliary_head."))
    assert (sum(sizes.values()) - head, head) == (expected["params"], expected["aux_params"])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    for step, (loss, norm) in enumerate(expected["traj"]):
        x, y = data(4, 10 + step)
        logits, auxiliary = network(x, auxiliary=True)
        found = cross_entropy(logits, y) + 0.4 * cross_entropy(auxiliary, y)
        optimizer.zero_grad()
        found.backward()
        found_norm = nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        # ReLUs and poolings amplify rounding: between float32 and float64 the third norm differs by up to 60 %.
        assert found.item() == pytest.approx(loss, rel=(1e-5, 1e-5, 0.05)[step])
        if step < 2:
            assert found_norm.item() == pytest.approx(norm, rel=(1e-5, 5e-3)[step])


def test_one_stage_weights_fold_into_the_last_batch_norms(golden: Path) -> None:
    stored = arrays(golden / "supernets" / "ista_onestage_net.npz")
    genotype = published_genotype("ISTA_onestage").genotype
    network = filled(small(genotype, channels=8, cells=5, form="ista-onestage"))
    order = (
        "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
    )  # fmt: skip
    first_edge = (0, 2, 5, 9)
    for cell, place in zip(network.cells, cell_places(MacroConfigDARTS(cells=5)), strict=True):
        weights = stored["w_reduce" if place.reduction else "w_normal"]
        for i, (name, source) in enumerate(genotype.reduce if place.reduction else genotype.normal):
            last = [m for m in cell._ops[i].modules() if isinstance(m, nn.BatchNorm2d)][-1]
            last.weight.data.fill_(float(weights[first_edge[i // 2] + source, order.index(name)]))
    with torch.no_grad():
        close(network(data(4, 1)[0]), stored["derived_logits"])


def test_modules_bear_the_official_names_in_the_official_order() -> None:
    names = list(small(auxiliary=True).state_dict())
    rooms = list(dict.fromkeys(name.split(".")[0] for name in names))
    assert rooms == ["stem", "cells", "auxiliary_head", "classifier"]
    rooms = list(dict.fromkeys(name.split(".")[0] for name in small(stem="imagenet", auxiliary=True).state_dict()))
    assert rooms == ["stem0", "stem1", "cells", "auxiliary_head", "classifier"]
    for name in (
        "stem.0.weight", "cells.0.preprocess0.op.1.weight", "cells.0._ops.0.op.5.weight",
        "cells.1._ops.0.conv_2.weight", "cells.2.preprocess0.bn.running_mean",
        "auxiliary_head.features.5.weight", "auxiliary_head.classifier.bias",
    ):  # fmt: skip
        assert name in names
    assert len(small(auxiliary=True).auxiliary_head.features) == 8
    assert len(small(auxiliary=True, stem="imagenet").auxiliary_head.features) == 7


def test_only_the_genotypes_operations_exist() -> None:
    for cell in small().cells:
        assert len(cell._ops) == 8
    plain = Genotype((("skip_connect", 0), ("none", 1)), (2,), (("skip_connect", 0), ("max_pool_3x3", 1)), (2,))
    assert not list(small(plain).cells[0]._ops.parameters())


def test_a_cell_equals_its_definition() -> None:
    torch.manual_seed(0)
    edges = (("sep_conv_3x3", 1), ("skip_connect", 0), ("avg_pool_3x3", 2), ("avg_pool_3x3", 2))
    genotype = Genotype(edges, (3, 0), edges, (2, 3))
    cell = CellModuleDARTS(genotype, cell_places(MacroConfigDARTS(channels=4, cells=3))[0], "standard").eval()
    x, y = torch.randn(2, 12, 8, 8), torch.randn(2, 12, 8, 8)
    s0, s1 = cell.preprocess0(x), cell.preprocess1(y)
    node = cell._ops[0](s1) + s0
    pooled = avg_pool2d(node, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(cell(x, y), torch.cat([2 * pooled, s0], dim=1))


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("side", [4, 7, 8, 15, 28, 33, 36, 64])
def test_any_image_size_works_with_the_auxiliary_head(stem: str, form: str, side: int) -> None:
    network = small(stem=stem, form=form, num_classes=7, in_channels=1, auxiliary=True)
    x = torch.randn(3, 1, side, side)
    logits, auxiliary = network(x, auxiliary=True)
    assert logits.shape == auxiliary.shape == (3, 7)
    assert network.eval()(x).shape == (3, 7)


@pytest.mark.parametrize("cells", [1, 2, 3, 4])
def test_few_cells_work(cells: int) -> None:
    logits, auxiliary = small(cells=cells, auxiliary=True)(torch.randn(2, 3, 9, 12), auxiliary=True)
    assert logits.shape == auxiliary.shape == (2, 10)


@pytest.mark.parametrize(
    ("published", "side", "stride"), [(3, 6, 1), (3, 7, 2), (3, 8, 3), (3, 10, 3), (2, 7, 2), (2, 8, 2)]
)
def test_the_auxiliary_pool_keeps_the_published_windows(published: int, side: int, stride: int) -> None:
    x = torch.randn(2, 3, side, side)
    expected = avg_pool2d(x, 5, stride=stride)
    assert expected.shape[2:] == (2, 2)
    assert torch.equal(AuxiliaryPool(published)(x), expected)


@pytest.mark.parametrize(("published", "side"), [(3, 4), (3, 16), (2, 14)])
def test_the_auxiliary_pool_takes_quarters_elsewhere(published: int, side: int) -> None:
    x = torch.randn(2, 3, side, side)
    torch.testing.assert_close(AuxiliaryPool(published)(x), avg_pool2d(x, side // 2))


def test_the_auxiliary_head_runs_on_request_only_and_changes_nothing() -> None:
    torch.manual_seed(0)
    network = small(cells=2, auxiliary=True)  # the head reads the very map that the classifier pools
    x = torch.randn(4, 3, 16, 16)
    assert isinstance(network(x), Tensor)
    torch.testing.assert_close(network(x, auxiliary=True)[0], network(x))
    assert len(network.eval()(x, auxiliary=True)) == 2


def test_asking_for_a_missing_auxiliary_head_is_an_error() -> None:
    with pytest.raises(InputError, match="no auxiliary head; build it with auxiliary=True"):
        small()(torch.randn(2, 3, 8, 8), auxiliary=True)


def test_drop_path_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = small(drop_path=0.5)
    assert network.drop_path_prob == 0.5
    x = torch.randn(4, 3, 8, 8)
    assert not torch.equal(network(x), network(x))
    network.drop_path_prob = 0.0
    assert torch.equal(network(x), network(x))
    network.eval().drop_path_prob = 0.5
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("name", "form", "dropped"),
    [
        ("skip_connect", "standard", False), ("skip_connect", "stacnas", False),
        ("skip_connect", "ista-onestage", True), ("max_pool_3x3", "standard", True), ("dil_conv_3x3", "standard", True),
    ],
)  # fmt: skip
def test_drop_path_spares_the_plain_identity(name: str, form: str, dropped: bool) -> None:
    torch.manual_seed(0)
    edges = ((name, 0), ("none", 1))
    cell = CellModuleDARTS(Genotype(edges, (2,), edges, (2,)), cell_places(MacroConfigDARTS(channels=4), 1, 1)[0], form)
    x = torch.randn(64, 12, 8, 8)
    zero = (cell(x, x, 0.5) == 0).flatten(1).all(1)
    assert bool(zero.any()) is dropped
    assert not zero.all()


def test_the_reduction_skip_is_dropped() -> None:
    torch.manual_seed(0)
    edges = (("skip_connect", 0), ("none", 1))
    place = cell_places(MacroConfigDARTS(channels=4), 1, 1)[6]
    x = torch.randn(64, place.c_prev, 8, 8)
    assert (
        (CellModuleDARTS(Genotype(edges, (2,), edges, (2,)), place, "standard")(x, x, 0.5) == 0).flatten(1).all(1).any()
    )


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("form", FORMS)
def test_every_proxy_runs_on_it(side: int, form: str) -> None:
    torch.manual_seed(0)
    network = small(form=form, in_channels=1, auxiliary=True)
    x, y = torch.randn(8, 1, side, side), torch.arange(8) // 2
    for name, value in score(network, x, y).items():
        # where the last batch norm of every path makes the sum of the logits a constant, it has no gradient
        constant = name in ("jacob_cov", "epe_nas") and "makes it a constant" in value.reason
        assert value.ok or (constant and form in ("stacnas", "ista-onestage")), (name, value.reason)


def test_per_image_gradients_survive_noise_and_dead_edges() -> None:
    torch.manual_seed(0)
    edges = (("noise", 0), ("sep_conv_3x3", 1), ("none", 2), ("none", 0), ("noise", 1), ("skip_connect", 3))
    scores = score(small(Genotype(edges, (2, 3, 4), edges, (2, 3, 4))), torch.randn(8, 3, 8, 8), torch.arange(8))
    for name in ("grad_norm", "snip", "synflow", "ntk_trace"):
        assert scores[name].ok, (name, scores[name].reason)


def test_it_builds_on_the_meta_device() -> None:
    with torch.device("meta"):
        network = NetworkDARTS(MIXED, MacroConfigDARTS(auxiliary=True, drop_path=0.2))
        logits, auxiliary = network(torch.empty(2, 3, 32, 32), auxiliary=True)
    assert logits.shape == auxiliary.shape == (2, 10)
    assert all(p.device.type == "meta" for p in network.parameters())


@pytest.mark.gpu
def test_it_runs_on_cuda() -> None:
    network = small(auxiliary=True, drop_path=0.2).cuda()
    logits, auxiliary = network(torch.randn(2, 3, 8, 8, device="cuda"), auxiliary=True)
    (logits.sum() + auxiliary.sum()).backward()
    assert operation("noise", 4, 2).cuda()(torch.randn(2, 4, 7, 7, device="cuda")).device.type == "cuda"


def test_the_zero_of_stacnas_is_kept_as_a_share_of_every_operation() -> None:
    darts = space("darts")
    genotype = darts.parse("DARTS_V2")
    numbers = {"channels": 4, "cells": 3}
    torch.manual_seed(0)
    plain = darts.network(genotype, form="stacnas", **numbers).double()
    kept = darts.network(genotype, form="stacnas-zero", **numbers).double()
    assert sum(p.numel() for p in kept.parameters()) == darts.params(genotype, form="stacnas-zero", **numbers)
    assert darts.params(genotype, form="stacnas-zero", **numbers) == (
        darts.params(genotype, form="stacnas", **numbers) + 3 * 8 * 2
    )
    missing, unexpected = kept.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(name.endswith("zero_alphas") for name in missing)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        for cell in kept.cells:
            cell.zero_alphas.copy_(torch.tensor([40.0, 0.0], dtype=torch.float64).expand(8, 2))
        torch.testing.assert_close(kept(x), plain(x))  # ``none`` has lost everywhere
        kept.cells[0].zero_alphas[0] = 0.0
    assert not torch.allclose(kept(x), plain(x))
    kept(x).sum().backward()
    assert all(float(cell.zero_alphas.grad.abs().sum()) > 0 for cell in kept.cells[:1])
