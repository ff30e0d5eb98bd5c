"""The figures of HNAS (and of TE-NAS's kernel) on a small DARTS network with fixed weights and inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prejudge.proxies.probe import Probe
from prejudge.proxies.scoring import score
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.network import NetworkDARTS

ORIGINAL_NAME = {
    "grad_norm": "grad_norm", "snip": "snip", "grasp": "grasp", "fisher": "fisher", "jacob_cov": "jacob_cov",
    "plain": "plain", "synflow": "synflow", "naswot": "naswot_mellor", "naswot_hnas": "naswot_relu_once",
    "ntk_trace": "ntk_trace", "ntk_condition": "condnum", "ntk_condition_tenas": "tenas_ntk_cond",
}  # fmt: skip
# As for NAS-Bench-201: the originals' kernels are in fp32.
RELATIVE = {"grasp": 2e-3, "ntk_condition": 1e-2, "ntk_condition_tenas": 1e-2}


def load(golden: Path) -> tuple[NetworkDARTS, dict[str, np.ndarray], dict[str, Any]]:
    with np.load(golden / "darts" / "mixed.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"]))
    macro = MacroConfigDARTS(channels=meta["C"], cells=meta["layers_n"], num_classes=meta["num_classes"])
    network = NetworkDARTS(Genotype(**meta["genotype"]), macro)
    parameters = dict(network.named_parameters())
    assert list(parameters) == meta["param_names"]  # the official names, in the official order
    stored = [arrays[name] for name in sorted(arrays) if name[0] == "p" and name[1:].isdigit()]
    for parameter, value in zip(parameters.values(), stored, strict=True):
        assert parameter.shape == value.shape
        parameter.data.copy_(torch.from_numpy(value.astype(np.float32)))
    return network, arrays, meta


def test_logits_equal_the_originals(golden: Path) -> None:
    network, arrays, _ = load(golden)
    with torch.no_grad():
        logits = network(torch.from_numpy(arrays["x"].astype(np.float32)))
    np.testing.assert_allclose(logits.numpy(), arrays["logits"], rtol=1e-4, atol=1e-4)


def test_scores_equal_the_originals(golden: Path) -> None:
    network, arrays, meta = load(golden)
    x, y = torch.from_numpy(arrays["x"].astype(np.float32)), torch.from_numpy(arrays["y"].astype(np.int64))
    scores = score(network, x, y, list(ORIGINAL_NAME))
    for proxy, name in ORIGINAL_NAME.items():
        expected = meta["values"]["f32"][name]
        tolerance = {"rel": RELATIVE.get(proxy, 1e-3), "abs": 1e-3 if proxy == "plain" else 1e-12}
        assert float(scores[proxy]) == pytest.approx(expected, **tolerance), proxy


def test_kernel_matrices_equal_the_originals(golden: Path) -> None:
    network, arrays, _ = load(golden)
    x, y = torch.from_numpy(arrays["x"].astype(np.float64)), torch.from_numpy(arrays["y"].astype(np.int64))
    probe = Probe(network.double(), x, y)
    found = {
        "condnum_ntk": probe.label_kernel, "tenas_ntk": probe.jacobian_kernel,
        "naswot_mellor_K": probe.activation_kernel,
    }  # fmt: skip
    for key, kernel in found.items():
        assert kernel is not None
        np.testing.assert_allclose(kernel.numpy(), arrays[key], atol=1e-4 * np.abs(arrays[key]).max(), err_msg=key)
