"""Similarity of operations and their own accuracies, from runs that were not asked for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prejudge.errors import InputError, MissingDataError
from prejudge.search.supernet.kept_run import kept_supernet
from prejudge.spaces import space
from prejudge.spaces.darts.candidates import DARTS7, STACNAS_STAGE1
from tests.datasets import few_digits
from tests.search.one_run import one_run

SMALL: dict[str, Any] = {"macro": {"channels": 1, "cells": 3}, "training": {"epochs": 1, "batch_size": 24}}
DARTS = space("darts")


@pytest.mark.slow
def test_a_kept_run_has_what_the_search_would_have_said(tmp_path: Path) -> None:
    data = few_digits(48)
    asked = one_run("stacnas", DARTS, data, options={"features": 30, "single_epochs": 1}, **SMALL)
    one_run("stacnas", DARTS, data, folder=tmp_path, **SMALL)
    kept = kept_supernet(tmp_path / "seed-0", data)
    assert kept.stage.name == "groups"
    assert kept.similarity(30) == asked.metadata["features"]
    again = kept.single_operations(1)
    assert [found["operation"] for found in again] == list(STACNAS_STAGE1[:-1])
    assert [f["share"] for f in again] == pytest.approx([f["share"] for f in asked.metadata["single operations"]])
    assert kept.single_operations(1) == again  # from what the folder has


def test_any_search_will_do_and_what_will_not_is_said(tmp_path: Path) -> None:
    data = few_digits(48)
    one_run("blank", DARTS, data, folder=tmp_path / "blank", **SMALL)
    kept = kept_supernet(tmp_path / "blank" / "seed-0", data, epoch=None)
    assert kept.similarity(20)[0]["operations"] == list(DARTS7)
    with pytest.raises(InputError, match="searched on other images than digits"):
        kept_supernet(tmp_path / "blank" / "seed-0", few_digits(40))
    with pytest.raises(MissingDataError, match="no checkpoint of epoch 7"):
        kept_supernet(tmp_path / "blank" / "seed-0", data, epoch=7)
    with pytest.raises(MissingDataError, match="no checkpoint of a search"):
        kept_supernet(tmp_path, data)
    one_run("darts", space("darts-s1"), data, folder=tmp_path / "s1", **SMALL)
    with pytest.raises(InputError, match="choose from the same operations"):
        kept_supernet(tmp_path / "s1" / "seed-0", data).single_operations(1)
