"""Parameters and multiply-adds by formula: against the originals' networks, and against the networks built here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prejudge.spaces.darts.counts import cell_places, count_flops, count_params
from prejudge.spaces.darts.genotype import OPERATIONS, Genotype
from prejudge.spaces.darts.macro import FORMS, MacroConfigDARTS
from prejudge.spaces.darts.network import NetworkDARTS
from prejudge.spaces.darts.published import published_genotype

IMAGENET = {"num_classes": 1000, "channels": 48, "cells": 14, "stem": "imagenet"}
SMALL = {"channels": 16, "cells": 8}
DARTS_V2 = published_genotype("DARTS_V2").genotype


def random_genotype(rng: np.random.Generator, nodes: int) -> Genotype:
    """Any operations and predecessors, some of the states in the output."""

    def cell() -> tuple[tuple[str, int], ...]:
        return tuple((str(rng.choice(OPERATIONS)), int(rng.integers(e // 2 + 2))) for e in range(2 * nodes))

    def concat(first: int) -> tuple[int, ...]:
        states = rng.permutation(np.arange(first, nodes + 2))
        return tuple(sorted(states[: rng.integers(1, len(states) + 1)].tolist()))

    return Genotype(cell(), concat(0), cell(), concat(2))


def measured_flops(network: nn.Module, image: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and linear layers that run, counted from the shapes that arrive."""
    total = 0

    def count(module: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * (output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network.eval()(image)
    return total


def test_published_sizes() -> None:
    assert count_params(DARTS_V2, MacroConfigDARTS()) == 3_349_342
    assert count_params(DARTS_V2, MacroConfigDARTS(auxiliary=True)) == 3_825_768
    assert count_flops(DARTS_V2, MacroConfigDARTS(), 32) == 528_359_040
    assert count_params(DARTS_V2, MacroConfigDARTS(**IMAGENET)) == 4_718_752
    assert count_flops(DARTS_V2, MacroConfigDARTS(**IMAGENET), 224) == 529_911_552


def test_all_genotypes_count_as_in_the_originals(golden: Path) -> None:
    rows = json.loads((golden / "supernets" / "params.json").read_text())["rows"]
    assert len(rows) == 72
    for row in rows:
        genotype = Genotype(**row["genotype"])
        # The one row with batch norms after pools and identities has them in its CIFAR columns only.
        form = "standard" if row["model"] == "standard" else "ista-onestage"
        counted = {
            "cifar10_params": count_params(genotype, MacroConfigDARTS(form=form)),
            "cifar10_with_aux": count_params(genotype, MacroConfigDARTS(form=form, auxiliary=True)),
            "cifar100_params": count_params(genotype, MacroConfigDARTS(form=form, num_classes=100)),
            "cifar10_macs": count_flops(genotype, MacroConfigDARTS(form=form), 32),
            "imagenet_params": count_params(genotype, MacroConfigDARTS(**IMAGENET)),
            "imagenet_with_aux": count_params(genotype, MacroConfigDARTS(**IMAGENET, auxiliary=True)),
            "imagenet_macs": count_flops(genotype, MacroConfigDARTS(**IMAGENET), 224),
            "c16_l8_cifar100_params": count_params(genotype, MacroConfigDARTS(form=form, num_classes=100, **SMALL)),
            "c16_l8_10cls_params": count_params(genotype, MacroConfigDARTS(form=form, **SMALL)),
        }
        for column, count in counted.items():
            assert row.get(column, count) == count, (row["name"], column)


def test_the_other_forms_count_as_in_the_originals(golden: Path) -> None:
    folder = golden / "supernets"
    rows = json.loads((folder / "params.json").read_text())["rows"]
    genotypes = {row["name"]: Genotype(**row["genotype"]) for row in rows}
    for row in json.loads((folder / "params_stacnas_model.json").read_text())["rows"]:
        genotype, classes = genotypes[row["name"]], {"num_classes": row["classes"]}
        assert count_params(genotype, MacroConfigDARTS(form="stacnas", **classes)) == row["params"]
        assert count_params(genotype, MacroConfigDARTS(form="stacnas", auxiliary=True, **classes)) == row["with_aux"]
        assert count_params(genotype, MacroConfigDARTS(**classes)) == row["dart_style_params"]
    selection = json.loads((folder / "ista_selection.json").read_text())
    for name in ("ista:ISTA_ImageNet", "ista:ISTA_onestage"):
        count = count_params(genotypes[name], MacroConfigDARTS(form="ista-onestage", **IMAGENET))
        assert count == selection[f"{name}_bn_variant_imagenet_params"]


@pytest.mark.parametrize("seed", range(24))
def test_the_formulas_equal_the_built_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genotype = random_genotype(rng, nodes=int(rng.integers(1, 6)))
    macro = MacroConfigDARTS(
        num_classes=int(rng.integers(2, 30)),
        channels=2 * int(rng.integers(1, 9)) if (imagenet := bool(seed % 2)) else int(rng.integers(1, 9)),
        cells=int(rng.integers(1, 9)),
        in_channels=int(rng.integers(1, 5)),
        stem="imagenet" if imagenet else "cifar",
        form=FORMS[seed % 3],
        auxiliary=bool(rng.integers(2)),
    )
    with torch.device("meta"):
        network = NetworkDARTS(genotype, macro)
        assert sum(p.numel() for p in network.parameters()) == count_params(genotype, macro)
        side = int(rng.integers(4, 70))
        image = torch.empty(1, macro.in_channels, side, side)
        assert measured_flops(network, image) == count_flops(genotype, macro, side)


def test_cells_stand_where_the_original_puts_them() -> None:
    places = cell_places(MacroConfigDARTS())
    assert [i for i, place in enumerate(places) if place.reduction] == [6, 13]
    assert [i for i, place in enumerate(places) if place.after_reduction] == [7, 14]
    assert (places[0].c_prev_prev, places[0].c_prev, places[0].channels) == (108, 108, 36)
    assert (places[7].c_prev_prev, places[7].c_prev, places[7].channels) == (144, 288, 72)
    first = cell_places(MacroConfigDARTS(**IMAGENET))[0]
    assert (first.c_prev_prev, first.c_prev, first.after_reduction) == (48, 48, True)


def test_counting_needs_no_torch() -> None:
    code = "import sys, prejudge.spaces.darts.counts; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
