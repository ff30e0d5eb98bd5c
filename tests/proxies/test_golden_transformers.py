"""The figures of Auto-Prox (lliai/Auto-Prox-AAAI24 90ed458) on its AutoFormer and PiT networks, weights by formula."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.proxies.scoring import score

ORIGINAL_NAME = {
    "grad_norm": "grad_norm", "snip": "snip", "plain": "plain", "grasp": "grasp", "synflow": "synflow",
    "l2_norm": "l2_norm", "jacob_cov": "jacov", "naswot(activations='all')": "nwot_weights_kept",
    "fisher": "fisher_channels_NOT_ORIGINAL",
}  # fmt: skip


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv_transform, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv_transform(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        shares = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        return self.projection((shares @ v).transpose(1, 2).reshape(n, tokens, width))


class Perceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, 1e-6), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, 1e-6), Perceptron(width, int(width * ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class AutoFormer(nn.Module):
    def __init__(self, arch: dict[str, Any], image: int, classes: int) -> None:
        super().__init__()
        width = arch["hidden_dim"]
        self.pos_embed = nn.Parameter(torch.zeros(1, (image // 16) ** 2 + 1, width))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv2d(3, width, 16, 16)})
        pairs = zip(arch["num_heads"], arch["mlp_ratio"], strict=True)
        self.blocks = nn.Sequential(*(Block(width, heads, ratio) for heads, ratio in pairs))
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed["projection"](x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 1:].mean(1))


class PiT(nn.Module):
    def __init__(self, arch: dict[str, Any], image: int, classes: int) -> None:
        super().__init__()
        widths = [arch["base_dim"] * heads for heads in arch["num_heads"]]
        side = (image - 16) // 8 + 1
        self.pos_embed = nn.Parameter(torch.zeros(1, widths[0], side, side))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, widths[0]))
        self.patch_embed = nn.ModuleDict({"conv": nn.Conv2d(3, widths[0], 16, 8)})
        stages = zip(widths, arch["num_heads"], arch["depth"], strict=True)
        self.transformers = nn.ModuleList(
            nn.ModuleDict({"blocks": nn.Sequential(*(Block(w, heads, arch["mlp_ratio"]) for _ in range(depth)))})
            for w, heads, depth in stages
        )
        self.pools = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(a, b, 3, 2, 1, groups=a), "fc": nn.Linear(a, b)})
            for a, b in pairwise(widths)
        )
        self.norm, self.head = nn.LayerNorm(widths[2], 1e-6), nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.patch_embed["conv"](x) + self.pos_embed
        token = self.cls_token.expand(len(x), -1, -1)
        for stage, transformer in enumerate(self.transformers):
            if stage:
                maps, token = self.pools[stage - 1]["conv"](maps), self.pools[stage - 1]["fc"](token)
            tokens = transformer["blocks"](torch.cat([token, maps.flatten(2).transpose(1, 2)], 1))
            token, maps = tokens[:, :1], tokens[:, 1:].transpose(1, 2).unflatten(2, maps.shape[2:])
        return self.head(self.norm(token)[:, 0])


def built(case: dict[str, Any]) -> nn.Module:
    kind = AutoFormer if case["space"] == "autoformer" else PiT
    network = kind(case["arch"], case["image"], case["classes"])
    for number, (name, parameter) in enumerate(network.named_parameters()):
        r = np.random.RandomState(case["weight_seed"] + number).standard_normal(tuple(parameter.shape))
        if "pos_embed" in name or "cls_token" in name:
            r *= 0.2
        elif r.ndim > 1:
            r /= np.sqrt(r.size / len(r))
        else:
            r = 1 + 0.1 * r if "norm" in name and name.endswith("weight") else 0.05 * r
        parameter.data.copy_(torch.from_numpy(r.astype(np.float32)))
    return network


@pytest.mark.parametrize("number", range(4))
def test_scores_equal_the_originals(golden: Path, number: int) -> None:
    case = json.loads((golden / "transformers" / "vitbench_networks.json").read_text())["cases"][number]
    draws = np.random.RandomState(case["data_seed"])
    x = torch.from_numpy(draws.randn(case["batch"], 3, case["image"], case["image"]).astype(np.float32)).double()
    y = torch.from_numpy(draws.randint(0, case["classes"], case["batch"]))
    network = built(case).double()
    np.testing.assert_allclose(network(x).detach().numpy(), case["logits"], atol=1e-5)
    assert F.cross_entropy(network(x), y).item() == pytest.approx(case["loss_f64"], rel=1e-6)
    scores = score(network, x, y, [*ORIGINAL_NAME])
    for proxy, name in ORIGINAL_NAME.items():
        assert scores[proxy].value == pytest.approx(case["values_f64"][name], rel=1e-5), proxy
