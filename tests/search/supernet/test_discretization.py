"""Genotypes from the values of operations: against what the originals derive from the same parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prejudge.search.supernet.arch_parameters import SoftmaxParameters, entropy, share_of
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS8, STACNAS_STAGE1, same_everywhere
from prejudge.spaces.darts.discretization import strongest_edges
from prejudge.spaces.nasbench201.supernet import strongest_operations


def softmax(alpha: Any) -> np.ndarray:
    return torch.tensor(alpha, dtype=torch.float32).softmax(-1).numpy()


def read(golden: Path, name: str) -> Any:
    return json.loads((golden / "supernets" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["s1", "s2", "s3", "s4", "s5"])
def test_the_genotypes_of_darts_pt_spaces(golden: Path, name: str) -> None:
    stored = read(golden, "genotypes_from_alpha")["darts_pt_spaces"][name]
    where = space("darts" if name == "s5" else f"darts-{name}")
    candidates = {cell: stored[f"primitives_{cell}"] for cell in ("normal", "reduce")}
    assert candidates == {cell: [list(edge) for edge in edges] for cell, edges in where.candidates.items()}  # type: ignore[attr-defined]
    for case in stored["cases"]:
        found = strongest_edges({c: softmax(case[f"alpha_{c}"]) for c in candidates}, candidates)
        assert found == space("darts").parse(case["genotype"])


def test_the_genotypes_of_darts(golden: Path) -> None:
    stored = read(golden, "genotypes_from_alpha_darts8")
    assert tuple(stored["primitives"]) == DARTS8
    candidates = same_everywhere(DARTS8)
    for case in stored["cases"]:
        values = {c: softmax(case[f"alpha_{c}"]) for c in candidates}
        assert strongest_edges(values, candidates) == space("darts").parse(case["genotype"])


def test_the_cells_of_nasbench201(golden: Path) -> None:
    where = space("nasbench201")
    candidates = where.supernet(channels=2, cells=1).candidates
    for case in read(golden, "genotypes_from_alpha")["nb201"]:
        found = strongest_operations(softmax(case["alpha"]), candidates["cell"])
        assert str(found) == case.get("arch", case.get("genotype"))


def test_bare_parameters_choose_as_stacnas_does(golden: Path) -> None:
    stored = read(golden, "stacnas_selection")
    assert tuple(stored["stage1_ops"]) == STACNAS_STAGE1
    for case in stored["cases"][:4]:  # the others have ties, which the original breaks as it happens
        cells = list(zip(("normal", "reduce"), case["alpha1"], case["stage1_genotype"], strict=True))
        values = {cell: np.concatenate([np.array(node) for node in nodes]) for cell, nodes, _ in cells}
        found = strongest_edges(values, same_everywhere(STACNAS_STAGE1))
        for cell, _, expected in cells:
            assert [list(edge) for edge in getattr(found, cell)] == [edge for node in expected for edge in node]


def test_edges_with_fewer_candidates() -> None:
    arch_parameters = SoftmaxParameters({"cell": [["none", "skip_connect"]] * 5 + [["nor_conv_1x1"]]})
    matrix = arch_parameters.weights()["cell"]
    assert matrix.shape == (6, 2)
    assert matrix[5].tolist() == [1.0, 0.0]
    with torch.no_grad():
        arch_parameters.alphas["cell"][5] = torch.tensor([0.0, 100.0])  # the second entry has no meaning
        arch_parameters.alphas["cell"][:5, 1] = 1.0
    found = strongest_operations(arch_parameters.weights()["cell"].detach().numpy(), arch_parameters.candidates["cell"])
    assert str(found) == (
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|nor_conv_1x1~2|"
    )
    assert share_of("skip_connect", arch_parameters.weights(), arch_parameters.candidates) == 5 / 6
    arch_parameters.weights()["cell"].sum().backward()
    gradient = arch_parameters.alphas["cell"].grad
    assert gradient is not None and bool(gradient.isfinite().all()) and float(gradient[5, 1]) == 0


def test_entropy_is_one_where_all_count_the_same_and_zero_where_one_does() -> None:
    assert entropy({"a": torch.full((3, 4), 0.25), "b": torch.full((2, 7), 1 / 7)}) == pytest.approx(1)
    assert entropy({"a": torch.eye(4)}) == pytest.approx(0)
