"""Parameters and multiply-adds of timm's models, against what torch's counter gives them on the meta device."""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prejudge.proxies.passes.multiply_adds import multiply_adds

timm = pytest.importorskip("timm")

FEW = (
    "test_vit", "test_resnet", "resnet18", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050",
    "repvgg_a0", "ghostnet_050", "mixer_s32_224", "edgenext_xx_small", "deit_tiny_distilled_patch16_224",
    "xcit_nano_12_p8_224", "crossvit_tiny_240", "cait_xxs24_224", "nf_regnet_b0",
)  # fmt: skip
PARTS = 16


def check(name: str, golden: dict[str, dict[str, str]]) -> None:
    """One model at its published size: our figures are the golden ones, or where there are none those of the counter.

    Ours has the classifiers' biases beside: one for each logit of each linear layer that makes logits.
    """
    shapes: list[torch.Size] = []
    with torch.device("meta"), warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")
        network = timm.create_model(name)
        x = torch.empty(2, *timm.get_pretrained_cfg(name).input_size)
        for layer in network.modules():
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                layer.register_forward_hook(lambda _, __, output: shapes.append(output.shape))
        logits: list[Tensor] = []
        network.register_forward_hook(lambda _, __, output: logits.append(output))
        ours = multiply_adds(network, x)
        figures: Any = golden.get(name)
        if figures is None:
            network.requires_grad_(False)
            for layer in network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()  # one image of one position has no variance
            with FlopCounterMode(display=False) as counter:
                network(x[:1])
            figures = {"params": sum(p.numel() for p in network.parameters()), "flops_2mac": counter.get_total_flops()}
        network.requires_grad_(True)
    assert sum(p.numel() for p in network.parameters()) == int(figures["params"]), name
    first = logits[0]
    classifiers = sum(shape == first.shape for shape in shapes[: len(shapes) // len(logits)])
    biases, rest = divmod(2 * ours - int(figures["flops_2mac"]), 2 * first.numel())
    # a model without a classifier returns what its last linear layers gave: their biases count, up to three of them
    most = classifiers if network.num_classes else 3
    assert rest == 0 and 0 <= biases <= most, (name, ours, figures["flops_2mac"])
    if network.num_classes and first.dim() == 2:
        assert biases == classifiers or biases == 1, (name, biases, classifiers)


@pytest.fixture(scope="session")
def figures(golden: Path) -> dict[str, dict[str, str]]:
    with gzip.open(golden / "transformers" / "timm_models.csv.gz", "rt", encoding="utf-8") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", FEW)
def test_models_of_many_families(name: str, figures: dict[str, dict[str, str]]) -> None:
    check(name, figures)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_all_models(part: int, figures: dict[str, dict[str, str]]) -> None:
    names = timm.list_models()[part::PARTS]
    assert len(names) > 1300 // PARTS
    for name in names:
        check(name, figures)
