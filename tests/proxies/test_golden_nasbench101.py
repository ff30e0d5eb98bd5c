"""NAS-Bench-101 networks on fixed weights and inputs: the figures of zero-cost-nas and HNAS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prejudge.proxies.probe import Probe
from prejudge.proxies.scoring import score
from prejudge.spaces.nasbench101.space import NASBench101
from tests.proxies.test_golden import ORIGINAL_NAME, REDUCTION_BNS, RELATIVE

ALL_BNS = "synflow(keep_bn='*')"
NAMES = {p: o for p, o in ORIGINAL_NAME.items() if p not in (REDUCTION_BNS, "ntk_condition_tenas")}
NAMES |= {ALL_BNS: "synflow_bn"}
FILES = ["dangling.npz", "in_out_only.npz", "inception.npz", "single_conv.npz", "truncate_odd.npz"]


def load(path: Path, form: str) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor, dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"]))
    network = NASBench101().network(
        meta, channels=meta["stem_out"], stacks=meta["num_stacks"], cells=meta["num_mods"], form=form
    )
    stored = [arrays[name] for name in sorted(arrays) if name[0] == "p" and name[1:].isdigit()]
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), stored, strict=True):
            assert parameter.shape == value.shape  # the modules are registered in the original order
            parameter.copy_(torch.from_numpy(value.astype(np.float32)))
    x = torch.from_numpy(arrays["x"].astype(np.float32))
    return network, x, torch.from_numpy(arrays["y"].astype(np.int64)), meta | arrays


@pytest.mark.parametrize("form", ["official", "zero-cost-nas"])
@pytest.mark.parametrize("name", FILES)
def test_scores_equal_the_originals(golden: Path, name: str, form: str) -> None:
    # With the weights given, the two forms are the same network: batch statistics do not depend on the momentum.
    network, x, y, known = load(golden / "nb101" / name, form)
    scores = score(network, x, y, list(NAMES))
    for proxy, original in NAMES.items():
        assert float(scores[proxy]) == pytest.approx(
            known["values"]["f32"][original], rel=RELATIVE.get(proxy, 1e-3), abs=1e-3 if proxy == "plain" else 1e-12
        ), proxy


@pytest.mark.parametrize("name", FILES)
def test_logits_channels_and_kernels_equal_the_originals(golden: Path, name: str) -> None:
    network, x, y, known = load(golden / "nb101" / name, "zero-cost-nas")
    assert list(network.cells[0].channels) == known["vertex_channels_first_cell"]
    logits = network(x).detach()
    np.testing.assert_allclose(logits.numpy(), known["logits"], atol=1e-5)
    assert torch.nn.functional.cross_entropy(logits, y).item() == pytest.approx(
        known["values"]["f32"]["loss"], rel=1e-5
    )
    probe = Probe(network.double(), x.double(), y)
    for key, kernel in {"condnum_ntk": probe.label_kernel, "naswot_mellor_K": probe.activation_kernel}.items():
        assert kernel is not None
        np.testing.assert_allclose(kernel.numpy(), known[key], atol=1e-4 * np.abs(known[key]).max(), err_msg=key)
