"""The batch of proxies with as many images of each class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from prejudge.cache import ScoreCache, fill
from prejudge.data import load
from prejudge.data.probe_batch import batch
from prejudge.errors import InputError
from prejudge.spaces import space


def test_a_balanced_batch_has_as_many_images_of_each_class() -> None:
    data = load("digits")
    found = batch(data, 30, seed=3, balanced=True)
    assert Counter(found.targets.tolist()) == dict.fromkeys(range(10), 3)
    again, other = batch(data, 30, seed=3, balanced=True), batch(data, 30, seed=4, balanced=True)
    assert torch.equal(found.inputs, again.inputs) and found.digest != other.digest
    assert len({image.numpy().tobytes() for image in found.inputs}) == 30  # without replacement
    with pytest.raises(InputError, match="each of 10 classes, not 31 in all"):
        batch(data, 31, balanced=True)
    few = data.subset(np.flatnonzero((data.labels != 7) | (np.arange(len(data)) < 20)))
    with pytest.raises(InputError, match="images of class 7; a balanced batch has 20"):
        batch(few, 200, balanced=True)


def test_scores_of_a_balanced_batch_have_a_protocol_of_their_own(tmp_path: Path) -> None:
    where, data = space("nasbench201"), load("digits")
    kinds: tuple[Literal["fixed", "balanced"], ...] = ("fixed", "balanced")
    small = {"channels": 2, "cells": 1}
    values = []
    with ScoreCache(tmp_path / "s.h5") as cache:
        for kind in kinds:
            made = fill(cache, where, [where[3000]], data, ["snip"], batch_size=20, batch=kind, macro=small)
            assert ("balanced" in made.describe()["batch"]) == (kind == "balanced")
            values += cache.frame(made)["snip"].tolist()
    assert len(set(values)) == 2
