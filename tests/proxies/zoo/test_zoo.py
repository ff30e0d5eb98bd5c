"""Real networks: every default proxy equals its plain definition in float64, or fails by name; the page says which."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prejudge.proxies.scoring import score
from tests.proxies.zoo.models import FAST, ZOO, Entry, fill, without_chance
from tests.proxies.zoo.outcomes import EQUAL, MISCOUNT, PAGE, REASONS, ROUNDED, outcome, rows_of

TEXT = PAGE.read_text(encoding="utf-8")
ROWS = rows_of(TEXT)


@pytest.mark.parametrize(
    "entry",
    [pytest.param(e, id=f"{e.library}-{e.name}", marks=() if e.name in FAST else pytest.mark.slow) for e in ZOO],
)
def test_scores_are_right_or_fail_by_name(entry: Entry) -> None:
    pytest.importorskip(entry.library)
    found = outcome(entry)
    assert not {MISCOUNT, "?"} & set(found.codes.values()), found.remarks
    if f"{entry.library} {version(entry.library)}" in TEXT:
        on_page = [code.replace(ROUNDED, EQUAL) for code in ROWS[entry.library, entry.name]]
        assert [code.replace(ROUNDED, EQUAL) for code in found.codes.values()] == on_page


def test_the_page_sums_up_its_rows() -> None:
    assert list(ROWS) == [(entry.library, entry.name) for entry in ZOO]
    codes = [code for row in ROWS.values() for code in row]
    assert MISCOUNT not in codes
    for code in {EQUAL, ROUNDED, *REASONS} & set(codes):
        assert re.search(rf"^\| `{code}` .* \| {codes.count(code)} \|$", TEXT, re.MULTILINE), code
    assert f"| pairs of network and proxy | {len(codes)} |" in TEXT
    assert "| **wrong without a word** | **0** |" in TEXT


def test_the_zoo_is_wide() -> None:
    timm = {entry.name: entry.family for entry in ZOO if entry.library == "timm"}
    assert len(timm) >= 60
    assert len(set(timm.values())) >= 25
    assert sum(entry.library == "transformers" for entry in ZOO) >= 10


GOLDEN = ("test_vit", "test_nfnet", "test_resnet", "test_mambaout", "test_convnext")
"""Networks of the file of figures that are fast."""
NAMES = {"label_trace_counted_weights_and_biases": "ntk_trace", "jacobian_trace_weight_parameters": "ntk_trace_tenas"}


def _cases(golden: Path) -> dict[str, Any]:
    with (golden / "transformers" / "timm_scores.json").open(encoding="utf-8") as file:
        return {case["name"]: case for case in json.load(file)["cases"]}


@pytest.mark.parametrize("name", GOLDEN)
def test_scores_equal_the_figures(golden: Path, name: str) -> None:
    _compare(_cases(golden)[name])


@pytest.mark.slow
def test_scores_of_all_cases_equal_the_figures(golden: Path) -> None:
    for name, case in _cases(golden).items():
        if name != "coat_tiny":  # its figures leave out a one-dimensional convolution
            _compare(case)


def _compare(case: dict[str, Any]) -> None:
    timm = pytest.importorskip("timm")
    size = {"img_size": case["image"]} if case["img_size_argument"] else {}
    network = fill(
        without_chance(timm.create_model(case["name"], num_classes=case["classes"], **size)), case["weight_seed"]
    )
    draws = np.random.RandomState(case["data_seed"])
    x = draws.randn(case["batch"], 3, case["image"], case["image"]).astype(np.float32)
    y = draws.randint(0, case["classes"], case["batch"])
    expected = {NAMES.get(name, name): value for name, value in case["values"].items() if name != "loss"}
    if "nf" in case["name"]:
        del expected["ntk_trace"]  # the figure counts the gains of standardized kernels, which are no weights here
    found = score(network.double(), torch.tensor(x).double(), torch.tensor(y), list(expected))
    for proxy, value in expected.items():
        tolerance = case["rtol"] * (abs(value) + (case["values"]["snip"] if proxy == "plain" else 0))
        assert found[proxy].ok, (case["name"], proxy, found[proxy].reason)
        assert abs(float(found[proxy]) - value) <= tolerance, (case["name"], proxy, float(found[proxy]), value)
