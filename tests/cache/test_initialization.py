"""Weights and biases drawn anew, by what torch's own functions draw from the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from prejudge.cache import ScoreCache, fill
from prejudge.cache.initialization import initialize
from prejudge.cache.protocol import Protocol
from prejudge.data import load
from prejudge.errors import InputError
from prejudge.spaces import space

DRAWS = {"xavier": nn.init.xavier_normal_, "kaiming": nn.init.kaiming_normal_, "normal": nn.init.normal_}


@pytest.mark.parametrize("weights", ["default", "xavier", "kaiming", "normal", "zero"])
@pytest.mark.parametrize("biases", ["default", "normal", "zero"])
def test_weights_and_biases_are_torchs(weights: str, biases: str) -> None:
    def made() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, bias=False), nn.Linear(2, 5))

    found, expected = made(), made()
    torch.manual_seed(7)
    initialize(found, weights, biases)
    torch.manual_seed(7)
    for way, name in ((weights, "weight"), (biases, "bias")):
        for number in (0, 2, 3):
            tensor = getattr(expected[number], name)
            if tensor is not None and way != "default":
                with torch.no_grad():
                    tensor.zero_() if way == "zero" else DRAWS[way](tensor)
    for a, b in zip(found.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_scores_of_other_weights_have_a_protocol_of_their_own(tmp_path: Path) -> None:
    where, data = space("nasbench201"), load("digits")
    small = {"channels": 2, "cells": 1}
    values = []
    with ScoreCache(tmp_path / "s.h5") as cache:
        for ways in ({}, {"init_weights": "kaiming", "init_biases": "zero"}):
            made = fill(cache, where, [where[3000]], data, ["snip"], batch_size=8, macro=small, **ways)  # type: ignore[arg-type]
            assert Protocol.from_json(made.to_json()) == made
            assert (
                ("init_weights" in made.to_json())
                == ("weights kaiming" in made.describe()["initialization"])
                == bool(ways)
            )
            values += cache.frame(made)["snip"].tolist()
    assert len(set(values)) == 2
    with pytest.raises(InputError, match="unknown initialization of biases 'kaiming'"):
        Protocol("nasbench201", init_biases="kaiming")
